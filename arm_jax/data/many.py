"""Files that have the labels of many images, and which of them belongs to which image.

The names in such a file are compared with those of the images that there are, and never opened.
"""

import functools
import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_jax.data.formats import keys, recognise
from arm_jax.data.formats.contract import Collected, Collection, File
from arm_jax.data.places import Places, files
from arm_jax.system.errors import InputError
from arm_jax.system.files import read_bytes

_MOST_COLLECTIONS = 100  # JSON files of a folder that are looked into
_MOST_TABLES = 10  # CSV files


@dataclass(frozen=True)
class Many:
    """A file that has the labels of many images."""

    path: Path
    format: Collection
    content: Collected


def file_for(place: Places, names: Sequence[str]) -> Many | None:
    """The file that has the labels of most of these images.

    Raises InputError where two have as many.
    """
    if place.label_root.is_file():
        path = place.label_root
        found = _collected(path)
        if found is None:
            raise InputError(f"{path}: is no file with the labels of many images")
        return Many(path, *found)
    folders = [place.root / place.split, place.images, place.labels, place.label_root]
    folders += [place.root / "annotations", place.root]
    paths = [path for folder in dict.fromkeys(folders) for path in _jsons(folder)]
    of_split = [path for path in paths if place.split and place.split in path.stem]
    best: list[tuple[int, Many]] = []
    for path in of_split or paths:
        found = _collected(path)
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
    if len(chosen) > 1:  # COCO's own key points repeat the people of its instances
        chosen = [many for many in chosen if many.path.stem.startswith("instances")] or chosen
    if len(chosen) > 1:
        raise InputError(
            f"{chosen[0].path} and {chosen[1].path} both have labels of these images; name one as"
            " data.label_folder"
        )
    if not chosen:
        _refuse_table(folders)
        _refuse_tasks(paths)
    return chosen[0] if chosen else None


def _refuse_table(folders: Sequence[Path]) -> None:
    """Raise InputError for the CSV of the VGG Image Annotator, whose JSON is read."""
    tables = (path for folder in folders for path in files(folder))
    for path in itertools.islice((p for p in tables if p.suffix.lower() == ".csv"), _MOST_TABLES):
        with open(path, "rb") as file:
            if b"region_shape_attributes" in file.read(1 << 10):
                raise InputError(
                    f"{path}: is VIA's CSV, which is not read; export annotations as JSON"
                )


def _refuse_tasks(paths: Sequence[Path]) -> None:
    """Raise InputError for Label Studio's own list of tasks, whose export as COCO is read."""
    for path in paths:
        with open(path, "rb") as file:
            if not file.read(1 << 6).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
                continue
        content = File(read_bytes(path), str(path), ".json").json
        tasks = [one for one in content[:1] if isinstance(one, dict)]
        if any({"annotations", "data"} <= one.keys() or "annotator" in one for one in tasks):
            raise InputError(
                f"{path}: is Label Studio's own JSON, which is not read; export polygons as COCO,"
                " and brush labels as Brush labels to COCO"
            )


def _collected(path: Path) -> tuple[Collection, Collected] | None:
    status = path.stat()
    return _read(path, (status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _read(path: Path, stamp: tuple[int, int]) -> tuple[Collection, Collected] | None:
    """Parsed once for all splits and checks of a process; `stamp` changes with the file."""
    return recognise.collected(File(read_bytes(path), str(path), path.suffix.lower()))


def _jsons(folder: Path) -> list[Path]:
    found = [p for p in files(folder) if p.suffix.lower() == ".json" and p.name not in keys.READERS]
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


def listed_in(many: Many, by_id: dict[str, str], place: Places) -> tuple[dict[str, str], list[str]]:
    """Id -> the image's name in the file; notes: images that are not there, what is left out."""
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
    notes = left_alone(f"{many.path}: names", absent, "images that are not there")
    if many.content.left_out:
        notes.append(f"{many.path}: {many.content.left_out}")
    return own, notes


def left_alone(start: str, names: set[str], what: str) -> list[str]:
    """A note on names that nothing was found for; none without such names."""
    return [f"{start} {what}: {len(names)}, the first {min(names)!r}"] if names else []
