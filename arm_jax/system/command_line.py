"""Arguments of the scripts, the config overrides among them, and exit statuses."""

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, ParamSpec

from absl import flags, logging

from arm_jax.system import coordinator, processes, signals
from arm_jax.system.errors import InputError, Stopped, printable, shortened

Arguments = ParamSpec("Arguments")


class Parser(argparse.ArgumentParser):
    """argparse's, whose answer to a mistake is one line, as that of everything else.

    Args:
      text: of `--help`, its lines as they are.
    """

    def __init__(self, text: str | None = None):
        super().__init__(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """Print the line, and exit with status 2."""
        print(
            f"error: {shortened(printable(message))}; --help lists the arguments", file=sys.stderr
        )
        sys.exit(2)


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


def typed(script: str, argv: Sequence[str] | None) -> list[str]:
    """The command that makes the figures of a script again; `argv` as `main` was given it."""
    return ["python", script, *(sys.argv[1:] if argv is None else argv)]


def add_group(parser: argparse.ArgumentParser) -> None:
    """The arguments of a script whose work several processes share; as those of `arm_jax.main`."""
    parser.add_argument("--coordinator", help="of several processes: host:port of the first, auto")
    parser.add_argument("--processes", type=int, help="how many processes there are")
    parser.add_argument("--process", type=int, help="which of them this is, from 0")


@contextlib.contextmanager
def together(arguments: argparse.Namespace) -> Iterator[None]:
    """For the block, this process is one of the group that `add_group` asks for.

    A single process needs no JAX for it. Raises InputError as `coordinator.group` and
    `sharding.initialize`.
    """
    group = coordinator.group(arguments.coordinator, arguments.processes, arguments.process)
    if group is None:
        yield
        return
    from arm_jax.system import peers, sharding

    sharding.initialize(group)
    own = ("process", "root", "source", "workers")  # what a host may have by itself
    facts = {f"--{name}": value for name, value in vars(arguments).items() if name not in own}
    with peers.together(group.address, facts):
        yield


def answered(main: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """A script's `main`, with one line and an exit status for what the user can fix or stopped."""

    @functools.wraps(main)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except InputError as error:
            signals.unwrap()
            print(f"error: {error}", file=sys.stderr, flush=True)
            if processes.place()[1] > 1:
                os._exit(2)  # the usual way out would wait for the other processes
            return 2
        except Stopped as error:
            print(f"stopped: {error}; the same command goes on", file=sys.stderr)
            return error.status

    return wrapped
