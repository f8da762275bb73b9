"""Runs without a part of their images: each image is judged by one that has not learnt its label.

`review.folds` = K trains K of them into `folds/K/` of the run's folder. Image n of the training
images is left out of fold n modulo K. `--mode review` and `--mode relabel` share them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import FrozenConfigDict

from arm_jax import consistency
from arm_jax.data import records
from arm_jax.run import folder as run_folder
from arm_jax.run import grid, inputs, restore
from arm_jax.system import files, processes
from arm_jax.system.errors import Diverged, InputError

NAMES = "images.txt"  # a digest of the names of the images that the folds share out


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
      InputError: a folder holds a run of other settings, or on other images: their numbers say
        which were left out.
    """
    config = run.experiment.config
    data, number = config.data, config.review.folds
    source = inputs.labelled_as_training(config, data.train_split, data.train_images)
    images = len(source)
    above = run.folder / "folds" / str(number)
    processes.once(
        lambda: _check_names(above, [records.named(source, n)[0] for n in range(images)])
    )
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


def _check_names(above: Path, names: Sequence[str]) -> None:
    """Keep a digest of the images' names, in order, beside the folds; raise where it is another."""
    digest = hashlib.blake2b("\n".join(names).encode("utf-8", "surrogatepass"), digest_size=16)
    path = above / NAMES
    if path.is_file():
        if path.read_bytes().strip() != digest.hexdigest().encode():
            raise InputError(
                f"{above} was trained on images of other names or in another order, so that it is"
                " not known which were left out; remove it, and the folds are trained anew"
            )
        return
    above.mkdir(parents=True, exist_ok=True)
    files.write(path, digest.hexdigest() + "\n")


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
