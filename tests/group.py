"""Commands in groups of processes over the loopback, for tests.

Importing is most of the work of a short run. So one process imports everything and, before it uses
JAX, forks each process of each group; all of them share the tiny network of `tiny.shrink`.
"""

import hashlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import forks
import numpy as np

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Phase:
    """A group of processes, and the tasks that each of them does in turn.

    Attributes:
      tasks: pairs of a name in `TASKS` and its arguments.
      processes: how many.
      devices: of each.
    """

    tasks: Sequence[tuple[str, dict[str, Any]]]
    processes: int = 1
    devices: int = 1


@dataclass(frozen=True)
class Ended:
    """How one process ended: its exit status and what it printed."""

    status: int
    out: str
    err: str


@dataclass
class Groups:
    """The phases of a test, one after the other.

    Args:
      place: a folder for what they print.
    """

    place: Path
    number: int = field(default=0, init=False)

    def run(self, *phases: Phase) -> list[list[Ended]]:
        """Each phase's processes, ended."""
        self.place.mkdir(exist_ok=True, parents=True)
        plan = self.place / f"plan{self.number}.json"
        self.number += 1
        plan.write_text(json.dumps([asdict(phase) for phase in phases]))
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
        environment["OPENBLAS_NUM_THREADS"] = environment["OMP_NUM_THREADS"] = "1"  # it forks
        environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        done = subprocess.run(
            [sys.executable, __file__, plan],
            env=environment,
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [[Ended(**one) for one in group] for group in json.loads(done.stdout)]


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


# The tasks, in a process of a group.


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


# The process that forks.


def _main(plan: Path) -> None:
    import importlib

    for name in (
        "arm_jax.modes",
        "arm_jax.reporting.report",
        "arm_jax.reporting.review_page",
        "arm_jax.run.loop",
        "arm_jax.run.review",
        "arm_jax.system.peers",
        "orbax.checkpoint",
        "grain",
    ):
        importlib.import_module(name)
    import tiny

    from arm_jax import networks

    name = "deeplabv3plus_resnet18"
    networks.ARCHITECTURES[name] = networks.ARCHITECTURES[name].sized(**tiny.sizes(name))
    phases = [Phase(**one) for one in json.loads(plan.read_text())]
    assert len(os.listdir("/proc/self/task")) == 1, "a process of several threads may not fork"
    results = []
    for number, phase in enumerate(phases):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        printed = [
            [plan.with_suffix(f".{number}.{index}.{kind}") for kind in ("out", "err")]
            for index in range(phase.processes)
        ]
        children = []
        for index in range(phase.processes):
            child = os.fork()
            if child == 0:
                _child(phase, index, address, printed[index])
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        results.append(
            [
                {"status": status, "out": files[0].read_text(), "err": files[1].read_text()}
                for status, files in zip(statuses, printed, strict=True)
            ]
        )
        if any(status not in (0, 143) for status in statuses):
            break
    print(json.dumps(results))


def _child(phase: Phase, index: int, address: str, printed: Sequence[Path]) -> None:
    for number, path in enumerate(printed, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False)

    def work() -> int:
        import jax
        from absl import flags, logging

        from arm_jax.system import coordinator, peers, sharding, signals
        from arm_jax.system.errors import InputError, Stopped

        flags.FLAGS.mark_as_parsed()
        logging.set_verbosity(logging.FATAL)
        jax.config.update("jax_num_cpu_devices", phase.devices)
        signals.start()
        together = phase.processes > 1
        try:
            sharding.initialize(
                coordinator.Group(address, phase.processes, index) if together else None
            )
            with peers.together(address if together else None):
                for name, arguments in phase.tasks:
                    TASKS[name](**arguments)
        except Stopped as error:
            print(error, flush=True)
            return error.status
        except InputError as error:
            print(f"arm_jax: {error}", file=sys.stderr, flush=True)
            os._exit(2)
        return 0

    forks.finish(work)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
