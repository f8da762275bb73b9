"""Every source of records, and the one function that opens any of them from plain arguments.

What follows (checks, augmentation, pipeline, evaluation) knows only `Source`, so that a notebook
can pass its own class.
"""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from arm_jax.data import bands, cityscapes, coarsen, official, prepare
from arm_jax.data.endings import is_image, stem_of
from arm_jax.data.folders import FolderSource
from arm_jax.data.label_files import NoLabels
from arm_jax.data.layouts import DataSet, Files, Layout, Opener, Options
from arm_jax.data.pairs import FileSource
from arm_jax.data.prepared import TfdsSource
from arm_jax.data.records import Source, about, fingerprint, inspect
from arm_jax.data.wrappers import (
    CoarsenedSource,
    FirstSource,
    JoinedSource,
    ScenesSource,
    UnlabelledSource,
    WithoutFold,
)
from arm_jax.system import addresses, names
from arm_jax.system.errors import InputError
from arm_jax.system.registry import Registry
from arm_jax.system.staging import stage

__all__ = [
    "DATASETS",
    "CoarsenedSource",
    "FileSource",
    "Files",
    "FirstSource",
    "FolderSource",
    "JoinedSource",
    "Layout",
    "Opener",
    "ScenesSource",
    "Source",
    "TfdsSource",
    "UnlabelledSource",
    "WithoutFold",
    "about",
    "fingerprint",
    "inspect",
    "open_source",
]


def _folders(root: Path, split: str, kind: str, options: Options) -> Source:
    return _joined(
        FolderSource(
            root,
            part,
            options.classes,
            table=dict(options.values) or None,
            image_folder=options.image_folder,
            label_folder=options.label_folder,
            orientation=options.orientation,
            ignore=options.ignore,
            colors=options.colors,
            names=options.label_names,
            undrawn=options.undrawn,
            unlabelled=options.unlabelled,
            overlaps=options.overlaps,
            channels=bands.number(options.channels),
        )
        for part in split.split("+")
    )


def _joined(sources: Iterable[Source]) -> Source:
    """The records of all. Raises InputError where their classes differ."""
    first, *others = opened = list(sources)
    for other in others:
        if other.classes.names != first.classes.names:
            raise InputError(
                f"splits with the classes {', '.join(first.classes.names)} and"
                f" {', '.join(other.classes.names)} cannot be joined; name data.classes"
            )
    return JoinedSource(opened) if others else first


def _street_scenes(root: Path, split: str, kind: str, options: Options) -> Source:
    folder = prepare.ensure("street_scenes", root, config=options.builder_config)
    return _prepared(folder, split, kind, options)


def _prepared(root: Path, split: str, kind: str, options: Options) -> Source:
    return _joined(TfdsSource(root, part, kind) for part in split.split("+"))


def _scenes(root: Path, split: str, kind: str, options: Options) -> Source:
    return ScenesSource(split, options.images or 1000, options.size)


DATA_VARIABLE = "ARM_JAX_DATA"  # the environment's name for the folder of all data sets
BOTH = ("fine", "coarse")
DATASETS: Registry[DataSet] = Registry(
    "dataset",
    DataSet,
    # Images and labels of one's own, see `folders`.
    folders=Opener(
        labels=(),
        source=_folders,
        hint="it holds images/train, images/val, labels/train and labels/val; docs/data.md lists "
        "the kinds of labels",
        origin="`python -m arm_jax check folders --root FOLDER` reports what is recognised",
    ),
    cityscapes=cityscapes.LAYOUT,
    ade20k=official.ADE20K,
    camvid=official.CAMVID,
    voc=official.VOC,
    # Generated scenes, prepared under the root when they are not there yet.
    street_scenes=Opener(labels=BOTH, source=_street_scenes, prepares=True),
    # The same, drawn while they are read; the preset is that of the prepared ones.
    scenes=Opener(labels=("fine",), source=_scenes, needs_root=False, coarse_preset="medium"),
    # The folder that scripts/prepare.py printed.
    prepared=Opener(
        labels=BOTH,
        source=_prepared,
        hint="the folder that `python -m arm_jax prepare` printed when it had written a data set",
    ),
)


