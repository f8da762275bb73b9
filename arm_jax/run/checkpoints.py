"""Saving and restoring a run: the only file that knows about Orbax.

A checkpoint holds the whole train state (both players, BatchNorm statistics, optimiser, loss
scale, log window, step) and the position of the input pipeline (the same in every process), so
that a restarted run continues with the very next batch. Saving is asynchronous; a checkpoint gets
its final name only when it is complete, so a run killed while saving restarts from the one before.
"""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from arm_jax.system.errors import InputError


class Checkpoints:
    """The checkpoints of one working directory, `<workdir>/checkpoints/<step>`.

    Args:
      workdir: the run's folder.
      keep: how many of the newest checkpoints stay; the one with the best mIoU stays as well.
      read_only: for evaluation and prediction; nothing is created or deleted.
    """

    def __init__(self, workdir: str | Path, *, keep: int = 3, read_only: bool = False):
        self.folder = Path(workdir).absolute() / "checkpoints"
        newest = policies.LatestN(n=keep)
        # A checkpoint without a score is kept for its age alone.
        best = policies.BestN(get_metric_fn=_miou, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
            best_fn=_miou,  # without it Orbax would not write the scores
            preservation_policy=None
            if read_only
            else policies.AnyPreservationPolicy([newest, best]),
        )
        if read_only and not self.folder.is_dir():
            raise InputError(
                f"{self.folder} does not exist; give --workdir the folder of a trained run"
            )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or None where there is none."""
        return self._manager.latest_step()

    def find(self, which: str) -> int:
        """The step that `which` names: "latest", "best" (by mIoU) or a number.

        Raises InputError, listing the steps there are, when there is no such checkpoint.
        """
        steps = sorted(self._manager.all_steps())
        if which == "latest":
            step = self._manager.latest_step()
        elif which == "best":
            scored = [s for s in steps if self._manager.metrics(s) is not None]
            step = max(
                scored,
                key=lambda s: _miou(self._manager.metrics(s)),
                default=self._manager.latest_step(),
            )
        else:
            step = int(which) if which.isdecimal() else None
        if step is None or step not in steps:
            raise InputError(
                f"{self.folder} has no checkpoint {which!r}; there are {steps or 'none'}"
                " (or say 'latest' or 'best')"
            )
        return step

    def save(
        self, step: int, state: Any, input_position: dict, *, miou: float | None = None
    ) -> None:
        """Start saving; the arrays are copied first, so the caller may donate them at once."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), input=ocp.args.JsonSave(input_position)
            ),
            metrics=None if miou is None else {"mIoU": miou},
            force=True,
        )

    def restore(self, step: int, like: Any) -> tuple[Any, dict]:
        """The train state with the shapes, types and placement of `like`, and the input position.

        Raises InputError when the checkpoint is of another network or cannot be read.
        """
        abstract = jax.tree.map(_abstract_array, like)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract), input=ocp.args.JsonRestore()
                ),
            )
        except (ValueError, KeyError, OSError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise InputError(
                f"{self.folder / str(step)} does not fit this config or is damaged ({first_line});"
                " use the config that wrote it, or remove that folder to restart from an older one"
            ) from error
        return restored["state"], restored["input"]

    def wait(self) -> None:
        """Block until the last save is complete on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish the last save and stop the background threads."""
        self._manager.close()


def _miou(metrics: dict[str, float]) -> float:
    return metrics["mIoU"]


def _abstract_array(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
