"""The examples in docstrings and in the README run, and give what they show."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from arm_jax import arm, schedules

README = Path(__file__).parents[1] / "README.md"
# Modules all of whose public functions have an example.
COMPLETE = [
    "arm",
    "losses",
    "data.sources",
    "networks.architectures",
    pytest.param("evaluation.inference", marks=pytest.mark.slow),  # networks are compiled
    pytest.param("evaluation.passes", marks=pytest.mark.slow),
    pytest.param("networks.segmenter", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", COMPLETE)
def test_every_public_function_has_an_example_that_holds(name):
    module = importlib.import_module(f"arm_jax.{name}")
    for function, value in inspect.getmembers(module, inspect.isfunction):
        if value.__module__ == module.__name__ and not function.startswith("_"):
            assert ">>>" in (value.__doc__ or ""), f"{name}.{function} has no example"
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


PACKAGE = README.parent / "arm_jax"
OTHERS = [
    name
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
    and (name := ".".join(path.relative_to(PACKAGE).with_suffix("").parts)) not in COMPLETE
    and all(getattr(one, "values", None) != (name,) for one in COMPLETE)
]


@pytest.mark.parametrize("name", OTHERS)
def test_the_examples_that_there_are_hold(name):
    found = doctest.testmod(importlib.import_module(f"arm_jax.{name}"))
    assert found.attempted and not found.failed


def test_the_readmes_four_lines_run_as_written():
    text = README.read_text()
    code = re.search(r"## Four lines of Python\n.*?```python\n(.*?)```", text, re.S)[1]
    names = {
        "logits": jax.random.normal(jax.random.key(0), (2, 4, 5, 3)),
        "labels": jnp.full((2, 4, 5), 255).at[:, :2].set(1),
        "module": arm.Arm(rngs=nnx.Rngs(0)),
        "schedule": schedules.learning_rate(100),
    }
    exec(code, names)
    assert names["v"].shape == (2, 4, 5) and names["loss"].shape == ()
    assert int(names["objective"].pixels) == 2 * 2 * 5
    params = {"segmenter": jnp.ones(3), "arm": jnp.ones(3)}
    updates, _ = names["tx"].update(params, names["tx"].init(params), params)
    assert (updates["segmenter"] < 0).all() and (updates["arm"] > 0).all()
