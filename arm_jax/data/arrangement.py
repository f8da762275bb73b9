"""Which images and labels of a person's own data belong together.

A label has the image's name, with an ending or without; or one file has the labels of many images.
Names that a list or a file for many images holds are compared with those of the files that there
are, and never opened.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_jax.data import images
from arm_jax.data.endings import LabelNames, are_rivals, is_image, stem_of, stems_of
from arm_jax.data.formats import recognise
from arm_jax.data.many import Many, file_for, left_alone, listed_in
from arm_jax.data.places import Places, absent
from arm_jax.data.trees import Folder
from arm_jax.system.errors import InputError


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


def find(place: Places, unlabelled: str = "refuse") -> Found:
    """What belongs together.

    `unlabelled` = "ignore" pairs images that have no label with "", "all" does so with every image
    and looks for no label.

    Raises InputError where there is no image, or one without a label, or two of one name.
    """
    image_tree = Folder(place.images)
    names = image_tree.names()
    label_names = names if place.beside else Folder(place.labels).names()
    label_index = LabelNames(label_names, stems_of(names) if place.beside else None)
    others: set[str] = set()
    if place.beside:
        others = label_index.names
    elif unlabelled != "all":
        others = _older(names, label_index)
    image_names = [name for name in names if is_image(name) and name not in others]
    by_id = _by_id(image_names, image_tree)
    named: dict[str, str] = {}
    if place.listed is not None:
        by_id, named = _listed(by_id, place, image_tree)
    if not by_id:
        raise InputError(
            f"{place.images}: holds no images ({', '.join(images.SUFFIXES)}); point at a folder"
            " that does"
        )
    if unlabelled == "all":
        return Found([(key, by_id[key], "") for key in sorted(by_id)], None, ())
    all_labels = {key: labels for key in by_id if (labels := label_index.of(key))}
    own = {key: _chosen(labels, named.get(key), place) for key, labels in all_labels.items()}
    many = None
    if place.label_root.is_file() or not own:
        many = file_for(place, list(by_id.values()))
    if many is not None:
        own, notes = listed_in(many, by_id, place)
    else:
        notes = [*_several(all_labels, own, place), *_unused(label_index, all_labels, place)]
    missing = [key for key in by_id if key not in own]
    if not place.beside:
        notes = [*notes, *left_alone(f"{place.images}: has", others, "files named as labels")]
    if missing and unlabelled == "ignore" and own:
        remark = f"{len(missing):,} of {len(by_id):,} images have no label, and are unlabelled"
        notes, own = [*notes, remark], own | dict.fromkeys(missing, "")
    elif missing and not place.some:
        suffix = Path(next(iter(own.values()), "a.png")).suffix
        raise _unlabelled(place, image_tree, by_id, missing, many, suffix)
    if not own:
        raise InputError(f"{place.labels}: holds no label of an image in {place.images}")
    return Found([(key, by_id[key], own[key]) for key in sorted(own)], many, tuple(notes))


def _older(names: Sequence[str], labels: LabelNames) -> set[str]:
    """Among the images, those named as labels of others, where all labels are in another folder.

    As where a folder of new labels was put beside one that has images and their old labels.
    """
    beside = LabelNames(names, stems_of(names)).names
    return {name for name in beside if is_image(name) and not labels.of(stem_of(name))}


def _unlabelled(
    place: Places,
    tree: Folder,
    by_id: dict[str, str],
    missing: list[str],
    many: Many | None,
    suffix: str,
) -> InputError:
    if many is None and place.beside and len(missing) == len(by_id):
        # No label anywhere: the folder of labels is what lacks.
        if not (place.root / place.label_folder).exists():
            return absent(place.root / place.label_folder)
        return InputError(
            f"{place.images}: is taken for images and for labels, and holds but one file of each"
            " name; correct data.image_folder or data.label_folder"
        )
    lacks = f" (nor have {len(missing) - 1} others)" if len(missing) > 1 else ""
    folder = place.labels
    if len(missing) == len(by_id) and folder == place.label_root and not place.inner:
        folder = place.label_root / place.split  # it may be the split's folder that lacks
    where = folder / f"{missing[0]}{suffix}" if many is None else f"in {many.path}"
    return InputError(
        f"{tree.path(by_id[missing[0]])}: has no label {where}{lacks}; add it or remove the image"
    )


def _by_id(names: Sequence[str], tree: Folder) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(stem_of(name), name)
        if other != name:
            raise InputError(
                f"{tree.path(name)}: has the same name as {tree.path(other)}; rename one of them"
            )
    return found


def _chosen(labels: list[str], named: str | None, place: Places) -> str:
    """The label that the split's list names beside the image, or else the preferred one."""
    if named is None:
        return labels[0]
    wanted = unicodedata.normalize("NFC", named.replace("\\", "/")).rsplit("/", 1)[-1]
    for label in labels:
        if unicodedata.normalize("NFC", label).rsplit("/", 1)[-1] == wanted:
            return label
    raise InputError(
        f"{place.labels / labels[0]}: is the label by its name, but the list of the split names"
        f" {named} for this image; give the label its image's name, or correct the list"
    )


