"""The labelled images that a config names. Nothing here needs JAX."""

from typing import Any

from ml_collections import FrozenConfigDict

from arm_jax.data import sources
from arm_jax.data.labels import Classes
from arm_jax.system.errors import InputError


def training_source(config: FrozenConfigDict) -> sources.Source:
    """The labelled images to train on."""
    data = config.data
    source = labelled_as_training(config, data.train_split, data.train_images)
    return sources.WithoutFold(source, *data.fold) if data.fold else source


def labelled_as_training(config: FrozenConfigDict, split: str, images: int = 0) -> sources.Source:
    """A split of the training data, with labels of the kind that is trained on.

    Args:
      config: as from `settings.frozen`.
      split: of `data.root`.
      images: only the first ones; 0 for all.
    """
    data = config.data
    return _open(
        config,
        root=data.root,
        split=split,
        labels=data.train_labels,
        images=images,
        coarsening=data.coarsen,
        wrong_share=data.wrong_share,
    )


def evaluation_source(
    config: FrozenConfigDict, classes: Classes, labelled_as: str = "evaluation"
) -> sources.Source:
    """The labelled images to evaluate on.

    Args:
      config: as from `settings.frozen`.
      classes: those that are trained, which the images must be labelled with.
      labelled_as: "training" for labels of the kind that is trained on.

    Raises:
      InputError: as the sources; other classes, or the same ones in another order.
    """
    data = config.data
    dataset = sources.DATASETS[data.dataset]
    empty = set(dataset.unlabelled) & set(data.eval_split.split("+"))
    if empty:
        raise InputError(
            f"data.eval_split = {data.eval_split!r}: the public labels of {dataset.title}'s"
            f" {', '.join(empty)} split are empty; evaluate on another one, and let --mode"
            " server write the file for the benchmark's server"
        )
    part = {
        "root": data.eval_root or data.root,
        "split": data.eval_split,
        "images": data.eval_images,
    }
    if labelled_as == "training":
        part |= {
            "labels": data.train_labels,
            "coarsening": data.coarsen,
            "wrong_share": data.wrong_share,
        }
    else:
        part["labels"] = data.eval_labels
    source = _open(config, **part)
    if source.classes.names != classes.names:
        raise InputError(
            f"data.classes: the images to evaluate on have the classes"
            f" {', '.join(source.classes.names)}, but the network has"
            f" {', '.join(classes.names)}; their number, names and order must be the same"
        )
    return source


def _open(config: FrozenConfigDict, **part: Any) -> sources.Source:
    data = config.data
    return sources.open_source(
        data.dataset,
        classes=data.classes,
        ignore=data.ignore,
        values=data.label_values,
        size=data.size,
        builder_config=data.builder_config,
        image_folder=data.image_folder,
        label_folder=data.label_folder,
        orientation=data.orientation,
        colors=data.colors,
        label_names=data.label_names,
        undrawn=data.undrawn,
        unlabelled=data.unlabelled,
        overlaps=data.overlaps,
        seed=config.seed,
        **part,
    )
