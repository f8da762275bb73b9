"""Saving and restoring a run: the only file that knows about Orbax.

A checkpoint holds the whole train state (both players, BatchNorm statistics, optimiser, loss
scale, log window, step) and the position of the input pipeline (the same in every process), so
that a restarted run continues with the very next batch. Saving is asynchronous; a checkpoint gets
its final name only when it is complete, so a run killed while saving restarts from the one before.

Nothing in a checkpoint is believed that `digests` does not confirm. One that was damaged is moved
to `<workdir>/damaged` by the next training, never deleted, and the run goes on from the newest good
one; evaluation and prediction, which change nothing, pass over it.
"""

import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from arm_jax.run import digests
from arm_jax.system import processes, terminal
from arm_jax.system.errors import InputError, first_line

DAMAGED = "damaged"
_METRICS, _POSITION = "metrics/metrics", "input/metadata"


class Checkpoints:
    """The checkpoints of one working directory, `<workdir>/checkpoints/<step>`.

    Args:
      workdir: the run's folder.
      keep: how many of the newest checkpoints stay; the one with the best mIoU stays as well.
      read_only: for evaluation and prediction; nothing is created or deleted. Otherwise
        `set_damaged_aside` comes first.
    """

    def __init__(self, workdir: str | Path, *, keep: int = 3, read_only: bool = False):
        self.folder = Path(workdir).absolute() / "checkpoints"
        if read_only and not self.folder.is_dir():
            raise InputError(
                f"{self.folder} does not exist; give --workdir the folder of a trained run"
            )
        self._saving: int | None = None
        self._failed = False
        self._manager = None if read_only else self._create_manager(keep)

    def _create_manager(self, keep: int) -> ocp.CheckpointManager:
        _drop_echoes()
        newest = policies.LatestN(n=keep)
        # A checkpoint without a score is kept for its age alone.
        best = policies.BestN(get_metric_fn=_miou, n=1, keep_checkpoints_without_metrics=False)
        return ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                create=True,
                cleanup_tmp_directories=True,
                best_fn=_miou,  # without it Orbax would not write the scores
                preservation_policy=policies.AnyPreservationPolicy([newest, best]),
                # In the thread that saves, before the checkpoint gets its name.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_digests),
            ),
        )

    def _write_digests(self) -> None:
        if jax.process_index() == 0:
            (unfinished,) = self.folder.glob(f"{self._saving}.orbax-checkpoint-tmp*")
            digests.write(unfinished)

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None where there is none."""
        return max(_steps(self.folder), default=None)

    def find(self, which: str) -> int:
        """The step that `which` names: "latest", "best" (by mIoU) or a number.

        Damaged checkpoints do not count; each that is passed over is named on the terminal.

        Raises InputError, listing the steps there are, when there is no such checkpoint, and when
        the one with that number is damaged.
        """
        steps = _steps(self.folder)
        if which.isdecimal() and int(which) in steps:
            damage = find_damage(self.folder / which)
            if damage:
                raise InputError(
                    f"{self.folder / which} is damaged ({damage}); use another checkpoint, there"
                    f" are {steps}"
                )
            return int(which)
        order = sorted(steps, reverse=True)
        if which == "best":
            scores = {step: read_miou(self.folder / str(step)) for step in steps}
            # Those without a score last, the newest of them first.
            order.sort(key=lambda step: (scores[step] is None, -(scores[step] or 0.0)))
        for step in order if which in ("latest", "best") else ():
            damage = find_damage(self.folder / str(step))
            if damage is None:
                return step
            terminal.say(f"checkpoint {step} of {self.folder} is damaged ({damage}); passed over")
        raise InputError(
            f"{self.folder} has no checkpoint {which!r}; there are {steps or 'none'}"
            " (or 'latest' or 'best')"
        )

    def save(
        self, step: int, state: Any, input_position: dict, *, miou: float | None = None
    ) -> None:
        """Start saving; the arrays are copied first, so the caller may donate them at once.

        Raises InputError when this or the last checkpoint cannot be written, as on a full disk.
        """
        assert self._manager is not None
        with self._explained():
            # The last one first, whose step is still named.
            self._manager.wait_until_finished()
            self._saving = step
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_present(state)),
                    input=ocp.args.JsonSave(input_position),
                ),
                metrics=None if miou is None else {"mIoU": miou},
                force=True,
            )

    def has_score(self, step: int) -> bool:
        """Whether a checkpoint was given a score, digest and all; every process must ask."""
        return processes.from_first(lambda: digests.lists(self.folder / str(step), _METRICS))

    def add_score(self, step: int, miou: float) -> None:
        """Give a checkpoint that was saved without one its score.

        Raises InputError as `save`.
        """
        assert self._manager is not None
        folder = self.folder / str(step)
        if jax.process_index() == 0 and not digests.lists(folder, _METRICS):
            self._saving = step
            with self._explained():
                (folder / _METRICS).parent.mkdir(exist_ok=True)
                digests.replace(folder / _METRICS, json.dumps({"mIoU": miou}))
                digests.write(folder)
        self._manager.reload()

    def restore(self, step: int, like: Any) -> tuple[Any, dict]:
        """The train state with the shapes, types and placement of `like`, and the input position.

        Raises InputError when the checkpoint is of another network or cannot be read.
        """
        folder = self.folder / str(step)
        if not (folder / digests.FILE).exists():
            terminal.say(f"{folder} has no {digests.FILE}; it is restored without a check")
        reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        abstract = jax.tree.map(_abstract_array, _present(like))
        try:
            restored = reader.restore(
                folder,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract), input=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:
            raise InputError(
                f"{folder} does not fit this config or is damaged ({first_line(error)});"
                " use the config that wrote it, or remove that folder to restart from an older one"
            ) from error
        finally:
            reader.close()
        state = restored["state"]
        if dataclasses.is_dataclass(like):
            state = dataclasses.replace(like, **state)  # type: ignore[type-var]
        return state, restored["input"]

    def wait(self) -> None:
        """Block until the last save is complete on disk. Raises InputError as `save`."""
        if self._manager is not None:
            with self._explained():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish the last save and stop the background threads. Raises InputError as `save`."""
        if self._manager is None:
            return
        if self._failed:  # reported already
            with contextlib.suppress(Exception):
                self._manager.close()
            return
        with self._explained():
            self._manager.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed = True
            latest = self.latest_step()
            goes_on = "" if latest is None else f", and goes on from step {latest}"
            raise InputError(
                f"{self.folder / str(self._saving)} cannot be saved ({first_line(error)}); free"
                f" some space, then the same command works again{goes_on}"
            ) from error


