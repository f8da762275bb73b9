"""What a command line asks for and cannot have."""

import pytest

from arm_jax.run import refusals
from arm_jax.system.coordinator import Group
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


@pytest.mark.parametrize("mode", ["report", "relabel", "server"])
def test_what_runs_in_one_process_is_refused_in_several(mode):
    message = f"--mode {mode} runs in one process; leave out --coordinator"
    with pytest.raises(InputError, match=message):
        refusals.check(mode, None, "runs/any", group=Group("localhost:1234", 2, 0))
