"""The folder of a run: written whole, compared, and continued without a trace."""

import json
import os

import pytest

from arm_jax import settings
from arm_jax.data import labels
from arm_jax.run import configs, starts
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
