"""The arguments of scripts that use runs. JAX is imported once there is a run to use."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml_collections import FrozenConfigDict

from arm_jax.run import configs, mirror, refusals
from arm_jax.system import terminal

if TYPE_CHECKING:
    from arm_jax.run.restore import Run


def add_run(parser: argparse.ArgumentParser) -> None:
    """The arguments of a script that uses a trained run; `run_of` loads it."""
    parser.add_argument(
        "--workdir", type=mirror.argument, required=True, help="the folder of the run"
    )
    parser.add_argument("--checkpoint", default="latest", help="latest, best, or a step")
    parser.add_argument("--config", help="a file of configs/; the run's own settings if not given")


def config_of(arguments: argparse.Namespace, overrides: Sequence[str]) -> FrozenConfigDict:
    """The settings of the run that `add_run`'s arguments name, without JAX.

    Raises InputError where there is no such run.
    """
    config = configs.load(arguments.config, overrides, arguments.workdir)
    refusals.checkpoints(arguments.workdir)
    return config


def run_of(arguments: argparse.Namespace, overrides: Sequence[str]) -> "Run":
    """The run that `add_run`'s arguments name, with overrides `--config.KEY=VALUE`.

    Raises InputError as `restore.load` and `configs.load`; in tenths of a second where there is no
    such run.
    """
    config = config_of(arguments, overrides)
    from arm_jax.run import restore

    run = restore.load(arguments.workdir, arguments.checkpoint, config=config)
    terminal.say("\n".join([f"restored step {run.step} of {run.folder}", *run.remarks]))
    return run


def add_rows(parser: argparse.ArgumentParser, seeds: str) -> None:
    """The arguments that all grids share: rows, `--seeds`, `--workdir`."""
    parser.add_argument("rows", nargs="+", metavar="configs/x.py:row")
    parser.add_argument(
        "--seeds", type=integers, default=integers(seeds), help=f"e.g. 0,1,2 (default {seeds})"
    )
    parser.add_argument(
        "--workdir", type=mirror.argument, required=True, help="one subfolder a run"
    )


def integers(text: str) -> list[int]:
    """As the type of an argument: whole numbers, separated by commas."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are no whole numbers, as in 0,1,2") from None
