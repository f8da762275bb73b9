"""The folder of a run: written whole, compared, and continued without a trace."""

import json
import os

import pytest

from arm_jax import settings
from arm_jax.data import labels
from arm_jax.run import configs
from arm_jax.run import folder as run_folder
from arm_jax.system.errors import InputError


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
    log = run_folder.MetricsLog(tmp_path, start_step=0)
    for step in (10, 20, 30):
        log.write(step, {"loss": step / 10}, {"rate": 1.0})
    log.close()
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 40, "lo')  # killed while writing
    log = run_folder.MetricsLog(tmp_path, start_step=20)
    assert [r["step"] for r in run_folder.read_metrics(tmp_path)] == [10, 20]
    log.write(30, {"loss": 3.0}, {"rate": 2.0})
    log.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    assert any(name.startswith("events.") for name in os.listdir(tmp_path))
