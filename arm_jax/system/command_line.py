"""Configs and their overrides from a command line, and one line on what is wrong with them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from arm_jax.system.errors import InputError

# What absl and ml_collections raise for a file, row, key or value that cannot be used.
MISTAKES = (flags.Error, AttributeError, LookupError, TypeError, ValueError, OSError)


def load_config(row: str) -> ConfigDict:
    """The config of a file and its rows.

    Args:
      row: `configs/x.py`, or `configs/x.py:row`.

    Raises:
      InputError: there is no such file or row, or it cannot be executed.
    """
    # The files of configs/ import each other from the folder above.
    above = str(Path(row.partition(":")[0]).resolve().parent.parent)
    if above not in sys.path:
        sys.path.insert(0, above)
    arguments = [f"--config={row}"]
    values = flags.FlagValues()
    try:
        holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
        values(["", *arguments])
        return holder.value.lock()
    except MISTAKES as error:
        raise InputError(f"--config={row}: {explain(error)}") from error


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """Arguments, and the config overrides among them, `--config.KEY=VALUE`.

    Also sees to what else a script needs that has no absl flags: Grain asks whether they were
    read, and Orbax tells of every file.
    """
    parser.allow_abbrev = False
    arguments, rest = parser.parse_known_args(argv)
    unknown = [text for text in rest if not (text.startswith("--config.") and "=" in text)]
    if unknown:
        parser.error(f"unknown argument {unknown[0]!r}; config values are --config.KEY=VALUE")
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    logging.set_verbosity(logging.FATAL)
    return arguments, rest


def explain(error: BaseException) -> str:
    """What absl says or, where that only announces a traceback, the error that it comes from."""
    first = str(error).splitlines()[0] if isinstance(error, flags.Error) else ":"
    while first.endswith(":") and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__ or error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return first if not first.endswith(":") else lines[-1]
