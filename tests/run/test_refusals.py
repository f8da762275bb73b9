"""What a command line asks for and cannot have."""

import pytest

from arm_jax.run import refusals
from arm_jax.system.errors import InputError


def test_an_option_of_another_mode_is_refused_by_name():
    """`--input photographs --output labels` without `--mode predict` would train."""
    refusals.check_options("predict", ["input", "output", "checkpoint", "threshold"])
    refusals.check_options("review", ["split", "decisions"])
    refusals.check_options("train", [])
    message = "--input is for --mode predict or --mode server, not for --mode train; leave it out"
    with pytest.raises(InputError, match=message):
        refusals.check_options("train", ["input", "output"])
    with pytest.raises(InputError, match="--split is for --mode review, not for --mode report"):
        refusals.check_options("report", ["split"])
