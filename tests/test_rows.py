"""The rows of the tables: each is a step that can be traced, and changes what it says."""

import functools
import importlib
import re
from pathlib import Path

import jax
import pytest
import tiny

from arm_jax import consistency
from arm_jax import experiment as experiments
from arm_jax.data.labels import STREET_SCENES
from arm_jax.run import configs
from arm_jax.system import sharding
from arm_jax.training import step
from configs import base

# What another player, loss, signal, norm or input means for the code that a step runs.
ROWS = [
    "base",
    "linear",
    "linear_no_detach",
    "norm1",
    "entropy",
    "kl",
    "kl_arm",
    "gce_arm",
    "ohem",
    "closed_form",
    "monotone",
    "trimmed_signal",
    "gce_signal",
    "image_norms",
    "device_norms",
    "teacher",
    "edges",
    "recipe",
    "recipe_class",
    "recipe_soft",
    "recipe_posterior",
    "recipe_arm",
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_a_whole_step(row, monkeypatch):
    tiny.shrink(monkeypatch, dropout_rate=0.0)
    mesh = sharding.make_mesh()
    experiment = experiments.build(base.get_config(f"{row},smoke"), STREET_SCENES)
    graphdef, state = experiment.abstract_state(mesh)
    one_step = functools.partial(
        step.train_step,
        graphdef=graphdef,
        transformation=experiment.transformation,
        method=experiment.method(mesh),
    )
    new, window = jax.eval_shape(one_step, state, tiny.batch())
    # Nothing changes shape, type or structure from step to step, or it could not be donated.
    assert jax.tree.structure(new) == jax.tree.structure(state)
    for now, then in zip(jax.tree.leaves(new), jax.tree.leaves(state), strict=True):
        assert (now.shape, now.dtype) == (then.shape, then.dtype)
    assert window.window.loss.shape == ()
    arm = new.params.get("arm", {})
    without = experiment.config.arm.kind in ("none", "linear", "closed_form")
    assert sum(leaf.size for leaf in jax.tree.leaves(arm)) == (0 if without else 53)
    classifier = new.params["segmenter"]["head"]["classifier"]["bias"]
    assert classifier.shape == (STREET_SCENES.number + (experiment.config.loss.kind == "kl"),)


# docs/tables.md

TABLES = (Path(__file__).parent.parent / "docs" / "tables.md").read_text()


def cells():
    """Every `FILE:ROW` of the document; tables of one file name it in their heading."""
    found = []
    for part in TABLES.split("\n## "):
        heading, _, text = part.partition("\n")
        file = next(iter(re.findall(r"`(\w+)`", heading)), "cityscapes_coarse")
        for line in text.splitlines():
            if line.startswith("|"):
                for name in re.findall(r"`([\w:,]+)`", line):
                    found.append(name.split(":") if ":" in name else [file, name])
    return found


def test_every_cell_of_the_tables_is_a_config():
    names = [tuple(cell) for cell in cells()]
    assert len(names) > 50
    for file, row in names:
        config = importlib.import_module(f"configs.{file}").get_config(row)
        assert consistency.checked(config).data.dataset == file.split("_")[0]
    # ... and no row is left out.
    rows = {row for _, cell in names for row in cell.split(",")}
    assert set(base.ROWS) - rows == set()


def test_a_row_shows_what_it_changes():
    """As the document shows it, line by line."""
    coarse = str(Path(__file__).parents[1] / "configs" / "cityscapes_coarse.py")
    shown = configs.show(f"{coarse}:linear_focusing")
    assert "".join(f"    {line}\n" for line in shown.splitlines()) in TABLES
    assert configs.show(f"{coarse}:base").splitlines()[1:] == ["  nothing"]
