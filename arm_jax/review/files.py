"""Findings as files: CSV and JSON lines, LabelMe and COCO; and a person's decisions read back."""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data.formats import recognise
from arm_jax.data.formats.contract import File, Reading
from arm_jax.data.labels import UNKNOWN, Classes, Meaning
from arm_jax.review import masks
from arm_jax.review.findings import Item
from arm_jax.review.masks import Rings
from arm_jax.system import files
from arm_jax.system.errors import InputError

COLUMNS = (
    "key",
    "image",
    "kind",
    "given",
    "proposed",
    "score",
    "group",
    "pixels",
    "region",
    "other",
    "label",
    "decision",
)
NO_LABEL = "(no label)"
LABEL = (
    "arm_jax_label"  # entry of a LabelMe file: digest of the label that the shapes are to correct
)
# What a spreadsheet would take for a formula when a cell begins with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_DECISIONS = {"accept": True, "accepted": True, "reject": False, "rejected": False, "": None}


@dataclass(frozen=True)
class Decision:
    """A row of the CSV that somebody decided.

    Attributes:
      key, image, kind, digest, other: as of `findings.Item`.
      proposed: name of a class; "" for kinds that propose none.
      score: by which it was sorted.
      rings: the region, see `masks`.
      accepted: whether the proposal is to be taken.
    """

    key: str
    image: str
    kind: str
    proposed: str
    score: float
    rings: Rings
    other: str
    digest: str
    accepted: bool


