"""The folder of a run: what it was started with, and what it measured.

config.json     the resolved config
versions.jsonl  what each start ran on, see `starts`
metrics.jsonl   one line per log step or evaluation, see `metrics_log`
events.*        the same for TensorBoard, with rates, the IoU of classes, and images
trackers.json   ids of the run at Weights & Biases and MLflow, where `tracker` names them
checkpoints/    see `checkpoints`
eval.json       the last evaluation, with confusion.csv and images.csv
report.html     everything worth knowing on one page
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arm_jax import settings
from arm_jax.data.labels import Classes
from arm_jax.run import configs, json_lines, metrics_log, mirror, starts, trackers
from arm_jax.system import bucket_locks, buckets, files, locks, outputs, processes, terminal
from arm_jax.system.errors import InputError, first_line

CLASSES = "classes.json"
# What a run writes into its folder, beside TensorBoard's event files, whose names are unique. Other
# files may lie there too.
NAMES = (
    "config.json",
    starts.FILE,
    metrics_log.FILE,
    metrics_log.HOSTS,
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
    outputs.claim(workdir, "a run", names=NAMES, known_by=(starts.FILE,))


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
    if processes.is_first():
        files.write_json(workdir / configs.FILE, settings.flat(config), indent=2)
        json_lines.append(workdir / starts.FILE, starts.versions())
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
    if processes.is_first() or not isinstance(mirror.place(workdir), Path):
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
        number = json.loads((Path(workdir) / CLASSES).read_text()).get("images")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return number if isinstance(number, int) else None
