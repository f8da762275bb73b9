"""Arguments of the scripts, and the config overrides among them."""

import argparse
from collections.abc import Sequence

from absl import flags, logging


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """Arguments, and the config overrides among them, `--config.KEY=VALUE`.

    Also prepares a script that has no absl flags: Grain asks whether they were parsed, and Orbax
    logs every file.
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
