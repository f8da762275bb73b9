"""The folder of a run: what it was started with, and what it measured.

config.json     the resolved config
versions.jsonl  packages, Python, devices, git commit, command line, of each start
metrics.jsonl   one line per log step or evaluation, the same for an interrupted run
events.*        the same for TensorBoard, with rates, the IoU of classes, and images
trackers.json   ids of the run at Weights & Biases and MLflow, where `tracker` names them
checkpoints/    see `checkpoints`
eval.json       the last evaluation, with confusion.csv and images.csv
report.html     everything worth knowing on one page
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from arm_jax import settings
from arm_jax.data.labels import Classes
from arm_jax.run import configs, mirror, trackers, tracking
from arm_jax.run.events import Events
from arm_jax.system import (
    bucket_locks,
    buckets,
    files,
    locks,
    outputs,
    processes,
    terminal,
)
from arm_jax.system.errors import InputError, first_line
from arm_jax.training import records
from arm_jax.training.records import EvaluationLine, Line

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


CLASSES, HOSTS = "classes.json", "hosts.jsonl"
# What a run writes into its folder, beside TensorBoard's event files, whose names are unique. Other
# files may lie there too.
NAMES = (
    "config.json",
    "versions.jsonl",
    "metrics.jsonl",
    HOSTS,
    CLASSES,
    "parameters.txt",
    "checked_labels.json",
    trackers.FILE,
    "problems_training.txt",
    "problems_evaluation.txt",
    "checkpoints",
    "damaged",
    "eval.json",
    "confusion.csv",
    "images.csv",
    "report.html",
    "confusion.png",
    "reliability.png",
    "contact_sheet.png",
    "weight_and_loss.png",
    "training.png",
)


def claim(workdir: str | Path) -> None:
    """Make `workdir` the folder of a run. Raises InputError if it holds what no run wrote."""
    outputs.claim(workdir, "a run", names=NAMES, known_by=("versions.jsonl",))


@contextlib.contextmanager
def writing(workdir: str | Path) -> Iterator[None]:
    """Claim and lock the folder for the block; every process must enter it.

    Raises InputError as `claim`, or if another run writes there now; the message names its host and
    process. Evaluating, drawing and predicting need no lock.
    """
    processes.once(functools.partial(claim, workdir))
    place = mirror.place(workdir)

    def lock() -> contextlib.AbstractContextManager[object]:
        if isinstance(place, buckets.Place):
            return bucket_locks.held(place.address)
        return locks.held(workdir)

    with processes.held_by_first(lock):
        yield


def open_folder(workdir: str | Path, config: Mapping[str, Any]) -> Path:
    """Make the folder, and record or compare the config.

    Args:
      workdir: created with its parents where it does not exist.
      config: complete, as from `settings.frozen`.

    Raises:
      InputError: the folder cannot be written, or holds checkpoints of another config (the message
        lists the keys that differ).
    """
    workdir = mirror.folder_of(workdir)
    processes.once(functools.partial(claim, workdir))
    # Without a checkpoint there is nothing to continue, and a corrected config may start over.
    if has_checkpoints(workdir) and not (workdir / configs.FILE).exists():
        raise InputError(
            f"{workdir / configs.FILE} is missing, and without it nothing says what the checkpoints"
            " there are of; restore it, or choose another --workdir"
        )
    if is_run(workdir):
        for line in configs.continued(workdir, config):
            terminal.say(line)
    if jax.process_index() == 0:
        files.write_json(workdir / configs.FILE, settings.flat(config), indent=2)
        _append(workdir / "versions.jsonl", versions())
    return workdir


def is_run(folder: str | Path) -> bool:
    """Whether a folder holds the settings and a checkpoint of a run."""
    return (Path(folder) / configs.FILE).exists() and has_checkpoints(folder)


def has_checkpoints(folder: str | Path) -> bool:
    """Whether anything looks like a checkpoint, complete or not."""
    place = mirror.place(folder) / "checkpoints"
    if isinstance(place, Path):
        return any(place.glob("[0-9]*"))
    return any(name[0].isdigit() for name in place.files())


def write_classes(workdir: Path, classes: Classes, images: int | None = None) -> None:
    """Remember the classes, so that predicting needs no data set.

    Args:
      workdir: the run's folder.
      classes: of the source to train on.
      images: how many it has, which decides about the order of samples.

    Raises InputError when a run that continues had others: its data moved, but not all of it.
    """
    path = workdir / CLASSES
    if is_run(workdir) and path.exists():
        before = read_classes(workdir)
        if before.names != classes.names:
            raise InputError(
                f"--workdir {workdir} belongs to a run with the classes {', '.join(before.names)},"
                f" not {', '.join(classes.names)}; correct data.root, or choose another folder"
            )
        number = json.loads(path.read_text()).get("images", images)
        if number != images:
            raise InputError(
                f"--workdir {workdir} belongs to a run on {number} images, not {images}; correct"
                " data.root, or choose another folder"
            )
    # In a folder of its own, each process finds the classes later.
    if jax.process_index() == 0 or not isinstance(mirror.place(workdir), Path):
        stored = dataclasses.asdict(classes) | ({} if images is None else {"images": images})
        files.write_json(path, stored)


def read_classes(workdir: str | Path) -> Classes:
    """The classes of a run. Raises InputError when the file is missing or damaged."""
    path = Path(workdir) / CLASSES
    try:
        stored = json.loads(path.read_text())
        colors = tuple((int(r), int(g), int(b)) for r, g, b in stored["colors"])
        return Classes(tuple(stored["names"]), colors, int(stored["ignore"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read ({first_line(error)}); remove it, and the next training"
            " writes it anew"
        ) from error


def read_images(workdir: str | Path) -> int | None:
    """How many images a run trained on, where it recorded that."""
    try:
        number = json.loads((Path(workdir) / "classes.json").read_text()).get("images")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return number if isinstance(number, int) else None


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
    """Writes metrics.jsonl, TensorBoard's event files and to trackers, in the first process only.

    metrics.jsonl holds only what is determined by config and seed, so that an interrupted and
    continued run leaves the same file as an uninterrupted one; rates, images and figures of single
    classes go to TensorBoard and the trackers alone.
    """

    def __init__(self, workdir: Path, *, start_step: int, config: ConfigDict | None = None):
        """Forget what was logged after `start_step`: those steps are about to be made again.

        Args:
          workdir: the run's folder.
          start_step: the last step that is not made again.
          config: the run's, whose `tracker` names the trackers; None for none.
        """
        self._path = workdir / "metrics.jsonl"
        self._writes = jax.process_index() == 0
        self._kept: list[dict[str, Any]] = []
        if self._writes:
            self._kept = self._take_over(start_step)
            files.write(self._path, "".join(json.dumps(r) + "\n" for r in self._kept))
            self._trackers: list[tracking.Tracker] = [Events(workdir, purge_step=start_step + 1)]
            if config is not None:
                flat = settings.flat(config)
                self._trackers += trackers.started(config.tracker, workdir, flat)

    def _take_over(self, start_step: int) -> list[dict[str, Any]]:
        """The records up to a step; what is missing or damaged is reported, and kept aside."""
        found, damaged = _read_records(self._path)
        kept = [record for record in found if record["step"] <= start_step]
        if damaged:
            aside = self._path.with_name(f"damaged_{self._path.name}")
            number = 1
            while aside.exists():
                number += 1
                aside = aside.with_name(f"damaged_{number}_{self._path.name}")
            self._path.rename(aside)
            terminal.say(
                f"{self._path}: lines that cannot be read, {damaged} of them, are left out; the"
                f" file as it was is now {aside}"
            )
        if start_step and not kept:
            terminal.say(
                f"{self._path} holds nothing of the first {start_step} steps, which were made"
                " before; the history begins here"
            )
        return kept

    def holds(self, step: int, name: str) -> bool:
        """Whether a record of an earlier start has this value at `step`, in every process."""
        return processes.from_first(
            lambda: any(name in record for record in self._kept if record["step"] == step)
        )

    def evaluations(self) -> list[tuple[int, float]]:
        """Step and mIoU of the evaluations of earlier starts, in every process."""
        return processes.from_first(
            lambda: [(r["step"], r["eval_mIoU"]) for r in self._kept if "eval_mIoU" in r]
        )

    def write(
        self, line: Line, rates: Mapping[str, float], beside: Mapping[str, float] | None = None
    ) -> None:
        """Append a line, which must be reproducible; `rates` need not be.

        What is `beside`, by its name for trackers, is only drawn.

        Raises InputError on a full disk.
        """
        if not self._writes:
            return
        _append(self._path, records.as_json(line))
        values = {**tracking.grouped(line, rates), **(beside or {})}
        for tracker in self._trackers:
            tracker.write(line.step, values)

    def show(self, step: int, images: Callable[[], Mapping[str, bytes]]) -> None:
        """Draw images, which only the first process makes; every process must call this."""

        def drawn() -> None:
            found = images()
            for tracker in self._trackers:
                tracker.show(step, found)

        processes.once(drawn)

    def write_hosts(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append how each of several hosts keeps up to hosts.jsonl; no two runs have the same."""
        if self._writes:
            for line in lines:
                _append(self._path.with_name(HOSTS), line)

    def close(self, finished: bool = True) -> None:
        """Close the files; `finished` tells trackers whether the run made its last step."""
        if self._writes:
            for tracker in self._trackers:
                tracker.close(finished)


