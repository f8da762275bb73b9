"""Every source of records, and the one function that opens any of them from plain arguments.

What follows (checks, augmentation, pipeline, evaluation) knows only `Source`, so that a notebook
can hand in a class of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from arm_jax.data import ade20k, camvid, cityscapes, coarsen, prepare
from arm_jax.data.folders import FileSource, FolderSource
from arm_jax.data.labels import BY_NAME, Classes, Table, generic
from arm_jax.data.prepared import TfdsSource
from arm_jax.data.records import Source, fingerprint, inspect
from arm_jax.data.wrappers import CoarsenedSource, FirstSource, JoinedSource, ScenesSource
from arm_jax.system.errors import InputError

__all__ = [
    "CoarsenedSource",
    "FileSource",
    "FirstSource",
    "FolderSource",
    "JoinedSource",
    "ScenesSource",
    "Source",
    "TfdsSource",
    "fingerprint",
    "inspect",
    "open_source",
]

DATASETS = ("folders", "cityscapes", "ade20k", "camvid", "street_scenes", "scenes", "prepared")


def open_source(
    dataset: str,
    *,
    root: str | Path = "",
    split: str = "train",
    labels: str = "fine",
    classes: Sequence[str] = (),
    ignore: int = 255,
    values: Mapping[int, int] | Sequence[tuple[int, int]] = (),
    images: int = 0,
    size: tuple[int, int] = (128, 256),
    config: str = "",
    coarsening: str = "",
    wrong_share: float = 0.0,
    seed: int = 0,
    orientation: str = "exif",
) -> Source:
    """The source that a config describes, all arguments plain.

    Args:
      dataset: one of
        `folders`: root/images and root/labels, see `arm_jax.data.folders`;
        `cityscapes`, `ade20k`, `camvid`: the official files, see the modules of these names;
        `street_scenes`: generated scenes, prepared under `root` when they are not there yet;
        `scenes`: the same, drawn while they are read;
        `prepared`: `root` is the folder that scripts/prepare.py printed.
      root: the folder of the data.
      split: a split or subfolder; "" takes all of `folders`. Splits of the official data sets and
        of prepared ones can be joined: train+val.
      labels: `fine` or `coarse`, where a data set has both. `scenes` simulates coarse ones by the
        preset `medium`, as the prepared scenes have them.
      classes: class names in index order, or the name of a benchmark whose classes are meant, for
        `folders`; the others have their own.
      ignore: the label value of pixels without a label, for `folders`.
      values: pairs of stored label value and class index (or `ignore`), for `folders`; empty where
        the files hold class indices.
      images: use only the first so many; 0 for all. `scenes` draws so many, or 1,000.
      size: height and width of `scenes`.
      config: size and number of prepared `street_scenes`: a name from its builder, "" the first.
      coarsening: simulate coarse labels from the fine ones by this preset of
        `arm_jax.data.coarsen`; "" for none.
      wrong_share: fraction of simulated coarse components with a wrong class.
      seed: of the simulated coarse labels.
      orientation: "exif" turns images and labels as their EXIF orientation tells viewers, "stored"
        takes pixels as they lie in the file; for `folders`.

    Raises:
      InputError: for a value that means nothing, and all that the sources raise.
    """
    if labels not in ("fine", "coarse"):
        raise InputError(f"labels = {labels!r}; choose fine or coarse")
    if dataset not in DATASETS:
        raise InputError(f"dataset {dataset!r} is unknown; choose from {', '.join(DATASETS)}")
    if dataset == "scenes" and labels == "coarse":
        coarsening = coarsening or "medium"
    if coarsening:
        labels = "fine"
    elif wrong_share:
        raise InputError(
            f"wrong_share = {wrong_share} has no effect without simulated coarse labels;"
            " name a preset"
        )
    if dataset != "scenes" and not str(root):
        raise InputError(f"the folder of the data is not given; {dataset} needs one")
    source: Source
    if dataset == "folders":
        meaning = _classes(classes, ignore)
        table = Table.of(dict(values), meaning) if values else None
        source = FolderSource(root, split, meaning, table=table, orientation=orientation)
    elif dataset == "cityscapes":
        source = cityscapes.open_split(root, split, labels)
    elif labels == "coarse" and dataset in ("ade20k", "camvid"):
        raise InputError(f"{dataset} has fine labels only; simulate coarse ones by a preset")
    elif dataset == "ade20k":
        source = ade20k.open_split(root, split)
    elif dataset == "camvid":
        source = camvid.open_split(root, split)
    elif dataset == "street_scenes":
        source = _prepared(prepare.ensure(dataset, root, config=config), split, labels)
    elif dataset == "prepared":
        source = _prepared(Path(root), split, labels)
    else:
        source = ScenesSource(split, images or 1000, size)
    if 0 < images < len(source):
        source = FirstSource(source, images)
    if coarsening:
        source = CoarsenedSource(source, coarsen.preset(coarsening, wrong_share), seed)
    return source


def _prepared(folder: Path, split: str, labels: str) -> Source:
    opened = [TfdsSource(folder, part, labels) for part in split.split("+")]
    return opened[0] if len(opened) == 1 else JoinedSource(opened)


def _classes(names: Sequence[str], ignore: int) -> Classes:
    """Class names, or the one name of a benchmark, to classes."""
    if len(names) == 1 and names[0] in BY_NAME:
        known = BY_NAME[names[0]]
        return Classes(known.names, known.colors, ignore)
    if not names:
        raise InputError(
            "classes is empty; list the class names in the order of the label values, or name "
            f"one of {', '.join(BY_NAME)}"
        )
    return generic(tuple(names), ignore)
