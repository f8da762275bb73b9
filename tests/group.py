"""Commands in groups of processes over the loopback, for tests.

Importing is most of the work of a short run. So one process imports everything and, before it uses
JAX, forks each process of each group; all of them share the tiny network of `tiny.shrink`.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import forks
from group_tasks import TASKS

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Phase:
    """A group of processes, and the tasks that each of them does in turn.

    Attributes:
      tasks: pairs of a name in `group_tasks.TASKS` and its arguments.
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
