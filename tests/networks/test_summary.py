"""The table of parameters and multiply-adds against counts made by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arm_jax.networks import summary

ROOT = Path(__file__).parents[2]


# Without the auxiliary head, 19 classes, counted from the layers' shapes with every tap.
@pytest.mark.parametrize(
    ("name", "size", "billions", "tolerance"),
    [
        ("deeplabv3plus_resnet50", (512, 512), 177.3, 0.03),
        ("deeplabv3plus_resnet50", (512, 1024), 352.3, 0.02),
        ("deeplabv3plus_resnet50", (1024, 2048), 1409.3, 0.01),
        ("deeplabv3plus_resnet101", (512, 512), 254.8, 0.03),
        ("deeplabv3plus_resnet101", (512, 1024), 507.5, 0.02),
        ("deeplabv3plus_resnet101", (1024, 2048), 2029.9, 0.01),
    ],
)
def test_multiply_adds(name, size, billions, tolerance):
    rows = summary.parts(name, 19, size)
    main = [row for row in rows if row.name != "auxiliary head"]
    counted = sum(row.multiply_adds for row in main) / 1e9
    assert counted == pytest.approx(billions, rel=tolerance)


def test_the_table_adds_up():
    rows = summary.parts("ocr_resnet101", 19, (64, 128))
    assert [row.name for row in rows] == [
        "stem",
        "stage 1",
        "stage 2",
        "stage 3",
        "stage 4",
        "coarse head",
        "head",
    ]
    assert sum(row.parameters for row in rows) == 55_516_294
    assert rows[-1].output == (1, 8, 16, 19)
    assert "55,516,294" in summary.table(rows).splitlines()[-1]


def summarize(*arguments):
    command = [sys.executable, "scripts/summarize.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_script_prints_the_table():
    result = summarize("deeplabv3plus_resnet101", "--size", "64", "64")
    assert result.returncode == 0, result.stderr
    assert "62,582,006" in result.stdout and "60,217,315" in result.stdout


def test_the_script_names_the_choices():
    assert "ocr_resnet101" in summarize().stdout
    result = summarize("segnet")
    assert result.returncode == 2
    assert result.stderr.startswith("error: network 'segnet' is not known")
    assert len(result.stderr.splitlines()) == 1
