"""What a process of a group does (see group.py): tasks by name, with plain arguments.

Each imports what it needs when it runs; the process that forks has imported it by then.
"""

import hashlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent


def settings_of(changes: dict[str, Any]) -> Any:
    """Complete settings of a tiny run on generated scenes, changed."""
    from arm_jax import settings

    tiny_run = {
        "steps": 8,
        "batch_size": 4,
        "data.dataset": "scenes",
        "data.train_split": "train",
        "data.eval_split": "val",
        "data.size": (32, 64),
        "data.train_images": 10,
        "data.eval_images": 7,
        "data.train_labels": "coarse",
        "data.eval_labels": "fine",
        "augment.crop": (32, 32),
        "evaluation.batch_size": 4,
        "model.name": "deeplabv3plus_resnet18",
        "model.output_stride": 16,
        "model.dtype": "float32",
        "model.pretrained": "",
        "optimizer.kind": "sgd",
        "optimizer.learning_rate": 0.01,
        "arm.isolated": 0.25,
        "log_every": 1,
        "eval_every": 8,
        "save_every": 1000,
    }
    return settings.frozen(settings.defaults(), tiny_run | changes)


def train(
    workdir: str,
    until: int = 0,
    signalled: int = 0,
    number: int = signal.SIGTERM,
    marked: int = 0,
    mark: str = "",
    seen: str = "",
    **changes: Any,
) -> None:
    """Train; be asked to stop after step `until`; write digests of the examples to `seen`.

    The last process alone gets the signal `number` after step `signalled`. The file `mark` is made
    after step `marked`. In a text, PROCESS stands for the number of the process. Prints how many
    bytes restoring read, and how many features were written.
    """
    import jax

    from arm_jax.data import features
    from arm_jax.run import loop
    from arm_jax.run.checkpoints import Checkpoints
    from arm_jax.system import sharding

    restore = Checkpoints.restore

    def measured(*arguments: Any) -> Any:
        before = _bytes_read()
        restored = restore(*arguments)
        print(f"bytes read {_bytes_read() - before}", flush=True)
        return restored

    Checkpoints.restore = measured  # type: ignore[method-assign]
    if until:

        class Requests:
            def __init__(self, listener: Any):
                pass

            def received(self, step: int) -> int | None:
                return signal.SIGTERM if step == until else None

        loop.Requests = Requests  # type: ignore[assignment,misc]
    is_last = jax.process_index() == jax.process_count() - 1
    if mark or (signalled and is_last):
        received = loop.Requests.received

        def sent(self: Any, step: int) -> int | None:
            if step == signalled and is_last:
                os.kill(os.getpid(), number)
            if step == marked:
                Path(mark).touch()
            return received(self, step)

        loop.Requests.received = sent  # type: ignore[method-assign]
    if seen:
        original, path = sharding.shard_batch, f"{seen}.{jax.process_index()}"

        def recorded(mesh: Any, batch: Any) -> Any:
            if isinstance(batch, dict):
                with open(path, "a") as file:
                    file.write(json.dumps(_digests(batch)) + "\n")
            return original(mesh, batch)

        sharding.shard_batch = recorded
    index = str(jax.process_index())
    own = {
        key: value.replace("PROCESS", index) if isinstance(value, str) else value
        for key, value in changes.items()
    }
    write, written = features.write, []

    def counted(path: Path, arrays: Any) -> None:
        written.append(path)
        write(path, arrays)

    features.write = counted
    loop.train(settings_of(own), workdir)
    print(f"features written {len(written)}", flush=True)


def _bytes_read() -> int:
    """By this process so far, from files and pipes; what sockets receive does not count."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def _digests(batch: dict[str, np.ndarray]) -> list[str]:
    """Of each example: its pixels, labels, random bits and number."""
    found = []
    for place in range(len(batch["label"])):
        digest = hashlib.blake2b(digest_size=12)
        for name in sorted(batch):
            digest.update(np.ascontiguousarray(batch[name][place]).tobytes())
        found.append(digest.hexdigest())
    return found


def hurry(**limits: float) -> None:
    """Set constants, as `module.NAME`, to less than people would wait; gcsfs pauses for less."""
    import importlib

    import gcsfs.retry

    gcsfs.retry.min = lambda *pauses: 0.1
    for name, value in limits.items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)


def evaluate(workdir: str) -> None:
    from arm_jax import modes
    from arm_jax.run import mirror

    folder = mirror.folder_of(workdir)
    modes.show(modes.evaluate(None, folder), folder)


def evaluate_until_left(workdir: str) -> None:
    """Evaluate; the last process is asked to stop after its first batch, the others are not."""
    import jax

    from arm_jax.run import inputs, restore
    from arm_jax.system import sharding
    from arm_jax.system.signals import Interrupted

    run = restore.load(workdir)
    source = inputs.evaluation_source(run.experiment.config, run.classes)
    asked = signal.SIGHUP if jax.process_index() == jax.process_count() - 1 else None
    try:
        run.experiment.evaluate(run.players, source, sharding.make_mesh(), lambda: asked)
    except Interrupted as error:
        print(f"left by signal {error.number}", flush=True)


def predict(workdir: str, images: str, output: str) -> None:
    from arm_jax import modes
    from arm_jax.system.errors import InputError

    try:
        modes.predict(None, workdir, "latest", images, output, ("confidence", "probabilities"))
    except InputError as error:
        print(error, file=sys.stderr)


def review(workdir: str, **changes: Any) -> None:
    from arm_jax.run import configs, mirror
    from arm_jax.run import review as reviews

    folder = str(mirror.folder_of(workdir))
    config = configs.load(
        None, [f"--config.{key}={value}" for key, value in changes.items()], folder
    )
    reviews.review(config, folder)


def script(name: str, arguments: Sequence[str]) -> None:
    """A file of scripts/."""
    sys.argv = [name, *arguments]
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    except SystemExit as error:
        if error.code:
            raise


TASKS = {
    one.__name__: one
    for one in (train, hurry, evaluate, evaluate_until_left, predict, review, script)
}
