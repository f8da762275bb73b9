"""The files of a checkpoint: whether they are complete, whether they are damaged, their scores."""

import json
from pathlib import Path

from arm_jax.run import digests, mirror
from arm_jax.run.digests import Folder
from arm_jax.system import buckets, terminal
from arm_jax.system.buckets import BucketError, Place
from arm_jax.system.errors import InputError, first_line

DAMAGED = "damaged"
METRICS, POSITION = "metrics/metrics", "input/metadata"
_COMMIT = "commit_success.txt"


def set_damaged_aside(workdir: str | Path) -> None:
    """Move damaged checkpoints out of the way of a training, and name them.

    The newest is checked as a whole, until one is good; of the older ones only their scores and
    positions, which training reads.

    Raises InputError if none is good. The next start then begins anew.
    """
    place = mirror.place(workdir)
    folder = place / "checkpoints"
    if isinstance(folder, Path) and folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, where the run keeps its checkpoints; move it away")
    found = sorted(steps(folder), reverse=True)
    good = None
    for step in found:
        damage = find_damage(folder / str(step), small=good is not None)
        if damage is None:
            good = step if good is None else good
            continue
        target = _free_name(place / DAMAGED / str(step))
        try:
            _move(folder / str(step), target)
        except OSError as error:
            raise InputError(
                f"{folder / str(step)} is damaged ({damage}) and cannot be moved to {target}"
                f" ({error.strerror}); move it yourself"
            ) from error
        terminal.say(f"checkpoint {step} is damaged ({damage}); it is now {target}")
    if found and good is None:
        raise InputError(
            f"{workdir}: all checkpoints are damaged, and were moved to {place / DAMAGED};"
            " the same command begins the run anew"
        )


def _move(folder: Folder, target: Folder) -> None:
    """Objects are copied and then removed, first the one without which it is no checkpoint."""
    if isinstance(folder, Path):
        assert isinstance(target, Path)
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)
        return
    names = sorted(folder.files(), key=lambda name: name != _COMMIT)
    for name in names:
        buckets.copy((folder / name).address, (target / name).address)  # type: ignore[union-attr]
    for name in names:
        buckets.remove((folder / name).address)


def find_damage(folder: Folder, *, small: bool = False) -> str | None:
    """What is wrong with a checkpoint, in a few words, or None.

    Args:
      folder: of the checkpoint.
      small: read scores and position alone, not the arrays.

    Raises BucketError where a bucket does not answer.
    """
    only = ("metrics/", "input/") if small else None
    damage = digests.compare(folder, only)
    if damage:
        return damage
    try:
        read_miou(folder, strict=True)
        position = json.loads((folder / POSITION).read_bytes())
    except BucketError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return first_line(error)
    return None if isinstance(position, dict) else f"{POSITION} is no position"


def read_miou(folder: Folder, *, strict: bool = False) -> float | None:
    """The score of a checkpoint in percent, or None where it has none, or none that can be read.

    `strict` raises for the latter what reading it raised. Raises BucketError as `find_damage`.
    """
    try:
        return float(miou(json.loads((folder / METRICS).read_bytes())))
    except FileNotFoundError:
        return None
    except BucketError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        if strict:
            raise
        return None


def steps(folder: Folder) -> list[int]:
    """Of the complete checkpoints, in order."""
    if isinstance(folder, Place):
        ends = f"/{_COMMIT}"
        names = [name.removesuffix(ends) for name in folder.files() if name.endswith(ends)]
    else:
        try:
            names = [path.name for path in folder.iterdir() if path.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
    return sorted(int(name) for name in names if name.isdecimal())


def _free_name(path: Folder) -> Folder:
    number, found = 1, path
    while found.exists() or found.is_dir():
        number += 1
        found = path.parent / f"{path.name}-{number}"
    return found


def miou(metrics: dict[str, float]) -> float:
    return metrics["mIoU"]
