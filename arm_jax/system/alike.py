"""Several processes of one run must be alike: the same program, settings and data.

Two that differ would wait for each other for ever, or train something that nobody asked for.
"""

import hashlib
import importlib.metadata
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arm_jax.system import processes
from arm_jax.system.errors import InputError
from arm_jax.version import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
_ABSENT = "absent"
_LONGEST = 60  # characters of a value in the message


def of_program() -> dict[str, str]:
    """Versions of what computes, and a digest of each file of this package."""
    facts = {"Python": platform.python_version(), "arm_jax": __version__}
    for name in _PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = _ABSENT
    package = Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        digest = hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()
        facts[f"the file arm_jax/{path.relative_to(package).as_posix()}"] = digest
    return facts


def compare(facts: Mapping[str, Any]) -> None:
    """Compare facts with those of the other processes; every process must call this.

    Raises:
      InputError: in every process, where one differs from the first: its host and number, and what
        differs.
    """
    if processes.place()[1] == 1:
        return
    mine = {name: repr(value) for name, value in facts.items()}
    found = processes.gathered((socket.gethostname(), mine))
    host, first = found[0]
    for index, (other_host, other) in enumerate(found):
        names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if names:
            which = [
                f"{name} is {_short(other.get(name, _ABSENT))}, not"
                f" {_short(first.get(name, _ABSENT))}"
                for name in names[:3]
            ]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"process {index} of {len(found)} on {other_host} differs from process 0 on"
                f" {host}: {'; '.join(which)}{more}; start all processes with the same program,"
                " command and data"
            )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
