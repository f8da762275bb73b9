"""A data set of each kind of label is checked, trained on and evaluated; two are prepared."""

import sys

import label_kinds
import numpy as np
import pytest
import tiny
from label_kinds import KINDS

from arm_jax import modes
from arm_jax.configs import custom
from arm_jax.data import sources
from arm_jax.run import loop
from scripts import check_dataset, coarsen, prepare


def run_script(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    return script.main()


def as_arguments(options):
    """Of scripts, from those of `open_source`."""
    for name, value in options.items():
        text = ",".join(value) if name == "classes" else value
        yield f"--{name.replace('_', '-')}={text}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_label_is_checked_trained_and_evaluated(kind, tmp_path, monkeypatch, capsys):
    tiny.shrink(monkeypatch)
    tiny.on_one_device(monkeypatch)
    options = kind(tmp_path / "data")
    arguments = ("folders", "--root", tmp_path / "data", *as_arguments(options))
    out = ("--out", tmp_path / "sheets")
    assert run_script(monkeypatch, check_dataset, *arguments, *out) == 0
    assert f"labels are {KINDS[kind]}" in capsys.readouterr().out
    assert (tmp_path / "sheets" / "samples_train.png").is_file()

    config = custom.get_config()
    config.update_from_flattened_dict(tiny.QUICK)
    config.update_from_flattened_dict({f"data.{name}": value for name, value in options.items()})
    config.data.root = str(tmp_path / "data")
    result = loop.train(config, tmp_path / "run")
    assert f"labels       labels are {KINDS[kind]}" in capsys.readouterr().out
    if kind in (label_kinds.palette_with_classes_txt, label_kinds.coco):
        result = modes.evaluate(config, tmp_path / "run")
    source = sources.open_source("folders", root=tmp_path / "data", split="val", **options)
    wanted = [
        (label_kinds.label() == label_kinds.NAMES.index(n)).sum() for n in source.classes.names
    ]
    np.testing.assert_array_equal(result.matrix.sum(1), wanted)


@pytest.mark.parametrize("kind", [label_kinds.labelme, label_kinds.cvat_masks])
def test_own_labels_are_prepared_and_prepared_anew_when_they_change(
    kind, tmp_path, monkeypatch, capsys
):
    options = kind(tmp_path / "data")
    arguments = ("folders", "--source", tmp_path / "data", *as_arguments(options))
    data = ("--data_dir", tmp_path / "prepared")
    folders = []
    for _ in range(2):
        assert run_script(monkeypatch, prepare, *arguments, *data) == 0
        folders.append(capsys.readouterr().out.split()[-1])
        source = sources.open_source("prepared", root=folders[-1], split="val")
        assert source.classes.names == label_kinds.NAMES and len(source) == 1
        np.testing.assert_array_equal(source[0]["label"], label_kinds.label())
    assert folders[0] == folders[1]
    image = next((tmp_path / "data").rglob("a.png"))
    image.write_bytes(image.read_bytes() + b"\n")
    assert run_script(monkeypatch, prepare, *arguments, *data) == 0
    assert capsys.readouterr().out.split()[-1] not in folders
    assert run_script(monkeypatch, prepare, *arguments, *data, "--orientation=stored") == 2


def test_coarse_labels_are_made_of_polygons(tmp_path, monkeypatch):
    options = label_kinds.labelme(tmp_path / "fine")
    arguments = ("folders", "--root", tmp_path / "fine", *as_arguments(options))
    out = ("--splits=train,val", "--preset=mild", "--out", tmp_path / "coarse")
    assert run_script(monkeypatch, coarsen, *arguments, *out) == 0
    fine = {"root": tmp_path / "fine", "split": "val", "coarsening": "mild", **options}
    # classes.txt, which the script wrote, names the classes.
    written = sources.open_source("folders", root=tmp_path / "coarse", split="val")
    assert written.classes.names == label_kinds.NAMES
    simulated = sources.open_source("folders", **fine)[0]["label"]
    np.testing.assert_array_equal(written[0]["label"], simulated)
    assert (simulated != label_kinds.label()).any()
