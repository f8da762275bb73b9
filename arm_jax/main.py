"""Flags only: `python -m arm_jax.main --config configs/X.py[:row] --workdir DIR`."""

import os
import sys
from typing import Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from absl import app, flags, logging

from arm_jax.run import configs, mirror, refusals
from arm_jax.system import coordinator, host_memory, names
from arm_jax.system.errors import Diverged, InputError, Stopped
from arm_jax.version import __version__

_CONFIG = flags.DEFINE_string(
    "config",
    None,
    "A file of configs/, ':row' behind it; without it, what the run in WORKDIR recorded."
    " --config.KEY=VALUE changes a setting; --mode=show lists them.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The folder of the run, which continues there. By default runs/ and the config's name.",
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "report", "review", "predict", "relabel", "server", "show"],
    "What to do.",
)
_VERSION = flags.DEFINE_bool("version", False, "Print the version.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "latest", "For the other modes: latest, best (by mIoU), or a step."
)
_INPUT = flags.DEFINE_string(
    "input",
    None,
    "For predict: an image, a folder, a pattern or a .txt list of images; for server: a folder or"
    " zip of test images.",
)
_CONFIDENCE = flags.DEFINE_bool("confidence", False, "For predict: write maps of v, 16-bit PNGs.")
_PROBABILITIES = flags.DEFINE_bool(
    "probabilities", False, "For predict: write the probabilities of all classes, as .npz."
)
_THRESHOLD = flags.DEFINE_float(
    "threshold", 0.0, "For predict: v below which predictions.csv calls a pixel unsure.", -1.0, 1.0
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "For predict and report: a folder; for server: a zip. In WORKDIR if not given. For relabel: a"
    " folder, by default beside the labels.",
)
_SPLIT = flags.DEFINE_string(
    "split", None, "For review: a split of the training data; by default the one trained on."
)
_DECISIONS = flags.DEFINE_string(
    "decisions", None, "For review: a CSV that its page saved, to leave out and to learn from."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "For several processes: host:port of the first, or 'auto' on a cluster."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")


def main(argv: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.FATAL)  # libraries log much; --verbosity=0 shows it
    if _VERSION.value:
        print(f"arm_jax {__version__}")
        return
    mode, workdir, checkpoint = _MODE.value, _WORKDIR.value, _CHECKPOINT.value
    if workdir is not None:
        workdir = str(mirror.folder_of(workdir))
    refusals.check_options(mode, [name for name in refusals.OPTIONS if flags.FLAGS[name].present])
    if _OUTPUT.value is not None:
        names.local(_OUTPUT.value, "--output")
    if mode == "show":
        print(configs.show(_CONFIG.value, argv[1:], workdir))
        return
    if workdir is None:
        workdir = configs.default_workdir(_CONFIG.value)
        print(f"run in       {workdir}", flush=True)
    group = coordinator.group(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    config = configs.load(_CONFIG.value, argv[1:], workdir)
    refusals.check(mode, config, workdir, _INPUT.value, group)
    host_memory.keep_freed()
    # Imported here, so that mistakes are answered before JAX is imported.
    from arm_jax import consistency

    consistency.checked(config)
    from arm_jax import modes
    from arm_jax.run import loop, staged
    from arm_jax.system import peers, sharding

    sharding.initialize(group)
    with peers.together(None if group is None else group.address, _facts(config)):
        staged.bring(config, mode)
        if mode == "train":
            modes.show(loop.train(config, workdir), workdir)
            modes.closing(workdir)
        elif mode == "evaluate":
            modes.show(modes.evaluate(config, workdir, checkpoint), workdir)
        elif mode == "report":
            modes.report(config, workdir, checkpoint, _OUTPUT.value)
        elif mode == "review":
            from arm_jax.run import review

            review.review(
                config, workdir, checkpoint, split=_SPLIT.value, decisions=_DECISIONS.value
            )
        elif mode == "relabel":
            from arm_jax.run import relabel

            relabel.relabel(config, workdir, checkpoint, _OUTPUT.value)
        elif mode == "predict":
            asked = {"confidence": _CONFIDENCE.value, "probabilities": _PROBABILITIES.value}
            maps = [name for name, wanted in asked.items() if wanted]
            modes.predict(
                config, workdir, checkpoint, _INPUT.value, _OUTPUT.value, maps, _THRESHOLD.value
            )
        else:
            modes.server(config, workdir, checkpoint, _INPUT.value, _OUTPUT.value)


def _facts(config: Any) -> dict[str, object]:
    """What all processes of a run have to be started with."""
    chosen = (_MODE, _WORKDIR, _CHECKPOINT, _INPUT, _OUTPUT, _SPLIT, _DECISIONS, _THRESHOLD)
    flags_ = {f"--{flag.name}": flag.value for flag in (*chosen, _CONFIDENCE, _PROBABILITIES)}
    return {**flags_, **configs.common_to_processes(config)}


def parse(argv: list[str]) -> list[str]:
    """absl's parser for all but the config's overrides, which are returned behind the program."""
    others, overrides = configs.split(argv)
    try:
        rest = flags.FLAGS(others)
    except flags.Error as error:
        raise InputError(str(error).splitlines()[0]) from error
    if len(rest) > 1:
        raise InputError(f"unexpected argument {rest[1]!r}; flags begin with --")
    return [rest[0], *overrides]


def console() -> None:
    """Run, and answer what the user can fix with one line and a non-zero exit status."""
    try:
        app.run(main, flags_parser=parse)
    except (InputError, Diverged) as error:
        signals.unwrap()
        status = _complain(error, 2 if isinstance(error, InputError) else 3)
        if flags.FLAGS.is_parsed() and _COORDINATOR.value is not None:
            os._exit(status)  # the usual way out would wait for the other processes
        sys.exit(status)
    except Stopped as error:
        sys.exit(_complain(error, error.status))


def _complain(error: Exception, status: int) -> int:
    print(f"arm_jax: {error}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    console()