def usual_root(dataset: str) -> Path:
    """The folder of a data set for which none was named: $ARM_JAX_DATA/DATASET or data/DATASET.

    Args:
      dataset: a name in `DATASETS`.

    Raises:
      InputError: neither is there; the message names both, and ends as `wanted`.

    >>> import tempfile
    >>> from unittest import mock
    >>> with tempfile.TemporaryDirectory() as above:
    ...     Path(above, "camvid").mkdir()
    ...     with mock.patch.dict(os.environ, {DATA_VARIABLE: above}):
    ...         usual_root("camvid") == Path(above, "camvid")
    True
    """
    above = os.environ.get(DATA_VARIABLE)
    named = [names.local(above, f"${DATA_VARIABLE} =") / dataset] if above else []
    places = [*named, Path("data") / dataset]
    for place in places:
        if place.is_dir():
            return place
    looked = " and ".join(str(place.absolute()) for place in places)
    raise InputError(
        f"the folder of the data is not given, and {dataset} is not at {looked}"
        + ("" if above else f" (${DATA_VARIABLE}, which may name another folder, is not set)")
        + "; put it there, or name its folder as data.root, --config.data.root=FOLDER"
        + wanted(dataset)
    )


def wanted(dataset: str) -> str:
    """What the folder of a data set should hold and how to get that, to end a message with.

    >>> "leftImg8bit_trainvaltest.zip" in wanted("cityscapes")
    True
    """
    entry = DATASETS[dataset]
    return "".join(f"; {part}" for part in (entry.hint, entry.origin) if part)


def _images(entry: DataSet, root: Path, split: str, options: Options) -> Source:
    """The images of a split, without labels."""
    if isinstance(entry, Layout) and split in entry.unlabelled:
        tree = entry.images(root, split)
        pairs = [(stem_of(name), name, "") for name in tree.names() if is_image(name)]
        labels = NoLabels(entry.classes.ignore)
        return FileSource(tree, labels, pairs, entry.classes)
    if entry is DATASETS["folders"]:
        return entry.open(root, split, "", dataclasses.replace(options, unlabelled="all"))
    kind = (entry.kinds() or BOTH)[0]
    return UnlabelledSource(entry.open(root, split, kind, options))


def _local_root(dataset: str, root: str | Path, cache: stage.Cache | None) -> Path:
    """Where the files of a data set are on this machine; "" means its usual folder."""
    entry = DATASETS[dataset]
    if entry.needs_root and not str(root):
        root = usual_root(dataset)
    if entry.prepares and addresses.is_address(root):
        raise InputError(
            f"data.root {root}: {dataset} is written there before it is read; give a folder of this"
            " machine"
        )
    return stage.local(root, "data.root", cache)


def open_source(
    dataset: str,
    *,
    root: str | Path = "",
    split: str = "train",
    labels: str = "fine",
    coarsening: str = "",
    wrong_share: float = 0.0,
    seed: int = 0,
    labelled: bool = True,
    cache: stage.Cache | None = None,
    **options: Any,
) -> Source:
    """The source that a config describes, all arguments plain.

    Args:
      dataset: a name in `DATASETS`.
      root: the folder of the data, or its address, which is staged, see `stage.local`; "" for the
        usual folder, see `usual_root`.
      split: a split or subfolder; "" takes all of `folders`. Splits can be joined: train+val.
      labels: `fine` or `coarse`, where a data set has both.
      coarsening: simulate coarse labels from the fine ones by this preset of
        `arm_jax.data.coarsen`; "" for none.
      wrong_share: fraction of simulated coarse components with a wrong class.
      seed: of the simulated coarse labels.
      labelled: False for the images alone, all of whose pixels have the ignore value: `folders`
        then needs no label, and other data sets have splits without public ones.
      cache: where the files of an address are kept; None for the user's cache.
      options: attributes of `layouts.Options`.

    Raises:
      InputError: for a value that means nothing, and all that the sources raise.

    >>> source = open_source("scenes", split="val", images=4, size=(32, 64))
    >>> len(source), source[0]["image"].shape, source[0]["label"].dtype
    (4, (32, 64, 3), dtype('uint8'))
    """
    if labels not in BOTH:
        raise InputError(f"labels = {labels!r}; choose fine or coarse")
    entry, chosen = DATASETS[dataset], Options(**options)
    if not labelled:
        source = _images(entry, _local_root(dataset, root, cache), split, chosen)
        return FirstSource(source, chosen.images) if 0 < chosen.images < len(source) else source
    if labels == "coarse":
        coarsening = coarsening or entry.coarse_preset
    if coarsening:
        labels = "fine"
    elif wrong_share:
        raise InputError(
            f"wrong_share = {wrong_share} has no effect without simulated coarse labels;"
            " name a preset"
        )
    kinds = entry.kinds()
    if kinds and labels not in kinds:
        raise InputError(
            f"{dataset} has {kinds[0]} labels only; "
            + ("simulate coarse ones by a preset" if labels == "coarse" else f"ask for {kinds[0]}")
        )
    source = entry.open(_local_root(dataset, root, cache), split, labels, chosen)
    if 0 < chosen.images < len(source):
        source = FirstSource(source, chosen.images)
    if coarsening:
        source = CoarsenedSource(source, coarsen.preset(coarsening, wrong_share), seed)
    return source
