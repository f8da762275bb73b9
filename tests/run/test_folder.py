"""The folder of a run: written whole, compared, and continued without a trace."""

import json
import os

import pytest

from arm_jax import settings
from arm_jax.data import labels
from arm_jax.run import configs, metrics_log, starts
from arm_jax.run import folder as run_folder
from arm_jax.system.errors import InputError
from arm_jax.training.records import EvaluationLine, as_json


def config(**changes):
    """The defaults with other values, by dotted key with __ for the dot."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return settings.frozen(settings.defaults(), {"steps": 10, "augment.crop": (8, 8)} | dotted)


def test_records_config_and_versions(tmp_path):
    folder = run_folder.open_folder(tmp_path / "a" / "b", config())
    assert json.loads((folder / "config.json").read_text())["augment.crop"] == [8, 8]
    assert configs.read(folder) == settings.flat(config())
    run_folder.open_folder(folder, config())
    starts = [json.loads(line) for line in (folder / "versions.jsonl").read_text().splitlines()]
    assert len(starts) == 2
    assert {"jax", "flax", "optax"} <= set(starts[0]["packages"])
    assert starts[0]["devices"].startswith("8 x ")


def test_refuses_the_folder_of_another_config_and_names_the_keys(tmp_path):
    run_folder.open_folder(tmp_path, config(steps=30))
    run_folder.open_folder(tmp_path, config())  # nothing was trained yet
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(InputError, match=r"another config \(steps: 10 there, 5 now; arm\.p: 2\.0"):
        run_folder.open_folder(tmp_path, config(steps=5, arm__p=3.0))
    assert configs.read(tmp_path)["steps"] == 10


def test_a_run_whose_data_moved_continues_with_the_same_classes_and_images_alone(tmp_path):
    two, three = labels.generic(("road", "sky")), labels.generic(("road", "sky", "car"))
    run_folder.open_folder(tmp_path, config())
    run_folder.write_classes(tmp_path, three, 7)
    run_folder.write_classes(tmp_path, two, 8)  # nothing was trained yet
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    run_folder.write_classes(tmp_path, two, 8)
    with pytest.raises(InputError, match="classes road, sky, not road, sky, car; co"):
        run_folder.write_classes(tmp_path, three, 8)
    with pytest.raises(InputError, match="run on 8 images, not 9; correct"):
        run_folder.write_classes(tmp_path, two, 9)
    assert run_folder.read_classes(tmp_path) == two


def test_refuses_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run_folder.open_folder(tmp_path / "file" / "run", config())


def test_a_damaged_config_is_named(tmp_path):
    run_folder.claim(tmp_path)
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        run_folder.open_folder(tmp_path, config())


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


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '{"names": 3}', '{"names": ["a"]}', "\0"])
def test_damaged_classes_are_one_line(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(InputError, match=r"classes\.json cannot be read .* remove it") as caught:
        run_folder.read_classes(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_starts_are_left_out(tmp_path):
    (tmp_path / "versions.jsonl").write_text('null\n{"devices": "1 x cpu"}\n[]\n{"half')
    assert starts.read(tmp_path) == [{"devices": "1 x cpu"}]


def test_a_folder_that_another_run_writes_is_refused_and_one_of_something_else(tmp_path):
    with (
        run_folder.writing(tmp_path / "run"),
        pytest.raises(InputError, match=rf"run is in use by process {os.getpid()} on "),
        run_folder.writing(tmp_path / "run"),
    ):
        pass
    with run_folder.writing(tmp_path / "run"):
        pass
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.json").write_text("{}")
    with (
        pytest.raises(InputError, match=r"project holds config\.json, which a run did not write"),
        run_folder.writing(tmp_path / "project"),
    ):
        pass
