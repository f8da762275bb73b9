"""Flags only: `python -m arm_jax.main --config configs/X.py[:row] --workdir DIR`."""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from arm_jax.system import command_line, host_memory
from arm_jax.system.errors import Diverged, InputError, Stopped

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, ':row' behind it.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run, which continues there.")
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate", "report", "predict", "server", "show"], "What to do."
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "latest", "For the other modes: latest, best (by mIoU), or a step."
)
_INPUT = flags.DEFINE_string(
    "input", None, "For predict: a folder of images; for server: a folder or zip of test images."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "For predict: a folder; for server: a zip. In WORKDIR if not given."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "For several processes: host:port of the first, or 'auto' on a cluster."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # Orbax tells of every file; --verbosity=0 shows it
    host_memory.keep_freed()
    # Imported here, so that a mistyped flag is answered before JAX has started.
    from arm_jax import modes
    from arm_jax.run import loop
    from arm_jax.system import sharding

    sharding.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    if _MODE.value == "show":
        path, _, _ = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
        modes.show_differences(_CONFIG.value, command_line.load_config(f"{path}:base"))
        return
    if _WORKDIR.value is None:
        raise InputError("--workdir is missing; name the folder of the run")
    config, workdir, checkpoint = _CONFIG.value, _WORKDIR.value, _CHECKPOINT.value
    if _MODE.value == "train":
        modes.show(loop.train(config, workdir), workdir)
    elif _MODE.value == "evaluate":
        modes.show(modes.evaluate(config, workdir, checkpoint), workdir)
    elif _MODE.value == "report":
        modes.report(config, workdir, checkpoint)
    else:
        run = modes.predict if _MODE.value == "predict" else modes.server
        run(config, workdir, checkpoint, _INPUT.value, _OUTPUT.value)


def parse(argv: list[str]) -> list[str]:
    """absl's parser, but a mistake in the config or its overrides is one line too."""
    try:
        rest = flags.FLAGS(argv)
        _CONFIG.value.lock()  # a file that could not be loaded raises on first use
    except command_line.MISTAKES as error:
        raise InputError(command_line.explain(error, argv[1:])) from error
    if len(rest) > 1:
        raise InputError(f"unexpected argument {rest[1]!r}; flags begin with --")
    return rest


def console() -> None:
    """Run, and answer what the user can mend with one line and a non-zero exit status."""
    try:
        app.run(main, flags_parser=parse)
    except InputError as error:
        sys.exit(_complain(error, 2))
    except Diverged as error:
        sys.exit(_complain(error, 3))
    except Stopped as error:
        sys.exit(_complain(error, 143))  # 128 + SIGTERM, as the shell says it


def _complain(error: Exception, status: int) -> int:
    print(f"arm_jax: {error}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    console()