def _drop_echoes() -> None:
    """Keep the array writers, when one of them failed, from reporting each that came after it.

    The failure itself is raised by the manager. Its echoes are printed by threads of TensorStore,
    one traceback an array, as errors that nobody can catch.
    """
    if getattr(sys.unraisablehook, "drops_echoes", False):
        return
    usual = sys.unraisablehook

    def hook(found: Any) -> None:
        if str(found.exc_value) != "Event loop is closed":
            usual(found)

    hook.drops_echoes = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook


def set_damaged_aside(workdir: str | Path) -> None:
    """Move damaged checkpoints out of the way of a training, and name them.

    The newest is checked as a whole, until one is good; of the older ones only their scores and
    positions, which training reads.

    Raises InputError if none is good. The next start then begins anew.
    """
    folder = Path(workdir) / "checkpoints"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, where the run keeps its checkpoints; move it away")
    steps = sorted(_steps(folder), reverse=True)
    good = None
    for step in steps:
        look = functools.partial(find_damage, small=good is not None)
        damage = look(folder / str(step))
        if damage is None:
            good = step if good is None else good
            continue
        target = _free_name(Path(workdir) / DAMAGED / str(step))
        try:
            target.parent.mkdir(exist_ok=True)
            (folder / str(step)).rename(target)
        except OSError as error:
            raise InputError(
                f"{folder / str(step)} is damaged ({damage}) and cannot be moved to {target}"
                f" ({error.strerror}); move it yourself"
            ) from error
        terminal.say(f"checkpoint {step} is damaged ({damage}); it is now {target}")
    if steps and good is None:
        raise InputError(
            f"{workdir}: all checkpoints are damaged, and were moved to {Path(workdir) / DAMAGED};"
            " the same command begins the run anew"
        )


def find_damage(folder: Path, *, small: bool = False) -> str | None:
    """What is wrong with a checkpoint, in a few words, or None.

    Args:
      folder: of the checkpoint.
      small: read scores and position alone, not the arrays.
    """
    only = ("metrics/", "input/") if small else None
    damage = digests.compare(folder, only)
    if damage:
        return damage
    try:
        read_miou(folder, strict=True)
        position = json.loads((folder / _POSITION).read_bytes())
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return first_line(error)
    return None if isinstance(position, dict) else f"{_POSITION} is no position"


def read_miou(folder: Path, *, strict: bool = False) -> float | None:
    """The score of a checkpoint in percent, or None where it has none, or none that can be read.

    `strict` raises for the latter what reading it raised.
    """
    try:
        return float(_miou(json.loads((folder / _METRICS).read_bytes())))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        if strict:
            raise
        return None


def _steps(folder: Path) -> list[int]:
    """Of the complete checkpoints, in order."""
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in names if name.isdecimal())


def _free_name(path: Path) -> Path:
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _miou(metrics: dict[str, float]) -> float:
    return metrics["mIoU"]


def _present(state: Any) -> Any:
    """The fields of a state that are not None, by name.

    What a run has not is not in its checkpoint either, so that one from before a field was thought
    of still fits.
    """
    if not dataclasses.is_dataclass(state):
        return state
    values = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in values.items() if value is not None}


def _abstract_array(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
