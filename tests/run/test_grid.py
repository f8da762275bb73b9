"""Many runs of one experiment: their rows, configs and figures."""

import math
from pathlib import Path

import pytest
from refusals import refusal

from arm_jax.run import configs, grid
from arm_jax.system.errors import InputError

CONFIG = str(Path(__file__).parents[2] / "configs" / "base.py")


def test_a_row_is_loaded_as_the_command_line_would():
    config = configs.load(f"{CONFIG}:smoke,linear_focusing", ["--config.batch_size=24"])
    assert (config.steps, config.batch_size) == (2, 24)
    assert (config.arm.kind, config.arm.slope) == ("linear", 0.5)
    with pytest.raises(AttributeError):
        config.bogus = 1


@pytest.mark.parametrize(
    ("row", "overrides", "message"),
    [
        (
            f"{CONFIG}:lineer",
            [],
            ": no row 'lineer' in this config; did you mean linear?",
        ),
        ("configs/nowhere.py", [], "--config=configs/nowhere.py: no such file"),
        (
            CONFIG,
            ["--config.stepss=3"],
            "--config.stepss: the config has no such key; did you mean steps?",
        ),
        (CONFIG, ["--config.steps=many"], "steps = 'many'; it must be a whole number"),
    ],
)
def test_a_row_that_cannot_be_loaded_is_one_line_that_names_it(row, overrides, message):
    assert message in refusal(configs.load, row, overrides)


def test_rows_are_named_by_what_distinguishes_them():
    assert grid.names(["configs/demo.py:base", "configs/demo.py"]) == ["base", "demo"]
    assert grid.names(["a/demo.py:arm", "a/camvid.py:arm"]) == ["demo:arm", "camvid:arm"]
    with pytest.raises(InputError, match="row 'arm' is given twice"):
        grid.names(["configs/demo.py:arm", "configs/demo.py:arm"])


def test_mean_and_sample_deviation():
    assert grid.mean_and_spread([1.0, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert grid.figure(*grid.mean_and_spread([1.0, 3.0])) == "2.00 ± 1.41"
    assert grid.figure(*grid.mean_and_spread([1.0])) == "1.00"
    assert grid.figure(*grid.mean_and_spread([])) == ""
