"""The settings of a run: from a command line, from its folder, and both compared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import refusal

from arm_jax import settings
from arm_jax.run import configs
from arm_jax.run import folder as run_folder

CONFIG = str(Path(__file__).parents[2] / "configs" / "demo.py")


@pytest.fixture
def recorded(tmp_path):
    """The folder of a run of 10 steps that has a checkpoint, and its settings."""
    config = settings.frozen(settings.defaults(), {"steps": 10, "data.classes": ("a", "b")})
    run_folder.open_folder(tmp_path, config)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    return tmp_path, config


def test_without_a_file_the_settings_are_those_of_the_run(recorded):
    folder, config = recorded
    assert configs.load(None, [], folder) == config
    changed = configs.load(None, ["--config.evaluation.crop=64,64"], folder)
    assert changed == settings.frozen(config, {"evaluation.crop": (64, 64)})
    assert configs.load(f"{CONFIG}:smoke", ["--config.steps=3"]).steps == 3
    assert "--config is missing; name a file" in refusal(configs.load, None)
    assert "has no config.json" in refusal(configs.load, None, [], folder / "checkpoints")


def test_what_an_older_or_newer_version_recorded_is_read(recorded, capsys):
    folder, config = recorded
    stored = json.loads((folder / "config.json").read_text())
    del stored["arm.p"]
    (folder / "config.json").write_text(json.dumps(stored | {"arm.points": 3}))
    assert configs.read(folder) == settings.flat(config) == configs.read(folder)
    warned = "config.json: 'arm.points' is no setting of this version and is left out; did you mean"
    assert capsys.readouterr().out.count(warned) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json cannot be read"),
        ('{"steps": 3, "steps": 4}', "'steps' is there twice"),
        ("[1]", "it holds no settings"),
        ("\x00\xff", "config.json cannot be read"),
        ('{"arm.p": 0.5}', "config.json: arm.p = 0.5; it must be a number of at least 1"),
        ('{"augment.crop": 64}', "augment.crop = 64; it must be 2 whole numbers"),
    ],
)
def test_a_damaged_record_is_one_line(recorded, text, message):
    folder, _ = recorded
    (folder / "config.json").write_text(text)
    assert message in refusal(configs.read, folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"data.root": "/elsewhere/"},
        {"evaluation.batch_size": 3, "evaluation.keep_logits_on": "host"},
        {"log_every": 7, "eval_every": 8, "save_every": 9, "keep": 1},
        {"model.remat": True, "input.workers": 2, "compilation_cache": "here"},
    ],
)
def test_a_run_continues_with_other_values_of_what_changes_no_result(recorded, changes):
    folder, config = recorded
    (line,) = configs.continued(folder, settings.frozen(config, changes))
    assert all(f"{key} = {value!r}" in line for key, value in changes.items())
    assert configs.continued(folder, config) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"arm.p": 3.0},
        {"seed": 1, "model.output_stride": 16},
        {"steps": 7},
        {"data.classes": ("b", "a")},
        {"evaluation.size": (10, 20)},
        {"model.pretrained": "imagenet"},
    ],
)
def test_a_run_does_not_continue_with_another_value_of_what_decides(recorded, changes):
    folder, config = recorded
    message = refusal(configs.continued, folder, settings.frozen(config, changes))
    assert all(f"{key}: {config_value(config, key)!r} there" in message for key in changes)
    assert "--config.model.pretrained can name this run to start from" in message


def config_value(config, key):
    return settings.flat(config)[key]


def test_a_run_may_go_on_for_more_steps_but_a_grid_does_not(recorded):
    folder, config = recorded
    longer = settings.frozen(config, {"steps": 20})
    (line,) = configs.continued(folder, longer)
    assert line.startswith("goes on to step 20, not 10; from here on the learning rate")
    assert "steps: 10 there, 20 now" in refusal(configs.continued, folder, longer, may_grow=False)
    patient = settings.frozen(config, {"patience": 3})
    (line,) = configs.continued(folder, patient)
    assert line == "stops after 3 evaluations without a better mIoU, not 0"
    assert "patience: 0 there, 3" in refusal(configs.continued, folder, patient, may_grow=False)


def test_a_trained_run_knows_its_network_and_takes_what_it_is_evaluated_by(recorded):
    folder, config = recorded
    assert configs.used(folder) == (config, [])
    asked = {"evaluation.tta": "ocr", "optimizer.learning_rate": 1.0, "data.root": "there"}
    found, lines = configs.used(folder, settings.frozen(config, asked))
    assert (found.evaluation.tta, found.data.root) == ("ocr", "there")
    assert found.optimizer.learning_rate == config.optimizer.learning_rate
    trained, other = lines
    assert trained == "was trained with optimizer.learning_rate = 0.02 (not 1.0)"
    assert "evaluation.tta = 'ocr'" in other and "data.root = 'there'" in other
    # configs/custom.py names neither data nor classes.
    bare = settings.frozen(config, {"data.classes": (), "data.root": ""})
    assert configs.used(folder, bare) == (config, [])
    for key, value in (("model.output_stride", 16), ("model.dtype", "float32")):
        message = refusal(configs.used, folder, settings.frozen(config, {key: value}))
        assert f"{key} = {config_value(config, key)!r} (not {value!r})" in message


def test_overrides_are_told_from_other_arguments():
    arguments = ["main", "--mode=show", "--config.steps=3", "--config.arm.p", "3", "--workdir", "x"]
    others, overrides = configs.split(arguments)
    assert others == ["main", "--mode=show", "--workdir", "x"]
    assert overrides == ["--config.steps=3", "--config.arm.p=3"]
    flags = ["-config.augment.flip", "--noconfig.augment.jitter", "--", "--config.steps=1"]
    others, overrides = configs.split(flags)
    assert overrides == ["--config.augment.flip=True", "--config.augment.jitter=False"]
    assert others == ["--", "--config.steps=1"]
    for argument in ("--config.steps", "--noconfig.steps=3", "--config.arm.pp=3"):
        key = argument.partition(".")[2].partition("=")[0]
        assert key in refusal(lambda text: configs.load(CONFIG, configs.split([text])[1]), argument)


def test_show_lists_every_setting_with_help():
    lines = configs.show(None).splitlines()
    assert len(lines) == 1 + len(settings.SETTINGS)
    for row, line in zip(settings.SETTINGS, lines[1:], strict=True):
        assert row.key in line and row.help in line and row.kind.describe() in line


def test_reading_and_comparing_needs_no_jax():
    code = "import sys, arm_jax.run.configs; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(CONFIG).parents[1])
