"""ADE20K's scene parsing benchmark from its own files, in the folder or in the zip as it comes.

    [ADEChallengeData2016/]images/{training,validation}/ADE_*.jpg
    [ADEChallengeData2016/]annotations/{training,validation}/ADE_*.png

150 classes stored from 1, 0 where there is none; images of any size, some grey or CMYK.
"""

from pathlib import Path

from arm_jax.data.folders import FileSource, match
from arm_jax.data.labels import ADE20K, ADE20K_TABLE
from arm_jax.data.records import Source
from arm_jax.data.trees import locate
from arm_jax.data.wrappers import JoinedSource
from arm_jax.system.errors import InputError

FOLDERS = {"train": "training", "val": "validation"}
_TOP = "ADEChallengeData2016"


def open_split(root: str | Path, split: str) -> Source:
    """The records of train or val, or of both as train+val.

    `root` is the folder ADEChallengeData2016, the one that it or its zip lies in, or the zip.
    Raises InputError for an unknown or absent split and for an image without a label.
    """
    parts = split.split("+")
    for part in parts:
        if part not in FOLDERS:
            raise InputError(f"split {part!r} is none of ADE20K; choose train, val or train+val")
    opened = [_open_one(Path(root).expanduser(), FOLDERS[part]) for part in parts]
    return opened[0] if len(opened) == 1 else JoinedSource(opened)


def _open_one(root: Path, folder: str) -> FileSource:
    top = "" if (root / "images").is_dir() else f"{_TOP}/"
    hint = f"the official package is {_TOP}.zip, unpacked or not"
    image_tree = locate(root, f"{top}images/{folder}", hint)
    label_tree = locate(root, f"{top}annotations/{folder}", hint)
    pairs = match(image_tree, label_tree, label_endings=(".png",))
    return FileSource(image_tree, label_tree, pairs, ADE20K, ADE20K_TABLE)