def rows(items: Iterable[Item], classes: Classes) -> list[list[str]]:
    """The cells of the CSV, by `COLUMNS`, with the decision still empty.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    return [
        [
            item.key,
            cell(item.image),
            item.region.kind,
            cell(class_name(item.region.given, classes)),
            cell(class_name(item.region.proposed, classes)),
            f"{item.score:.4f}",
            str(item.group),
            str(item.region.area),
            region_text(item.region.rings),
            cell(item.other),
            item.digest,
            "",
        ]
        for item in items
    ]


def class_name(value: int, classes: Classes) -> str:
    """Of an index; `NO_LABEL` for what is none."""
    return classes.names[value] if value < classes.number else NO_LABEL


def region_text(rings: Sequence[np.ndarray]) -> str:
    """Rings as text: "x y x y x y; x y x y x y"."""
    return "; ".join(" ".join(map(str, ring.reshape(-1).tolist())) for ring in rings)


def cell(text: str) -> str:
    """A text for a CSV: with an apostrophe before what a spreadsheet would take for a formula.

    >>> cell("=1+1"), cell("road")
    ("'=1+1", 'road')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def _uncell(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def write_csv(path: Path, items: Iterable[Item], classes: Classes) -> None:
    """Write `review.csv`: one line an item, in order."""
    write_table(path, COLUMNS, rows(items, classes))


def write_table(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Write a CSV, as UTF-8; bytes of a file's name that are none stay as they are."""
    with (
        files.whole(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)


def write_lines(path: Path, items: Iterable[Item], classes: Classes) -> None:
    """Write `review.jsonl`: one object a line, with the terms of the score as well."""
    with files.whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for item in items:
            region = item.region
            line = {
                "key": item.key,
                "image": item.image,
                "height": item.size[0],
                "width": item.size[1],
                "kind": region.kind,
                "given": class_name(region.given, classes),
                "proposed": class_name(region.proposed, classes),
                "score": round(item.score, 6),
                "group": item.group,
                "margin": round(region.margin, 6),
                "evidence": round(region.evidence, 6),
                "size": round(region.size, 6),
                "reach": round(region.reach, 6),
                "pixels": region.area,
                "box": list(region.box),
                "region": [ring.tolist() for ring in region.rings],
                "other": item.other,
                "label": item.digest,
            }
            file.write(json.dumps(line) + "\n")


def read_decisions(path: Path) -> list[Decision]:
    """The decided rows of a CSV, as the page or a spreadsheet saved it.

    Raises:
      InputError: it cannot be read, lacks a column, or a row holds what cannot be understood; the
        message has the number of the line.
    """
    text = files.read_bytes(path).decode("utf-8-sig", "surrogateescape")
    usual = csv.field_size_limit(len(text) + 1)  # a large region has a hundred thousand corners
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    except csv.Error as error:
        raise InputError(f"{path}: is no CSV ({error}); use the file that the page saved") from None
    finally:
        csv.field_size_limit(usual)
    head = lines[0] if lines else []
    needed = [name for name in COLUMNS if name not in ("group", "pixels", "given")]
    missing = [name for name in needed if name not in head]
    if missing:
        raise InputError(
            f"{path}: has no column {missing[0]}; use the file that the page saved, or review.csv"
            " with its column decision filled in"
        )
    found = []
    for number, cells in enumerate(lines[1:], 2):
        # A spreadsheet leaves out the empty cells at the end of a row.
        row = dict(itertools.zip_longest(head, cells[: len(head)], fillvalue=""))
        if not any(cells):
            continue
        word = row.get("decision", "").strip().lower()
        if word not in _DECISIONS:
            raise InputError(
                f"{path}, row {number}: decision = {word!r}; write accept, reject or nothing"
            )
        accepted = _DECISIONS[word]
        if accepted is not None:
            found.append(_decision(path, number, row, accepted))
    return found


def _delimiter(text: str) -> str:
    """A comma, or the semicolon that spreadsheets write in many countries."""
    first = text.partition("\n")[0]
    return ";" if first.count(";") > first.count(",") else ","


def _decision(path: Path, number: int, row: Mapping[str, str], accepted: bool) -> Decision:
    try:
        rings = tuple(
            np.array([int(x) for x in part.split()], np.int32).reshape(-1, 2)
            for part in row["region"].split(";")
            if part.strip()
        )
        if not rings or any(np.abs(ring).max(initial=0) > 1 << 20 for ring in rings):
            raise ValueError
        score = float(row["score"].replace(",", "."))
        if not np.isfinite(score):
            raise ValueError
    except (KeyError, ValueError, OverflowError):
        raise InputError(
            f"{path}, row {number}: its region or score cannot be read; restore the row from"
            " review.csv"
        ) from None
    proposed = _uncell(row["proposed"])
    return Decision(
        key=row["key"],
        image=_uncell(row["image"]),
        kind=row["kind"],
        proposed="" if proposed == NO_LABEL else proposed,
        score=score,
        rings=rings,
        other=_uncell(row["other"]),
        digest=row["label"],
        accepted=accepted,
    )


def labelme(items: Sequence[Item], classes: Classes, image_path: str) -> dict[str, Any]:
    """The proposals for one image as LabelMe opens them: a polygon each, of the proposed class.

    Args:
      items: of one image, at least one.
      classes: their names.
      image_path: from the folder of the JSON file to the image.
    """
    shapes = [
        {
            "label": class_name(item.region.proposed, classes),
            "points": polygon.tolist(),
            "group_id": None,
            "description": f"{item.key}: given {class_name(item.region.given, classes)},"
            f" score {item.score:.3f}",
            "shape_type": "polygon",
            "flags": {},
        }
        for item in items
        for polygon in masks.simplified(item.region.rings)
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        # LabelMe keeps entries that it does not know when it saves.
        LABEL: items[0].digest,
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": items[0].size[0],
        "imageWidth": items[0].size[1],
    }


def coco(items: Sequence[Item], classes: Classes) -> dict[str, Any]:
    """All proposals as COCO annotations; category k + 1 is class k, and `score` is the review's."""
    sizes = {item.image: item.size for item in items}
    numbers = {image: number for number, image in enumerate(sizes, 1)}
    return {
        "info": {"description": "Proposed corrections of labels, by arm_jax"},
        "images": [
            {"id": numbers[name], "file_name": name, "height": size[0], "width": size[1]}
            for name, size in sizes.items()
        ],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(classes.names)],
        "annotations": [
            {
                "id": number,
                "image_id": numbers[item.image],
                "category_id": item.region.proposed + 1,
                "segmentation": [
                    polygon.reshape(-1).tolist() for polygon in masks.simplified(item.region.rings)
                ],
                "area": item.region.area,
                "bbox": list(item.region.box),
                "iscrowd": 0,
                "score": round(item.score, 6),
                "given": class_name(item.region.given, classes),
                "key": item.key,
            }
            for number, item in enumerate(items, 1)
        ],
    }


def labelme_digest(path: Path) -> str:
    """Of the label that a LabelMe file of a review is to correct; "" in files of other origin."""
    try:
        found = json.loads(files.read_bytes(path))
    except (ValueError, RecursionError):
        return ""  # `read_labelme` names what is wrong with it
    return str(found.get(LABEL, "")) if isinstance(found, dict) else ""


def read_labelme(path: Path, size: tuple[int, int], classes: Classes) -> np.ndarray:
    """What is drawn in a LabelMe file, uint8 (h, w): class indices, and `UNKNOWN` elsewhere.

    Args:
      path: of the file.
      size: (h, w) of its image.
      classes: of the names in it; "ignore" stands for no label.

    Raises InputError for what is no such file, is of another size, or has a name of no class.
    """
    reading = Reading(classes, Meaning(classes), undrawn=UNKNOWN)
    file = File(files.read_bytes(path), str(path), path.suffix.lower())
    label = recognise.opened(file, size, reading)
    if tuple(label.shape) != tuple(size):
        raise InputError(f"{path}: is of another size than its image; remove the file")
    return np.asarray(label)
