"""Where the images and labels of a person's own data lie, and which belong together.

Below a root, images are looked for in IMAGES/SPLIT (`data.image_folder` is IMAGES), SPLIT/IMAGES,
SPLIT, and, where a list SPLIT.txt names those of the split, in IMAGES; JPEGImages stands for IMAGES
as well. Labels are looked for in the same place of LABELS (`data.label_folder`; SegmentationClass
stands for it), then in one file for many images, then beside the images. Names that a list or a
JSON holds are compared with those of the files that there are, and never opened.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_jax.data import images
from arm_jax.data.formats import keys, recognise
from arm_jax.data.formats.contract import Collected, Collection, File
from arm_jax.data.trees import Folder
from arm_jax.system.errors import InputError
from arm_jax.system.files import read_bytes

# How a name may go on before its suffix, the preferred first: those of labels, and of images.
ENDINGS = (
    *("labelTrainIds", "mask", "masks", "gt", "label", "labels", "seg", "L", "labelIds"),
    "polygons",
)
_LABEL = re.compile(rf"(?:[_.-]gt(?:Fine|Coarse))?[_.-]({'|'.join(ENDINGS)})$", re.IGNORECASE)
_IMAGE = re.compile(r"[_.-](?:leftImg8bit|image|img|sat|rgb)$", re.IGNORECASE)
_LISTS = ("", "splits", "lists", "ImageSets/Segmentation", "ImageSets")
_MOST_COLLECTIONS = 100  # JSON files of a folder that are looked into


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


@dataclass(frozen=True)
class Many:
    """A file that has the labels of many images."""

    path: Path
    format: Collection
    content: Collected


@dataclass(frozen=True)
class Found:
    """What belongs together.

    Attributes:
      pairs: id, name of the image, and name of the label: that of a file, or that of the image in
        `many`.
      many: the file with all labels; None where each image has its own.
      notes: what was left alone, in words.
    """

    pairs: list[tuple[str, str, str]]
    many: Many | None
    notes: tuple[str, ...]


def places(root: Path, split: str, image_folder: str, label_folder: str) -> Places:
    """Raises InputError where there is no folder of images, with what there is."""
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
    for name in dict.fromkeys((folder, "JPEGImages")):
        if (root / name / split).is_dir():
            return root / name / split, None
        if (root / name).is_dir() and (listed := _list(root, split)) is not None:
            return root / name, listed
    if split:
        for place in (root / split / folder, root / split):
            if place.is_dir():
                return place, None
    elif any(name.suffix.lower() in images.SUFFIXES for name in _files(root)):
        return root, None
    if not (root / folder).is_dir():
        raise _absent(root / folder)
    there = sorted(path.name for path in (root / folder).iterdir() if path.is_dir())
    has = f"it has {', '.join(there)}" if there else "it has no subfolders"
    raise InputError(
        f"{root / folder / split}: no such folder; {has}: name one of these as the split, or '' "
        f"for all files, or put a list {split}.txt into {root}"
    )


def _absent(folder: Path) -> InputError:
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


def find(place: Places) -> Found:
    """What belongs together.

    Raises InputError where there is no image, or one without a label, or two of one name.
    """
    image_tree = Folder(place.images)
    names = image_tree.names()
    label_names = names if place.beside else Folder(place.labels).names()
    label_index = _Labels(label_names, _stems(names) if place.beside else None)
    others = label_index.names if place.beside else frozenset()
    image_names = [name for name in names if _is_image(name) and name not in others]
    by_id = _by_id(image_names, image_tree)
    if place.listed is not None:
        by_id = _listed(by_id, place, image_tree)
    if not by_id:
        raise InputError(
            f"{place.images}: holds no images ({', '.join(images.SUFFIXES)}); point at a folder"
            " that does"
        )
    own = {key: label for key in by_id if (label := label_index.of(key))}
    many = None
    if place.label_root.is_file() or not own:
        many = _many(place, list(by_id.values()))
    if many is not None:
        own, notes = _listed_in(many, by_id, place)
    else:
        notes = _unused(label_index, set(own.values()), place)
    missing = [key for key in by_id if key not in own]
    if missing and not place.some:
        raise _unlabelled(place, image_tree, by_id, missing, many)
    if not own:
        raise InputError(f"{place.labels}: holds no label of an image in {place.images}")
    return Found([(key, by_id[key], own[key]) for key in sorted(own)], many, tuple(notes))


def _unlabelled(
    place: Places, tree: Folder, by_id: dict[str, str], missing: list[str], many: Many | None
) -> InputError:
    if many is None and place.beside and len(missing) == len(by_id):
        # No label anywhere: the folder of labels is what lacks.
        return _absent(place.root / place.label_folder)
    lacks = f" (nor have {len(missing) - 1} others)" if len(missing) > 1 else ""
    where = place.labels / f"{missing[0]}.png" if many is None else f"in {many.path}"
    return InputError(
        f"{tree.path(by_id[missing[0]])}: has no label {where}{lacks}; add it or remove the image"
    )


class _Labels:
    """The label files of a folder by what is left of their names.

    Args:
      names: of all files in it.
      beside: the stems of the images that lie in the same folder; None where labels are apart.
    """

    def __init__(self, names: Iterable[str], beside: set[str] | None):
        self.names: set[str] = set()
        self._exact: dict[str, tuple[int, str]] = {}
        self._short: dict[str, tuple[int, str]] = {}
        suffixes = recognise.suffixes()
        for name in names:
            path = Path(name)
            suffix = path.suffix.lower()
            if suffix not in suffixes or path.name in keys.READERS:
                continue
            stem = _stem(name)
            if Path(stem).suffix.lower() in images.SUFFIXES:  # a.jpg.json
                stem = stem[: -len(Path(stem).suffix)]
            rank = suffixes.index(suffix)
            ending = _LABEL.search(stem)
            if beside is None or suffix not in images.SUFFIXES:
                self._keep(self._exact, stem, rank, name)
            if ending and (beside is None or stem[: ending.start()] in beside):
                order = [e.lower() for e in ENDINGS].index(ending[1].lower())
                self._keep(self._short, stem[: ending.start()], 100 * order + rank, name)

    def _keep(self, found: dict[str, tuple[int, str]], stem: str, rank: int, name: str) -> None:
        self.names.add(name)
        if stem not in found or rank < found[stem][0]:
            found[stem] = rank, name

    def of(self, image: str) -> str | None:
        """The label of an image by its id."""
        ending = _IMAGE.search(image)
        stems = [image, image[: ending.start()]] if ending else [image]
        for found in (self._exact, self._short):
            for stem in stems:
                if stem in found:
                    return found[stem][1]
        return None


def _stem(name: str) -> str:
    return unicodedata.normalize("NFC", name[: len(name) - len(Path(name).suffix)])


def _stems(names: Iterable[str]) -> set[str]:
    """Of images that a label may lie beside, with their own ending and without it."""
    found = {_stem(name) for name in names if _is_image(name)}
    return found | {_IMAGE.sub("", stem) for stem in found}


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in images.SUFFIXES


def _by_id(names: Sequence[str], tree: Folder) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(_stem(name), name)
        if other != name:
            raise InputError(
                f"{tree.path(name)}: has the same name as {tree.path(other)}; rename one of them"
            )
    return found


def _listed(by_id: dict[str, str], place: Places, tree: Folder) -> dict[str, str]:
    """The images that the list of the split names: by id, or as a path that ends in it."""
    chosen = {}
    for line in place.listed or ():
        for text in (line, line.split()[0]):
            name = text.replace("\\", "/")
            if _is_image(name):
                name = name[: -len(Path(name).suffix)]
            parts = [part for part in unicodedata.normalize("NFC", name).split("/") if part != "."]
            tails = ("/".join(parts[start:]) for start in range(len(parts)))
            key = next((tail for tail in tails if tail in by_id), None)
            if key is not None:
                chosen[key] = by_id[key]
                break
        else:
            raise InputError(
                f"{tree.path(line)}: no such image, though the list of the split names it; add it"
                " or correct the list"
            )
    return chosen


def _many(place: Places, names: Sequence[str]) -> Many | None:
    """The file that has the labels of most of these images.

    Raises InputError where two have as many.
    """
    if place.label_root.is_file():
        path = place.label_root
        found = recognise.collected(_opened(path))
        if found is None:
            raise InputError(f"{path}: is no file with the labels of many images")
        return Many(path, *found)
    folders = [place.root / place.split, place.images, place.labels, place.label_root]
    folders += [place.root / "annotations", place.root]
    paths = [path for folder in dict.fromkeys(folders) for path in _jsons(folder)]
    of_split = [path for path in paths if place.split and place.split in path.stem]
    best: list[tuple[int, Many]] = []
    for path in of_split or paths:
        found = recognise.collected(_opened(path))
        if found is not None:
            many = Many(path, *found)
            best.append((len(_matches(many, names, place)), many))
    most = max((number for number, _ in best), default=0)
    chosen = [many for number, many in best if number == most]
    if not most and best:
        first = next(iter(best[0][1].content.drawings), "none")
        raise InputError(
            f"{best[0][1].path}: names none of the images in {place.images} (it has {first!r});"
            " put the images that it names there"
        )
    if len(chosen) > 1:
        raise InputError(
            f"{chosen[0].path} and {chosen[1].path} both have labels of these images; name one as"
            " data.label_folder"
        )
    return chosen[0] if chosen else None


def _opened(path: Path) -> File:
    return File(read_bytes(path), str(path), path.suffix.lower())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _jsons(folder: Path) -> list[Path]:
    found = [
        p for p in _files(folder) if p.suffix.lower() == ".json" and p.name not in keys.READERS
    ]
    return found[:_MOST_COLLECTIONS]


def _matches(many: Many, names: Sequence[str], place: Places) -> dict[str, str]:
    """Name of an image -> its name in the file: the same path, or the same name of the file."""
    listed = {_plain(name): name for name in many.content.drawings}
    short: dict[str, list[str]] = {}
    for plain, name in listed.items():
        short.setdefault(plain.rsplit("/", 1)[-1], []).append(name)
    inside = _plain(place.images.as_posix().removeprefix(place.root.as_posix()))
    found = {}
    for name in names:
        whole = _plain(f"{inside}/{name}")
        parts = whole.split("/")
        tails = ("/".join(parts[start:]) for start in range(len(parts)))
        alike = short.get(parts[-1], ())
        key = next((listed[tail] for tail in tails if tail in listed), None)
        if key is None and len(alike) == 1:
            key = alike[0]
        if key is not None:
            found[name] = key
    return found


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _listed_in(
    many: Many, by_id: dict[str, str], place: Places
) -> tuple[dict[str, str], list[str]]:
    """Id -> the image's name in the file, and a note on what the file names and is not there."""
    matched = _matches(many, list(by_id.values()), place)
    twice = len(matched) - len(set(matched.values()))
    if twice:
        raise InputError(
            f"{many.path}: names images without their folder, and {twice + 1} images have one of"
            " these names; write the folders, or rename the images"
        )
    absent = set(many.content.drawings) - set(matched.values())
    if place.split:  # those of other splits are elsewhere below the root
        there = {path.name for path in place.images.parent.rglob("*") if path.is_file()}
        absent = {name for name in absent if _plain(name).rsplit("/", 1)[-1] not in there}
    own = {key: matched[name] for key, name in by_id.items() if name in matched}
    return own, _left(f"{many.path}: names", absent, "images that are not there")


def _unused(labels: _Labels, used: set[str], place: Places) -> list[str]:
    if place.listed is not None or place.some or (place.split and place.labels == place.label_root):
        return []  # of other splits, or not to be used
    return _left(f"{place.labels}: has", labels.names - used, "labels without an image")


def _left(start: str, names: set[str], what: str) -> list[str]:
    return [f"{start} {len(names)} {what}, the first {min(names)!r}"] if names else []
