"""CamVid with SegNet's 11 classes and split, from that project's folders or two of one's own.

{train,val,test}/NAME.png  {train,val,test}annot/NAME.png      class 11 is "unlabelled"
images/{train,val,test}/NAME.*  labels/{train,val,test}/NAME.png        255 is
"""

from pathlib import Path

from arm_jax.data.folders import FileSource, match
from arm_jax.data.labels import CAMVID, Table
from arm_jax.data.records import Source
from arm_jax.data.trees import locate
from arm_jax.data.wrappers import JoinedSource
from arm_jax.system.errors import InputError

SPLITS = ("train", "val", "test")
# SegNet's 11 and the usual 255 both mean that there is no label.
TABLE = Table.of({k: k for k in range(11)} | {11: CAMVID.ignore, 255: CAMVID.ignore}, CAMVID)


def open_split(root: str | Path, split: str) -> Source:
    """The records of train, val or test, or of several joined by +.

    `root` holds the folders above, or a zip of them. Raises InputError for an unknown or absent
    split and for an image without a label.
    """
    parts = split.split("+")
    for part in parts:
        if part not in SPLITS:
            raise InputError(
                f"split {part!r} is none of CamVid; choose from {', '.join(SPLITS)}, or join some "
                "by +"
            )
    opened = [_open_one(Path(root).expanduser(), part) for part in parts]
    return opened[0] if len(opened) == 1 else JoinedSource(opened)


def _open_one(root: Path, split: str) -> FileSource:
    hint = "CamVid is read as train/ and trainannot/, or as images/train/ and labels/train/"
    own = (root / "images").is_dir()
    image_tree = locate(root, f"images/{split}" if own else split, hint)
    label_tree = locate(root, f"labels/{split}" if own else f"{split}annot", hint)
    pairs = match(image_tree, label_tree, label_endings=(".png",))
    return FileSource(image_tree, label_tree, pairs, CAMVID, TABLE)