def read_metrics(workdir: str | Path) -> list[Line]:
    """The lines of metrics.jsonl; those that cannot be read are left out.

    Raises InputError when the file itself cannot be.
    """
    found, _ = _read_records(Path(workdir) / "metrics.jsonl")
    return [line for line in map(records.parsed, found) if line is not None]


def damaged_lines(workdir: str | Path) -> int:
    """How many lines of metrics.jsonl cannot be read. Raises InputError as `read_metrics`."""
    return _read_records(Path(workdir) / "metrics.jsonl")[1]


def read_starts(workdir: str | Path) -> list[dict[str, Any]]:
    """The records of versions.jsonl, one a start; lines that cannot be read are left out."""
    return _read_records(Path(workdir) / "versions.jsonl", ())[0]


def _read_records(
    path: Path, steps: tuple[str, ...] = ("step",)
) -> tuple[list[dict[str, Any]], int]:
    """The records of a file, and how many of its lines are damaged.

    A last line that a kill cut off does not count. A record must have whole numbers by the names of
    `steps`.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); restore it, or move it away"
        ) from error
    found, damaged = [], 0
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or any(type(record[k]) is not int for k in steps):
                raise ValueError
            found.append(record)
        except (ValueError, KeyError, RecursionError):
            damaged += number < len(lines)
    return found, damaged


def _append(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line to a file of the run. Raises InputError when it cannot be written."""
    try:
        with open(path, "a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); free some space, then the same command"
            " goes on from the last checkpoint"
        ) from error


def scores_at(workdir: str | Path, step: int) -> dict[str, float]:
    """mIoU, mAcc and aAcc of the evaluation that training made at a step; {} if it made none."""
    for line in read_metrics(workdir):
        if isinstance(line, EvaluationLine) and line.step == step:
            return {"mIoU": line.eval_mIoU, "mAcc": line.eval_mAcc, "aAcc": line.eval_aAcc}
    return {}
