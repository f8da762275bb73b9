"""Which folders below a root hold the images and labels of a split, for a person's own data.

Images are looked for in IMAGES/SPLIT (`data.image_folder` is IMAGES), SPLIT/IMAGES, SPLIT, and,
where a list SPLIT.txt names those of the split, in IMAGES; JPEGImages stands for IMAGES as well.
Labels are looked for in the same place of LABELS (`data.label_folder`; SegmentationClass stands for
it); otherwise they are taken to lie beside the images.
"""

from dataclasses import dataclass
from pathlib import Path

from arm_jax.data import images
from arm_jax.system.errors import InputError
from arm_jax.system.files import read_bytes

IMAGES, LABELS = "images", "labels"  # as `data.image_folder` and `data.label_folder` begin
_LISTS = ("", "splits", "lists", "ImageSets/Segmentation", "ImageSets")


@dataclass(frozen=True)
class Places:
    """Folders of a root for a split.

    Attributes:
      images, labels: folders; `labels` is that of the images if there is no other.
      label_root: the folder of all splits' labels.
      listed: the names that the split's list has, as it writes them; None without a list.
      some: whether images without a label are to be left alone.
      label_folder: the folder's name as it was given.
      inner: whether images and labels lie below a folder of the split.
    """

    root: Path
    split: str
    images: Path
    labels: Path
    label_root: Path
    listed: tuple[str, ...] | None = None
    some: bool = False
    label_folder: str = ""
    inner: bool = False

    @property
    def beside(self) -> bool:
        return self.labels == self.images

    def for_keys(self) -> list[Path]:
        """Where a class file may lie."""
        return [self.root, self.root / self.split, self.labels, self.label_root, self.images]


def places(root: Path, split: str, image_folder: str, label_folder: str) -> Places:
    """Raises InputError where there is no folder of images, or one that was named is not there."""
    named = {
        "data.image_folder": (image_folder, IMAGES),
        "data.label_folder": (label_folder, LABELS),
    }
    for key, (name, usual) in named.items():
        # Else another place would be taken in silence, and its labels be the old ones.
        if name != usual and not any((place / name).exists() for place in (root, root / split)):
            raise InputError(
                f"{root / name}: no such folder, though {key} = {name!r} names it; correct that"
            )
    found, listed = _image_place(root, split, image_folder)
    label_root = root / label_folder
    inner = bool(split) and found == root / split / image_folder
    candidates = [label_root / split, label_root, root / "SegmentationClass" / split]
    candidates += [root / "SegmentationClass"]
    if inner:
        candidates.insert(0, root / split / label_folder)
    labels = next((folder for folder in candidates if folder.is_dir()), found)
    whole = label_root if label_root.exists() else labels
    some = not split and (root / "ImageSets").is_dir()
    return Places(root, split, found, labels, whole, listed, some, label_folder, inner)


def _image_place(root: Path, split: str, folder: str) -> tuple[Path, tuple[str, ...] | None]:
    if root.is_file():
        raise InputError(f"{root}: is a file, and data of one's own are a folder; unpack it")
    for name in dict.fromkeys((folder, "JPEGImages")):
        if (root / name / split).is_dir():
            return root / name / split, None
        if (root / name).is_dir() and (listed := _list(root, split)) is not None:
            return root / name, listed
    if split:
        for place in (root / split / folder, root / split):
            if place.is_dir():
                return place, None
    elif any(name.suffix.lower() in images.SUFFIXES for name in files(root)):
        return root, None
    if not (root / folder).is_dir():
        raise absent(root / folder)
    there = sorted(path.name for path in (root / folder).iterdir() if path.is_dir())
    has = f"it has {', '.join(there)}" if there else "it has no subfolders"
    raise InputError(
        f"{root / folder / split}: no such folder; {has}: name one of these as the split, or '' "
        f"for all files, or put a list {split}.txt into {root}"
    )


def absent(folder: Path) -> InputError:
    """The error for a folder that is not there."""
    return InputError(
        f"{folder}: no such folder; the data root must hold images/ and labels/, or the folders"
        " that data.image_folder and data.label_folder name"
    )


def _list(root: Path, split: str) -> tuple[str, ...] | None:
    """The lines of the split's list; None without one."""
    for folder in _LISTS:
        path = root / folder / f"{split}.txt"
        if split and path.is_file():
            try:
                lines = read_bytes(path).decode("utf-8-sig").splitlines()
            except UnicodeDecodeError:
                raise InputError(f"{path}: is no text; write one image a line") from None
            named = tuple(line.strip() for line in lines if line.strip())
            if not named:
                raise InputError(f"{path}: names no image; write one a line")
            return named
    return None


def files(folder: Path) -> list[Path]:
    """In it, hidden ones left out; none if it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
