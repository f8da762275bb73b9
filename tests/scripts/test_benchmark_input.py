"""benchmark_input.py runs, and the order that it compares with gives like examples."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arm_jax.data import images, scenes

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "benchmark_input.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_input", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_usual_order_crops_resized_images(benchmark):
    image, label = scenes.generate("train", 0, (64, 128))
    files = images.encode_png(image), images.encode_png(label)
    for seed in range(8):
        crop = (48, 80)
        got, part = benchmark.usual_order(*files, np.random.default_rng(seed), crop, 255)
        assert got.shape == (*crop, 3) and part.shape == crop
        assert set(np.unique(part)) <= {*np.unique(label), 255}
        assert got[part == 255].max(initial=0) == 0


def test_it_prints_and_writes_its_figures(tmp_path):
    result = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), "--dataset", "scenes", "--images", "1"),
            *(
                "--draws",
                "2",
                "--repeat",
                "1",
                "--crop",
                "32",
                "64",
                "--json",
                str(tmp_path / "figures.json"),
            ),
        ],
        env={"PYTHONPATH": str(SCRIPT.parents[2]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["usual order, times the usual order"] == 1
    assert figures["ours, prepared, ms"] > 0
    assert figures["pipeline, 2 threads, images/s"] > 1
    assert "ours, files in place, images/s and core" in result.stdout
