"""How fast a network trains or infers on this device, against what the device could do.

    python scripts/benchmarks/benchmark.py --network deeplabv3plus_resnet50 \\
        --crop 128 256 --batch 2 --precision float32
    python scripts/benchmarks/benchmark.py configs/ade20k.py:arm --classes ade20k --batch 8
    python scripts/benchmarks/benchmark.py --forward --crop 1024 2048 --batch 1
    python scripts/benchmarks/benchmark.py --peer compile --peer-python /env/bin/python ...

Runs the project's own step, compiled as training compiles it, on a batch of random bytes that lies
on the device, and on the same batch the parts of the step as programs of their own and the step of
the base model (row `base`), by turns. Config values are given as for arm_jax.main,
--config.augment.jitter=False. With --forward: the network alone, and labels of whole images as
evaluation computes them.

Operations are multiplications and additions, twice `networks.summary`'s multiply-adds and three
times that for training; the share of the peak is that of a large matrix product measured in the
same run. --peer times the same network in PyTorch (peers/), in a separate process, in turns too.
"""

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import jax
from benchmarking import forward, hardware, peer, report, training

from arm_jax import experiment as experiments
from arm_jax import settings
from arm_jax.data import labels
from arm_jax.experiment import Experiment
from arm_jax.run import configs
from arm_jax.settings.rows import DTYPES
from arm_jax.system import (
    command_line,
    compilation,
    files,
    host_memory,
    outputs,
    sharding,
)
from arm_jax.system.errors import InputError


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("row", nargs="?", default="configs/base.py:arm", metavar="configs/x.py:row")
    parser.add_argument("--network", help="instead of the config's")
    parser.add_argument("--crop", type=int, nargs=2, help="height, width, instead of the config's")
    parser.add_argument(
        "--batch",
        type=int,
        help="instead of the config's (its evaluation.batch_size with --forward)",
    )
    parser.add_argument("--precision", choices=DTYPES, help="instead of the config's")
    parser.add_argument("--classes", default="cityscapes", choices=labels.BY_NAME)
    parser.add_argument("--forward", action="store_true", help="inference instead of training")
    parser.add_argument(
        "--step_only",
        action="store_true",
        help="the training step alone, without its parts and the base model: on a GPU, where each"
        " program takes a minute to compile",
    )
    parser.add_argument("--repeat", type=int, default=10, help="turns of everything (default 10)")
    parser.add_argument("--devices", type=int, default=1, help="how many to use (default 1)")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="KIND",
        help="words of eager, compile, channels_last, smp joined by +; may be repeated",
    )
    parser.add_argument("--peer-python", default=sys.executable, help="one that has PyTorch")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments, overrides = command_line.parse(parser, argv)
    command = command_line.typed("scripts/benchmarks/benchmark.py", argv)
    if arguments.peer:
        # Both frameworks must fit the device at once; read when JAX first looks for devices.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if arguments.json:
        outputs.refuse_foreign_file(arguments.json)
    experiment = configured(arguments, overrides)
    figures = report.provenance(command) | measure(arguments, experiment)
    print(report.text(figures))
    if arguments.json:
        files.write_json(arguments.json, figures, indent=2)
    return 0


def configured(arguments: argparse.Namespace, overrides: Sequence[str]) -> Experiment:
    """The experiment that the flags describe.

    Raises:
        InputError: as `configs.load` and `experiment.build`; a number that is not positive;
            flags that exclude each other.
    """
    if arguments.step_only and arguments.forward:
        raise InputError("--step_only is of training, --forward of inference; leave one out")
    for name in ("batch", "repeat", "devices"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise InputError(f"--{name} {value}: it must be at least 1")
    crop = arguments.crop or ((1024, 2048) if arguments.forward else None)
    if crop and min(crop) < 1:
        raise InputError(f"--crop {crop[0]} {crop[1]}: both must be at least 1")
    flags = {
        "model.name": arguments.network,
        "augment.crop": crop and tuple(crop),
        "batch_size": arguments.batch,
        "model.dtype": arguments.precision,
    }
    short = [f"--config.{key}={value}" for key, value in flags.items() if value is not None]
    config = configs.load(arguments.row, [*short, *overrides])
    if arguments.forward and arguments.batch is None:
        config = settings.frozen(config, {"batch_size": config.evaluation.batch_size})
    return experiments.build(config, labels.BY_NAME[arguments.classes])


def measure(arguments: argparse.Namespace, experiment: Experiment) -> dict[str, Any]:
    """All figures, as they go into the JSON file."""
    if arguments.devices > jax.device_count():
        raise InputError(f"--devices {arguments.devices}: there are {jax.device_count()}")
    mesh = sharding.make_mesh(jax.devices()[: arguments.devices])
    config = experiment.config
    parts = 1 if arguments.forward else config.accumulate
    sharding.local_batch_size(config.batch_size, mesh, parts=parts)
    compilation.keep_in(config.compilation_cache)
    measured = (
        forward.measure
        if arguments.forward
        else functools.partial(training.measure, alone=arguments.step_only)
    )
    with contextlib.ExitStack() as stack:
        peers = []
        for name in arguments.peer:
            options = peer_options(arguments, experiment)
            peers.append(peer.Peer(arguments.peer_python, name, options))
            stack.callback(peers[-1].close)
        figures = measured(experiment, mesh, peers, arguments.repeat)
    # After all else: its arrays are large, and would be part of the peak memory.
    return figures | {"peak": hardware.peak(config.model.dtype, arguments.repeat, mesh.size)}


def peer_options(arguments: argparse.Namespace, experiment: Experiment) -> list[str]:
    """What turns.py is to run.

    Raises:
        InputError: the config's network is not what is written there.
    """
    config = experiment.config
    if config.model.output_stride != 8 or config.model.variant not in ("", "v1c"):
        raise InputError(
            f"--peer: PyTorch's network has output stride 8 and variant v1c, the config's"
            f" {config.model.output_stride} and {config.model.variant or 'v1c'!r}"
        )
    found = [
        *("--network", config.model.name),
        *("--crop", *map(str, config.augment.crop)),
        *("--batch", str(config.batch_size)),
        *("--classes", str(experiment.classes.number)),
        *("--precision", config.model.dtype),
    ]
    return found + ["--forward"] * arguments.forward


if __name__ == "__main__":
    host_memory.keep_freed()
    sys.exit(main())
