"""What a run logs: the same lines for an interrupted run, and damage named."""

import json
import os

import pytest

from arm_jax.run import folder as run_folder
from arm_jax.run import metrics_log
from arm_jax.system.errors import InputError
from arm_jax.training.records import EvaluationLine, as_json


def test_metrics_after_the_restart_point_are_written_anew(tmp_path):
    run_folder.claim(tmp_path)
    log = metrics_log.MetricsLog(tmp_path, start_step=0)
    for step in (10, 20, 30):
        log.write(EvaluationLine(step, step / 10, 0.0, 0.0), {"seconds_left": 1.0})
    log.close()
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 40, "lo')  # killed while writing
    log = metrics_log.MetricsLog(tmp_path, start_step=20)
    assert [line.step for line in metrics_log.read(tmp_path)] == [10, 20]
    log.write(EvaluationLine(30, 3.0, 0.0, 0.0), {"seconds_left": 2.0})
    log.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    assert any(name.startswith("events.") for name in os.listdir(tmp_path))


RECORD = json.dumps(as_json(EvaluationLine(10, 30.0, 40.0, 50.0))) + "\n"
DAMAGED = {
    "null": RECORD + "null\n" + RECORD.replace("10,", "20,"),
    "binary": RECORD.encode() + b"\xff\xfe\x00\x01\n" + RECORD.replace("10,", "20,").encode(),
    "rubbish": RECORD + "{{{{\n" + RECORD.replace("10,", "20,"),
    "another program's": RECORD + '{"epoch": 3}\n' + RECORD.replace("10,", "20,"),
    "a list": RECORD + "[3]\n" + RECORD.replace("10,", "20,"),
    "nested": RECORD + "[" * 100_000 + "\n" + RECORD.replace("10,", "20,"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_lines_of_the_log_are_left_out_named_and_kept_aside(tmp_path, capsys, kind):
    run_folder.claim(tmp_path)
    text = DAMAGED[kind]
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "metrics.jsonl").write_bytes(data)
    assert [line.step for line in metrics_log.read(tmp_path)] == [10, 20]
    for number in (1, 2):
        (tmp_path / "metrics.jsonl").write_bytes(data)
        log = metrics_log.MetricsLog(tmp_path, start_step=20)
        log.close()
        told = capsys.readouterr().out
        assert told.count("\n") == 1 and "cannot be read, 1 of them, are left out" in told
        assert len(list(tmp_path.glob("damaged_*metrics.jsonl"))) == number
    assert (tmp_path / "damaged_metrics.jsonl").read_bytes() == data


def test_a_history_that_is_lost_is_told(tmp_path, capsys):
    run_folder.claim(tmp_path)
    metrics_log.MetricsLog(tmp_path, start_step=0).close()
    assert capsys.readouterr().out == ""
    (tmp_path / "metrics.jsonl").unlink()
    metrics_log.MetricsLog(tmp_path, start_step=20).close()
    assert "holds nothing of the first 20 steps" in capsys.readouterr().out


def test_a_log_that_cannot_be_read_or_written_is_one_line(tmp_path):
    run_folder.claim(tmp_path)
    log = metrics_log.MetricsLog(tmp_path, start_step=0)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be written"):
        log.write(EvaluationLine(1, 0.0, 0.0, 0.0), {})
    log.close()
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be read"):
        metrics_log.read(tmp_path)