def _listed(
    by_id: dict[str, str], place: Places, tree: Folder
) -> tuple[dict[str, str], dict[str, str]]:
    """The images that the list of the split names: by id, or as a path that ends in it.

    And the labels that it names in a second column, by the image's id.
    """
    chosen: dict[str, str] = {}
    lines: dict[str, str] = {}
    labels: dict[str, str] = {}
    for line in dict.fromkeys(place.listed or ()):
        first = line.split()[0]
        # "images/a.png labels/b.png" ends in b as well; names with blanks are whole lines.
        for text in (first, line) if is_image(first) else (line, first):
            name = text.replace("\\", "/")
            if is_image(name):
                name = name[: -len(Path(name).suffix)]
            parts = [part for part in unicodedata.normalize("NFC", name).split("/") if part != "."]
            tails = ("/".join(parts[start:]) for start in range(len(parts)))
            key = next((tail for tail in tails if tail in by_id), None)
            if key is not None:
                other = lines.setdefault(key, name)
                if other != name and key not in (other, name):
                    raise InputError(
                        f"{tree.path(by_id[key])}: the list of the split names it twice, as {other}"
                        f" and as {name}; correct the list, or put the images into these folders"
                    )
                chosen[key] = by_id[key]
                beside = line.split()[1:] if text != line else []
                if beside and Path(beside[0]).suffix.lower() in recognise.suffixes():
                    labels[key] = beside[0]
                break
        else:
            raise InputError(
                f"{tree.path(line)}: no such image, though the list of the split names it; add it"
                " or correct the list"
            )
    return chosen, labels


def _several(labels: dict[str, list[str]], own: dict[str, str], place: Places) -> list[str]:
    """A note on images with more than one label.

    Raises InputError where nothing tells which of them is meant.
    """
    several = {
        own[key]: [name for name in names if name != own[key]]
        for key, names in labels.items()
        if len(names) > 1
    }
    for first, others in several.items():
        rival = next((name for name in others if are_rivals(first, name)), None)
        if rival is not None:
            raise InputError(
                f"{place.labels / first} and {place.labels / rival} are labels of one image; remove"
                " one of them"
            )
    if not several:
        return []
    first, others = next(iter(several.items()))
    return [
        f"{place.labels}: {len(several):,} images have more than one label: {first} is read, and"
        f" {', '.join(others)} is not; move away what is not meant"
    ]


def _unused(labels: LabelNames, used: dict[str, list[str]], place: Places) -> list[str]:
    if place.listed is not None or place.some or (place.split and place.labels == place.label_root):
        return []  # of other splits, or not to be used
    left = labels.names.difference(*used.values())
    return left_alone(f"{place.labels}: has", left, "labels without an image")
