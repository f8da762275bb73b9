"""The labelled images that a config names. Nothing here needs JAX."""

import contextlib
from collections.abc import Sequence
from typing import Any

from ml_collections import FrozenConfigDict

from arm_jax import settings
from arm_jax.data import sources
from arm_jax.data.labels import Classes
from arm_jax.data.mixed import MixedSource, Part
from arm_jax.settings import mixture
from arm_jax.system import addresses, names
from arm_jax.system.errors import InputError
from arm_jax.system.staging import stage, stores
from arm_jax.weights import weight_files

# Modes that read the images to train on; what others read is staged when it is opened.
_TRAINING = ("train", "review", "relabel")
_EVALUATION = ("train", "evaluate")


def training_source(config: FrozenConfigDict) -> sources.Source:
    """The images to train on; a `MixedSource` for `data.sources`."""
    data = config.data
    if data.sources:
        return _mixed(config)
    source = labelled_as_training(config, data.train_split, data.train_images)
    return sources.WithoutFold(source, *data.fold) if data.fold else source


def labelled_as_training(config: FrozenConfigDict, split: str, images: int = 0) -> sources.Source:
    """A split of the training data, with labels of the kind that is trained on.

    Args:
      config: as from `settings.frozen`.
      split: of `data.root`.
      images: only the first ones; 0 for all.
    """
    return _training(config, config.data.root, split, images)


def _training(
    config: FrozenConfigDict, root: str, split: str, images: int, labelled: bool = True
) -> sources.Source:
    data = config.data
    return _open(
        config,
        root=root,
        split=split,
        labels=data.train_labels,
        images=images,
        coarsening=data.coarsen,
        wrong_share=data.wrong_share,
        labelled=labelled,
    )


def of_source(
    config: FrozenConfigDict, source: Sequence[tuple[str, Any]]
) -> tuple[FrozenConfigDict, dict[str, Any]]:
    """The settings that one of `data.sources` is read by, and what it has for itself.

    Its `data.root` is looked for below that of the config, unless it is absolute or an address.
    """
    given = dict(source)
    own = {key: given.pop(key) for key in mixture.OWN if key in given}
    above = config.data.root
    if given.get("root") and above and not addresses.is_address(given["root"]):
        root = names.local(given["root"], f"{mixture.KEY}: root")
        if not addresses.is_address(above):
            given["root"] = str(names.local(above, "data.root") / root)
        elif not root.is_absolute():
            given["root"] = f"{above.rstrip('/')}/{root.as_posix()}"
    changes = {f"data.{key}": value for key, value in given.items()} | {mixture.KEY: ()}
    return settings.frozen(config, changes), own


def _mixed(config: FrozenConfigDict) -> MixedSource:
    found = [of_source(config, source) for source in config.data.sources]
    named = mixture.names([dict(source) for source in config.data.sources])
    shares = mixture.shares([own["share"] for _, own in found])
    parts: list[Part] = []
    for name, share, (its, own) in zip(named, shares, found, strict=True):
        data, labelled = its.data, own.get("labelled", True)
        try:
            source = _training(its, data.root, data.train_split, data.train_images, labelled)
            if not len(source):
                raise InputError("it has no image")
        except InputError as error:
            hint = ""
            if not config.data.root and not names.local(data.root, "data.root").is_dir():
                hint = (
                    ". data.root, the folder above those of the sources, is not given; name it by"
                    " --config.data.root=FOLDER"
                )
            if labelled and "label" in str(error):
                with contextlib.suppress(InputError):
                    _training(its, data.root, data.train_split, data.train_images, False)
                    hint = ". If nobody labelled these images, give the source 'labelled': False"
            raise InputError(f"{mixture.KEY}: {name}: {error}{hint}") from error
        first = parts[0].source.classes if parts else source.classes
        if (source.classes.names, source.classes.ignore) != (first.names, first.ignore):
            raise InputError(
                f"{mixture.KEY}: {name} has the classes {', '.join(source.classes.names)} and"
                f" {parts[0].name} has {', '.join(first.names)}; both must have the same, in one"
                " order, as data.classes lists them"
            )
        weigh = own.get("weigh", True)
        parts.append(
            Part(
                name,
                source,
                share,
                weigh=weigh,
                correct=own.get("correct", weigh),
                complete=own.get("complete", True),
                labelled=labelled,
            )
        )
    return MixedSource(parts)


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


def cache(config: FrozenConfigDict) -> stage.Cache:
    """Where the files of addresses are kept."""
    return stage.Cache(config.data.staging_folder, config.data.staging_gib)


def addresses_of(config: FrozenConfigDict, mode: str) -> dict[str, tuple[str, bool]]:
    """The addresses that a mode reads: the setting of each, and whether one file is meant.

    Raises InputError for one that is not valid, or of no kind that can be read.
    """
    data = config.data
    found: dict[str, tuple[str, bool]] = {}

    def add(text: str, title: str, single: bool = False) -> None:
        prepares = not single and sources.DATASETS[data.dataset].prepares  # refused when opened
        if addresses.is_address(text) and not prepares:
            addresses.parse(text, stores.SCHEMES, title)
            found.setdefault(text, (title, single))

    if mode in _TRAINING and data.sources:
        for source in data.sources:
            its, _ = of_source(config, source)
            add(its.data.root, f"data.sources: {dict(source).get('name', 'root')}")
    elif mode in _TRAINING:
        add(data.root, "data.root")
    if mode in _EVALUATION:
        add(data.eval_root or data.root, "data.eval_root" if data.eval_root else "data.root")
    if mode == "train" and weight_files.is_staged(config.model.pretrained):
        add(config.model.pretrained, "model.pretrained", True)
    return found


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
        channels=data.channels,
        seed=config.seed,
        cache=cache(config),
        **part,
    )
