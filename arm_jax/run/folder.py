"""The folder of a run: what it was started with, and what it measured.

config.json     the resolved config
versions.jsonl  packages, Python, devices, git commit, command line, of each start
metrics.jsonl   one line per log step or evaluation, the same for an interrupted run
events.*        the same for TensorBoard, and the rates
checkpoints/    see `checkpoints`
eval.json       the last evaluation
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from tensorboardX import SummaryWriter

from arm_jax import settings
from arm_jax.data.labels import Classes
from arm_jax.run import configs
from arm_jax.system import files, terminal
from arm_jax.system.errors import InputError

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


def open_folder(workdir: str | Path, config: Mapping[str, Any]) -> Path:
    """Make the folder, and record or compare the config.

    Args:
      workdir: created with its parents where it does not exist.
      config: complete, as from `settings.frozen`.

    Raises:
      InputError: the folder cannot be written, or holds checkpoints of another config (the message
        lists the keys that differ).
    """
    workdir = Path(workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise InputError(
            f"--workdir {workdir} cannot be written ({error.strerror}); choose another folder"
        ) from error
    # Without a checkpoint there is nothing to continue, and a corrected config may start over.
    if is_run(workdir):
        for line in configs.continued(workdir, config):
            terminal.say(line)
    if jax.process_index() == 0:
        with files.whole(workdir / configs.FILE) as temporary:
            temporary.write_text(json.dumps(settings.flat(config), indent=2) + "\n")
        with open(workdir / "versions.jsonl", "a") as file:
            file.write(json.dumps(versions()) + "\n")
    return workdir


def is_run(folder: str | Path) -> bool:
    """Whether a folder holds the settings and a checkpoint of a run."""
    folder = Path(folder)
    return (folder / configs.FILE).exists() and any((folder / "checkpoints").glob("[0-9]*"))


def write_classes(workdir: Path, classes: Classes) -> None:
    """Remember the classes, so that predicting needs no data set."""
    if jax.process_index() == 0:
        with files.whole(workdir / "classes.json") as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(classes)) + "\n")


def read_classes(workdir: str | Path) -> Classes:
    """The classes of a run. Raises InputError when the file is missing or damaged."""
    path = Path(workdir) / "classes.json"
    try:
        stored = json.loads(path.read_text())
        colors = tuple((int(r), int(g), int(b)) for r, g, b in stored["colors"])
        return Classes(tuple(stored["names"]), colors, int(stored["ignore"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); is this a run?") from error


def versions() -> dict[str, Any]:
    """What this start ran on."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": found,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processes": jax.process_count(),
        "git": _git_state(),
    }


def _git_state() -> str | None:
    """Commit of the checkout that holds this package, with "-dirty"; None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


class MetricsLog:
    """Writes metrics.jsonl and TensorBoard's event files, in the first process only.

    metrics.jsonl holds only what is determined by config and seed, so that an interrupted and
    continued run leaves the same file as an uninterrupted one; rates go to the event file alone.
    """

    def __init__(self, workdir: Path, *, start_step: int):
        """Forget what was logged after `start_step`: those steps are about to be made again."""
        self._path = workdir / "metrics.jsonl"
        self._writes = jax.process_index() == 0
        if self._writes:
            kept = [r for r in read_metrics(workdir) if r["step"] <= start_step]
            with files.whole(self._path) as temporary:
                temporary.write_text("".join(json.dumps(r) + "\n" for r in kept))
            self._events = SummaryWriter(str(workdir), purge_step=start_step + 1)

    def write(self, step: int, values: Mapping[str, float], rates: Mapping[str, float]) -> None:
        """Append one record; `values` must be reproducible, `rates` need not be."""
        if not self._writes:
            return
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in {**values, **rates}.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writes:
            self._events.close()


def read_metrics(workdir: str | Path) -> list[dict[str, float]]:
    """The records of metrics.jsonl; a last line cut off by a kill is left out."""
    path = Path(workdir) / "metrics.jsonl"
    records = []
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                records.append(json.loads(line))
    return records


def scores_at(workdir: str | Path, step: int) -> dict[str, float]:
    """mIoU, mAcc and aAcc of the evaluation that training made at a step; {} if it made none."""
    prefix = "eval_"
    return {
        name.removeprefix(prefix): value
        for record in read_metrics(workdir)
        if record["step"] == step
        for name, value in record.items()
        if name.startswith(prefix)
    }
