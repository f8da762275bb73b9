"""Runs without a part of their images: each image is judged by one that has not learnt its label.

`review.folds` = K trains K of them into `folds/K/` of the run's folder. Image n of the training
images is left out of fold n modulo K. `--mode review` and `--mode relabel` share them.
"""

from collections.abc import Iterator
from pathlib import Path

from ml_collections import FrozenConfigDict

from arm_jax import consistency
from arm_jax.run import folder as run_folder
from arm_jax.run import grid, inputs, restore
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
      InputError: a folder holds a run of other settings, or on another number of images: their
        numbers say which were left out.
    """
    config = run.experiment.config
    data, number = config.data, config.review.folds
    images = len(inputs.labelled_as_training(config, data.train_split, data.train_images))
    above = run.folder / "folds" / str(number)
    folders = [above / str(fold + 1) for fold in range(number)]
    for fold, folder in enumerate(folders):
        _train(config, fold, folder)
        then, now = run_folder.read_images(folder), sum(n % number != fold for n in range(images))
        if then not in (None, now):
            raise InputError(
                f"{folder} was trained on {then:,} images, and without this fold there are"
                f" {now:,} by now; remove {above}, and the folds are trained anew"
            )
    for folder in folders:
        yield restore.load(folder)


def _train(config: FrozenConfigDict, fold: int, folder: Path) -> None:
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
