"""Saving and restoring a run, by Orbax, which this file and `arrays` alone know about.

A checkpoint holds the whole train state (both players, BatchNorm statistics, optimiser, loss
scale, log window, step) and the position of the input pipeline (the same in every process), so
that a restarted run continues with the very next batch. Saving is asynchronous; a checkpoint gets
its final name only when it is complete, so a run killed while saving restarts from the one before.

Nothing in a checkpoint is believed that `digests` does not confirm. One that was damaged is moved
to `<workdir>/damaged` by the next training, never deleted, and the run goes on from the newest good
one; evaluation and prediction, which change nothing, pass over it.

In a bucket nothing can be renamed: a checkpoint has its name from the start, and is complete once
`commit_success.txt` is there, which Orbax writes last. A save that fails there is made again, see
`retries`.

Of several processes the first alone saves: all hold the same state, and so none has to agree with
another on when a save is made again.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from arm_jax.run import arrays, checkpoint_files, digests, mirror
from arm_jax.run.checkpoint_files import METRICS, find_damage, read_miou
from arm_jax.run.digests import Folder
from arm_jax.run.retries import GivenUp, Retries
from arm_jax.system import bucket_locks, buckets, processes, terminal
from arm_jax.system.buckets import BucketError, Place
from arm_jax.system.errors import InputError, first_line

if TYPE_CHECKING:
    import orbax.checkpoint as ocp  # where it is used, as it takes long and mistakes come before


class Checkpoints:
    """The checkpoints of one working directory, `<workdir>/checkpoints/<step>`.

    Args:
      workdir: the run's folder.
      keep: how many of the newest checkpoints stay; the one with the best mIoU stays as well.
      read_only: for evaluation and prediction; nothing is created or deleted. Otherwise
        `set_damaged_aside` comes first.
    """

    def __init__(self, workdir: str | Path, *, keep: int = 3, read_only: bool = False):
        place = mirror.place(workdir)
        self.folder = place / "checkpoints"
        if read_only and not self.folder.is_dir():
            raise InputError(
                f"{self.folder} does not exist; give --workdir the folder of a trained run"
            )
        self._workdir = Path(workdir)
        self._keep = keep
        self._saving: int | None = None
        self._failed = self._owes = False
        self._retries: Retries | None = None
        self._writes = not read_only and jax.process_index() == 0
        if isinstance(place, Place):
            arrays.limit_tries()
            if self._writes:
                self._retries = Retries(place / "checkpoints")
        self._manager = self._create_manager() if self._writes else None

    def _create_manager(self) -> "ocp.CheckpointManager":
        import orbax.checkpoint as ocp
        from orbax.checkpoint import checkpoint_managers as policies

        arrays.drop_echoes()
        newest = policies.LatestN(n=self._keep)
        # A checkpoint without a score is kept for its age alone.
        best = policies.BestN(
            get_metric_fn=checkpoint_files.miou, n=1, keep_checkpoints_without_metrics=False
        )
        folder = arrays.for_orbax(self.folder)
        folder.mkdir(parents=True, exist_ok=True)  # Orbax makes none for one of several processes
        return ocp.CheckpointManager(
            folder,
            options=ocp.CheckpointManagerOptions(
                create=False,
                multiprocessing_options=arrays.alone("save"),
                cleanup_tmp_directories=True,
                best_fn=checkpoint_files.miou,  # without it Orbax would not write the scores
                preservation_policy=policies.AnyPreservationPolicy([newest, best]),
                # In the thread that saves, before the checkpoint gets its name.
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_digests),
            ),
        )

    def _write_digests(self) -> None:
        if isinstance(self.folder, Place):
            # What the run logged up to this step is there before the checkpoint counts.
            bucket_locks.check(self.folder.parent.address)
            mirror.push(self._workdir)
            unfinished: Folder = self.folder / str(self._saving)
        else:
            (unfinished,) = self.folder.glob(f"{self._saving}.orbax-checkpoint-tmp*")
        digests.write(unfinished)

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None where there is none."""
        return max(checkpoint_files.steps(self.folder), default=None)

    def find(self, which: str) -> int:
        """The step that `which` names: "latest", "best" (by mIoU) or a number.

        Damaged checkpoints do not count; each that is passed over is named on the terminal. The
        first process alone looks, and every one must call this.

        Raises InputError, listing the steps there are, when there is no such checkpoint, and when
        the one with that number is damaged.
        """
        return processes.from_first(lambda: self._find(which))

    def _find(self, which: str) -> int:
        steps = checkpoint_files.steps(self.folder)
        if which.isdecimal() and int(which) in steps:
            folder = self.folder / str(int(which))
            damage = find_damage(folder)
            if damage:
                raise InputError(
                    f"{folder} is damaged ({damage}); use another checkpoint, there are {steps}"
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
        self,
        step: int,
        state: Any,
        input_position: dict,
        *,
        miou: float | None = None,
        last: bool = False,
    ) -> None:
        """Start saving; the arrays are copied first, so the caller may donate them at once.

        In a bucket the save may be left for later, see `owes_a_save`; but where it is the `last`
        one of this start, this returns when it is complete there. Every process must call this for
        the last one.

        Raises InputError when this or the last checkpoint cannot be written, as on a full disk; in
        a bucket, only after `retries.PATIENCE`. In the first process alone, or in all for the last.
        """

        def saved() -> None:
            if self._retries is not None:
                self._save_with_retries(self._retries, step, state, input_position, miou, last)
            elif self._writes:
                self._save(step, state, input_position, miou)

        if last:
            processes.once(saved)
        else:
            saved()

    def _save(self, step: int, state: Any, input_position: dict, miou: float | None) -> None:
        assert self._manager is not None
        with self._explained():
            # The last one first, whose step is still named.
            self._manager.wait_until_finished()
            self._start(self._manager, step, state, input_position, miou)

    def _start(
        self,
        manager: "ocp.CheckpointManager",
        step: int,
        state: Any,
        input_position: dict,
        miou: float | None,
    ) -> None:
        self._saving = step
        manager.save(
            step,
            args=arrays.to_save(state, input_position),
            metrics=None if miou is None else {"mIoU": miou},
            force=True,
        )

    @property
    def owes_a_save(self) -> bool:
        """Whether a save was due that failed, or that an earlier one left no time for, and can be
        made now. To be asked after each step; in the first process alone it may be so.

        Raises InputError when nothing could be saved for `retries.PATIENCE` seconds, or another
        process has taken the folder over.
        """
        if self._retries is None:
            return False
        bucket_locks.check(self.folder.parent.address)  # type: ignore[union-attr]
        self._retries.check()
        if self._manager is None:
            return self._retries.may_try
        if self._manager.is_saving_in_progress():
            return False
        return self._is_idle(self._retries) and self._owes

    def _save_with_retries(
        self,
        retries: Retries,
        step: int,
        state: Any,
        input_position: dict,
        miou: float | None,
        last: bool,
    ) -> None:
        """`save` in a bucket; without `last`, in a moment and whatever the bucket does."""
        self._owes = True
        while True:
            busy = self._manager is not None and self._manager.is_saving_in_progress()
            if last and self._manager is None:
                retries.wait()
            if (last or not busy) and self._is_idle(retries) and self._manager is not None:
                try:
                    self._start(self._manager, step, state, input_position, miou)
                    self._owes = False
                    if not last or self._is_idle(retries):
                        return
                except Exception as error:
                    self._give_up_manager(retries, error)
            if not last:
                return

    def _is_idle(self, retries: Retries) -> bool:
        """Wait for the last save, and whether another may begin. Raises BucketError."""
        try:
            if self._manager is not None:
                self._manager.wait_until_finished()
                if not self._owes:
                    retries.succeeded()
            elif retries.may_try:
                self._manager = self._create_manager()
            return self._manager is not None
        except Exception as error:
            self._give_up_manager(retries, error)
            return False

    def _give_up_manager(self, retries: Retries, error: Exception) -> None:
        """After a failed save, a new manager finds out what the bucket holds."""
        self._owes = True
        if self._manager is not None:
            with contextlib.suppress(Exception):
                self._manager.close()
            self._manager = None
        if isinstance(error, GivenUp):
            raise error
        if isinstance(error, InputError) and not isinstance(error, BucketError):
            raise error  # somebody else writes there
        retries.failed(self._saving, error)

    def has_score(self, step: int) -> bool:
        """Whether a checkpoint was given a score, digest and all; every process must ask."""
        return processes.from_first(lambda: digests.lists(self.folder / str(step), METRICS))

    def add_score(self, step: int, miou: float) -> None:
        """Give a checkpoint that was saved without one its score.

        Raises InputError as `save`.
        """
        if self._manager is None:
            return
        folder = self.folder / str(step)
        if not digests.lists(folder, METRICS):
            self._saving = step
            with self._explained():
                if isinstance(folder, Path):
                    (folder / METRICS).parent.mkdir(exist_ok=True)
                digests.replace(folder / METRICS, json.dumps({"mIoU": miou}))
                digests.write(folder)
        self._manager.reload()

    def restore(self, step: int, like: Any) -> tuple[Any, dict]:
        """The train state with the shapes, types and placement of `like`, and the input position.

        The first process alone reads, and hands on what it read; every process must call this.

        Raises InputError when the checkpoint is of another network or cannot be read.
        """
        folder = self.folder / str(step)
        if not (folder / digests.FILE).exists():
            terminal.say(f"{folder} has no {digests.FILE}; it is restored without a check")
        state, position = arrays.restored(folder, arrays.present(like))
        if dataclasses.is_dataclass(like):
            state = dataclasses.replace(like, **state)  # type: ignore[type-var]
        return state, position

    def wait(self) -> None:
        """Block until the last save is complete on disk; every process must call this.

        Raises InputError, in all of them, as `save`.
        """

        def waited() -> None:
            if self._manager is not None:
                with self._explained():
                    self._manager.wait_until_finished()

        processes.once(waited)

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
            if isinstance(self.folder, Place):
                raise BucketError(
                    f"{self.folder / str(self._saving)} cannot be saved: {buckets.reason(error)};"
                    " the same command goes on from the last whole checkpoint there"
                ) from error
            latest = self.latest_step()
            goes_on = "" if latest is None else f", and goes on from step {latest}"
            raise InputError(
                f"{self.folder / str(self._saving)} cannot be saved ({first_line(error)}); free"
                f" some space, then the same command works again{goes_on}"
            ) from error
