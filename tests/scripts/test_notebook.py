"""scripts/explore.ipynb, executed cell by cell in one namespace: no Jupyter is needed."""

import importlib.util
import io
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "scripts" / "explore.ipynb"
CONTENT = json.loads(NOTEBOOK.read_text())
CODE = ["".join(c["source"]) for c in CONTENT["cells"] if c["cell_type"] == "code"]


@pytest.fixture
def pictures(monkeypatch):
    """What the notebook displays, as arrays."""
    shown: list[np.ndarray] = []
    stand_in = types.ModuleType("IPython.display")
    stand_in.Image = lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    stand_in.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython.display", stand_in)
    return shown


def execute(cells: list[str], namespace: dict | None = None) -> dict:
    namespace = {"__name__": "__main__"} if namespace is None else namespace
    for number, source in enumerate(cells):
        exec(compile(source, f"<code cell {number}>", "exec"), namespace)
    return namespace


def section(number: int) -> list[str]:
    """The code cells below the heading `## number.`"""
    found, inside = [], False
    for cell in CONTENT["cells"]:
        source = "".join(cell["source"])
        if source.startswith("## "):
            inside = source.startswith(f"## {number}. ")
        elif inside and cell["cell_type"] == "code":
            found.append(source)
    return found


def test_it_is_a_notebook_with_the_outputs_of_one_run_from_its_top():
    """docs/site/run_notebook.py stores them."""
    assert (CONTENT["nbformat"], CONTENT["metadata"]["kernelspec"]["name"]) == (4, "python3")
    identities = [cell["id"] for cell in CONTENT["cells"]]
    assert len(set(identities)) == len(identities)
    assert NOTEBOOK.stat().st_size < 400_000
    cells = [cell for cell in CONTENT["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        source = "".join(cell["source"])
        shown = ["image/png" in output.get("data", {}) for output in cell["outputs"]]
        assert sum(shown) == source.count("\nshow(") + source.startswith("show(")
        assert all(output["output_type"] != "error" for output in cell["outputs"])
        assert ("print(" in source) == any(output.get("name") for output in cell["outputs"])
    assert len(CODE) == 2 + sum(len(section(n)) for n in range(1, 6))


@pytest.mark.slow
def test_data_and_the_four_lines_of_your_own_model(pictures, capsys):
    found = execute([*CODE[:2], *section(1), *section(5)])
    (sheet,) = pictures
    assert sheet.std() > 30  # a picture, not an empty canvas
    fine, coarse = found["fine"][0]["label"], found["coarse"][0]["label"]
    labelled = coarse != 255
    assert (fine != 255).all() and 0.3 < labelled.mean() < 0.95
    assert (fine == coarse)[labelled].mean() > 0.8
    # A bare function, Linen and NNX are one model here; the loss is the mean cross entropy at
    # ARM's weights, and a step lowers it for the network.
    assert found["bare"] == found["of_linen"] == found["of_nnx"] > np.log(5)
    assert "the same loss three times" in capsys.readouterr().out
    for name in ("linen_kernel", "nnx_kernel"):
        np.testing.assert_allclose(found[name], found["bare_kernel"], rtol=1e-6)
    stepped = {"segmenter": {"kernel": found["bare_kernel"]}, "arm": found["arm_params"]}
    assert found["bare_loss"](stepped) < found["bare"]


@pytest.mark.parametrize("where", ["checkout", "elsewhere"])
def test_the_first_cell_installs_what_is_missing(where, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    monkeypatch.setattr("builtins.input", lambda prompt: " https://example.org/arm_jax ")
    monkeypatch.chdir(NOTEBOOK.parent if where == "checkout" else tmp_path)
    execute(CODE[:1])
    source = str(ROOT) if where == "checkout" else "git+https://example.org/arm_jax"
    assert commands == [[sys.executable, "-m", "pip", "install", "--quiet", source]]


@pytest.mark.slow
def test_all_of_it_arm_learns_what_the_theorem_says(pictures, monkeypatch, capsys):
    """About a minute and a half on two busy cores."""
    monkeypatch.delenv("ARM_JAX_STEPS", raising=False)
    found = execute(CODE)
    assert len(pictures) == 3 and all(picture.std() > 20 for picture in pictures)
    # Uniform weights would be at 0; learned ones near the optimum of Theorem 3.1.
    assert found["ratio"] > 0.97 and found["progress"] > 0.8
    # Better than one class for everything (1/11 of the mean at most), and ARM suppresses the sure.
    assert found["result"].scores.mIoU > 15
    sure, unsure = found["players"].arm(np.array([0.95, 0.0], np.float32))
    assert sure < 0.5 * unsure
    assert "Hölder ratio" in capsys.readouterr().out
