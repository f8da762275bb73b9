"""What each start of a run ran on, in `versions.jsonl`: packages, devices, commit, command."""

import contextlib
import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from arm_jax.run import json_lines

FILE = "versions.jsonl"
PACKAGES = (
    "arm_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "numpy",
    "opencv-python-headless",
)


def versions() -> dict[str, Any]:
    """What this start ran on."""
    import jax

    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": found,
        "devices": devices(),
        "processes": jax.process_count(),
        "git": _git_state(),
    }


def devices() -> str:
    """Number and kind of the devices of all processes."""
    import jax

    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def _git_state() -> str | None:
    """Commit of the checkout that holds this package, with "-dirty"; None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def read(workdir: str | Path) -> list[dict[str, Any]]:
    """The records of versions.jsonl, one a start; lines that cannot be read are left out."""
    return json_lines.read(Path(workdir) / FILE)[0]
