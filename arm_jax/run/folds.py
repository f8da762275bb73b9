"""Runs without a part of their images: each image is judged by one that has not learnt its label.

`review.folds` = K trains K of them into `folds/K/` of the run's folder. Image n of the training
images is left out of fold n modulo K. `--mode review` and `--mode relabel` share them.
"""

from collections.abc import Iterator
from pathlib import Path

from ml_collections import FrozenConfigDict

from arm_jax import consistency
from arm_jax.run import grid, restore
from arm_jax.system.errors import Diverged, InputError


def check(config: FrozenConfigDict, images: int) -> None:
    """Raise InputError where there are more folds than images to train on."""
    if config.review.folds > images:
        raise InputError(
            f"review.folds = {config.review.folds}, but there are {images} images; choose at"
            " most as many"
        )


def trained(run: restore.Run) -> Iterator[restore.Run]:
    """The run without fold 0, without fold 1, ...; all are trained first, as far as they are not.

    Raises:
      Diverged: the training of one did.
      InputError: a folder holds a run of other settings.
    """
    config = run.experiment.config
    above = run.folder / "folds" / str(config.review.folds)
    folders = [_trained(config, fold, above / str(fold + 1)) for fold in range(config.review.folds)]
    for folder in folders:
        yield restore.load(folder)


def _trained(config: FrozenConfigDict, fold: int, folder: Path) -> Path:
    number = config.review.folds
    steps = config.review.fold_steps or max(1, config.steps // number)
    changes = {
        "data.fold": (fold, number),
        "steps": steps,
        "eval_every": steps,
        "review.folds": 0,
    }
    cell = grid.Cell(
        f"without fold {fold + 1} of {number}",
        config.seed,
        consistency.checked(config, changes),
        folder,
    )
    outcome = grid.run(cell)
    if outcome.diverged:
        raise Diverged(f"{cell.row}: {outcome.diverged}")
    return folder
