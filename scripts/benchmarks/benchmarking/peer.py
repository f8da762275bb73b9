"""PyTorch in a separate process, which may be another environment's."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arm_jax.system.errors import InputError
from benchmarking import timing

SCRIPT = Path(__file__).parents[1] / "peers" / "turns.py"
WORDS = ("eager", "compile", "channels_last", "smp")


class Peer:
    """A network that waits for its turn; see scripts/benchmarks/peers/turns.py.

    Attributes:
        facts: what the process reports of itself, such as "torch" and "parameters".
        peak_bytes: the most memory that it has held on its device; None on CPUs.
    """

    def __init__(self, python: str, name: str, options: list[str]):
        """Start it, and wait until it has made its first steps.

        Args:
            python: an interpreter that has PyTorch.
            name: words of `WORDS` joined by "+".
            options: what and how much to run, as turns.py takes it.

        Raises:
            InputError: there is no such interpreter, or what turns.py says last.
        """
        words = name.split("+")
        for word in words:
            if word not in WORDS:
                raise InputError(f"--peer {name}: {word!r} is none of {', '.join(WORDS)}")
        if shutil.which(python) is None:
            raise InputError(f"--peer-python {python}: no such program")
        flags = [f"--{word.replace('_', '-')}" for word in words if word != "eager"]
        self.name = name
        # A pipe that nobody reads would fill up.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, str(SCRIPT), *options, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.facts = self._answer()
        self.peak_bytes: int | None = None
        self.calls = 1
        self.calls = timing.calls_for(self.turn().wall)

    def turn(self) -> timing.Turn:
        """What a step takes, over some steps in a row."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.calls}\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.peak_bytes = answer["peak_bytes"]
        return timing.Turn(answer["seconds"], answer["cpu_seconds"])

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = self.errors.read().strip().splitlines() or ["it ended without a word"]
            raise InputError(f"--peer {self.name}: {last[-1]}")
        return json.loads(line)


def check(peers: Sequence[Peer], network: str, parameters: int) -> None:
    """See that peers are the network that they are compared with.

    Raises:
        InputError: one has another number of parameters, and does not say that it differs.
    """
    for one in peers:
        other = one.facts["parameters"]
        if "smp" not in one.name.split("+") and other != parameters:
            raise InputError(
                f"--peer {one.name}: {other:,} parameters, but {network} has {parameters:,};"
                " it is another network"
            )


def figures(
    peers: Sequence[Peer], found: dict[str, list[timing.Turn]], ours: str
) -> dict[str, Any]:
    """name -> what a peer reports of itself, its time, and that over the time of turns `ours`."""
    return {
        one.name: one.facts
        | timing.Timing.of(found[f"peer {one.name}"])._asdict()
        | {
            "peak_bytes": one.peak_bytes,
            "over_ours": timing.ratio(found[f"peer {one.name}"], found[ours]),
        }
        for one in peers
    }
