"""scripts/compare.py: its tables and its page, on runs whose outcome is known."""

import csv
import json
from pathlib import Path

import pytest

from arm_jax.run import folder as run_folder
from arm_jax.run import loop
from arm_jax.system.errors import Diverged, Stopped
from arm_jax.training.records import EvaluationLine, StepLine, as_json
from scripts import compare

CONFIG = str(Path(__file__).parents[2] / "configs" / "base.py")


@pytest.fixture
def made_up_training(monkeypatch):
    """Instead of training: leave the files of a run whose mIoU is 10 * ARM + seed. Logs calls."""
    calls = []

    def pretend(config, folder, mesh=None):
        run_folder.open_folder(folder, config)
        (folder / "metrics.jsonl").touch()
        calls.append((config.arm.kind, config.seed))
        if config.arm.slope > 0:
            raise Diverged("step 3: the loss or a gradient is not finite")
        with_arm = config.arm.kind != "none"
        miou = 40.0 + 10.0 * with_arm + (1 + with_arm) * config.seed
        ratios = {"holder_ratio": 0.9, "loss_ratio": 1.5} if with_arm else {}
        records = [
            EvaluationLine(config.steps - 1, 1.0, 1.0, 1.0),
            StepLine(config.steps, 0.5, 0.5, 0.5, 1.0, 0, 0.02, **ratios),
            EvaluationLine(config.steps, miou, 60.0, 80.0),
        ]
        lines = "".join(json.dumps(as_json(record)) + "\n" for record in records)
        (folder / "metrics.jsonl").write_text(lines)
        (folder / "checkpoints" / str(config.steps)).mkdir(parents=True)

    monkeypatch.setattr(loop, "train", pretend)
    return calls


def rows(*names):
    return [f"{CONFIG}:smoke,{name}" for name in names]


def test_compare_tabulates_mean_spread_and_paired_gain(made_up_training, tmp_path, capsys):
    arguments = [*rows("base", "arm"), "--seeds=0,1,2", f"--workdir={tmp_path}"]
    assert compare.main(arguments) == 0
    table = (tmp_path / "table.md").read_text()
    *printed, last = capsys.readouterr().out.rstrip().splitlines()
    assert "\n".join(printed).rstrip().endswith(table.rstrip())
    assert last == f"report       {tmp_path / 'compare.html'}"
    head, _, base, arm, *_ = table.splitlines()
    assert head == (
        "| row | runs | mIoU, % | mIoU above smoke,base | mAcc, % | aAcc, % | Hölder ratio |"
        " weighted / plain loss |"
    )
    # Base 40, 41, 42; ARM 50, 52, 54: the gain is 10, 11, 12, with less spread than either sum.
    assert base == "| smoke,base | 3 of 3 | 41.00 ± 1.00 |  | 60.00 ± 0.00 | 80.00 ± 0.00 |  |  |"
    assert arm == (
        "| smoke,arm | 3 of 3 | 52.00 ± 2.00 | 11.00 ± 1.00 | 60.00 ± 0.00 | 80.00 ± 0.00 |"
        " 0.900 ± 0.000 | 1.50 ± 0.00 |"
    )
    assert f"`python scripts/compare.py {CONFIG}:smoke,base" in table
    assert "jax" in table and "cpu" in table and "Runs of 20" in table
    with open(tmp_path / "table.csv") as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["seed"], line["mIoU"]) for line in lines][:2] == [
        ("smoke,base", "0", "40.0"),
        ("smoke,arm", "0", "50.0"),
    ]
    report = json.loads((tmp_path / "table.json").read_text())
    assert report["rows"][1]["gain"] == [11.0, 1.0] and len(report["runs"]) == 6


def test_compare_leaves_a_page_with_intervals(made_up_training, tmp_path, open_page):
    arguments = [*rows("base", "arm", "linear_focusing"), "--seeds=0,1,2"]
    assert compare.main([*arguments, f"--workdir={tmp_path}"]) == 0
    page = open_page(tmp_path / "compare.html")
    lines = [
        row.locator("th, td").all_text_contents() for row in page.locator("#rows tbody tr").all()
    ]
    # t of 2 degrees of freedom over the root of 3 is 2.484.
    assert lines[0][:5] == ["smoke,base", "3 of 3", "41.00 ± 2.48", "\u2013", "\u2013"]
    assert lines[1][:5] == ["smoke,arm", "3 of 3", "52.00 ± 4.97", "+11.00 ± 2.48", "3 of 3"]
    assert lines[2][:5] == ["smoke,linear_focusing", "0 of 3", *3 * ["\u2013"]]
    assert page.locator("#runs tbody tr").count() == 9
    assert page.get_by_text("not finite").count() == 3
    assert page.locator("#images").count() == 0


def test_compare_trains_only_what_is_missing(made_up_training, tmp_path):
    arguments = [*rows("base", "arm"), f"--workdir={tmp_path}"]
    assert compare.main([*arguments, "--seeds=0"]) == 0
    (tmp_path / "smoke+arm" / "seed_0" / "checkpoints" / "2").rmdir()  # killed before it was saved
    assert compare.main([*arguments, "--seeds=0,1"]) == 0
    assert made_up_training == [
        ("none", 0),
        ("learned", 0),
        ("learned", 0),
        ("none", 1),
        ("learned", 1),
    ]


def test_compare_refuses_runs_of_another_config(made_up_training, tmp_path, capsys):
    arguments = [*rows("base"), "--seeds=0", f"--workdir={tmp_path}"]
    assert compare.main(arguments) == 0
    assert compare.main([*arguments, "--config.keep=7"]) == 0  # changes no number
    assert compare.main([*arguments, "--config.optimizer.momentum=0.8"]) == 2
    assert "another config (optimizer.momentum: 0.9 there, 0.8 now)" in capsys.readouterr().err
    assert len(made_up_training) == 1


def test_a_run_that_diverged_is_counted_and_has_no_number(made_up_training, tmp_path):
    arguments = [*rows("base", "linear_focusing"), "--seeds=0,1", f"--workdir={tmp_path}"]
    assert compare.main(arguments) == 0
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[3] == "| smoke,linear_focusing | 0 of 2, 2 diverged |  |  |  |"
    runs = json.loads((tmp_path / "table.json").read_text())["runs"]
    assert "not finite" in runs[1]["diverged"] and "mIoU" not in runs[1]


def test_sigterm_ends_a_grid_with_the_table_so_far(made_up_training, tmp_path, monkeypatch):
    pretend = loop.train

    def stop(config, folder, mesh=None):
        if config.seed == 1:
            raise Stopped("SIGTERM: saved at step 1 of 2")
        pretend(config, folder, mesh)

    monkeypatch.setattr(loop, "train", stop)
    assert compare.main([*rows("base"), "--seeds=0,1", f"--workdir={tmp_path}"]) == 143
    assert "| smoke,base | 1 of 2 | 40.00 |" in (tmp_path / "table.md").read_text()
