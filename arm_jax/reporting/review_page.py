"""The page of a review: a card for each region, worst first, and the decisions as a CSV."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from arm_jax.data import colors
from arm_jax.data.labels import Classes
from arm_jax.reporting import pages
from arm_jax.reporting.pages import Cell, Column, Picture, Table
from arm_jax.review import confusions, files
from arm_jax.review.findings import Findings, Item

# A page may be mailed: all thumbnails together, and the least and the most that one may have.
MOST_BYTES, SMALLEST, LARGEST = 16_000_000, 3_000, 12_000
# A thumbnail shows a region with so much around it, and is two of these wide.
AROUND, LEAST_SIDE, WIDTH, HEIGHT = 0.6, 64, 176, 132
KINDS = {
    "swapped": "label of another image",
    "empty": "empty label",
    "component": "whole piece of the label",
    "object": "object inside another label",
    "part": "label ends too early",
}
ROWS = 40  # of the tables below the cards


def thumbnail(
    item: Item, image: np.ndarray, label: np.ndarray, classes: Classes, number: int
) -> Picture:
    """The region outlined in the image, and beside it the label as it was given.

    Args:
      item: of this image.
      image: uint8 (h, w, 3) RGB.
      label: uint8 (h, w).
      classes: of the label.
      number: of thumbnails on the page, which share `MOST_BYTES`.
    """
    rows, columns = _window(item.region.box, label.shape)
    scale = min(WIDTH / (columns.stop - columns.start), HEIGHT / (rows.stop - rows.start))
    size = (
        max(1, round((columns.stop - columns.start) * scale)),
        max(1, round((rows.stop - rows.start) * scale)),
    )
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    photo = cv2.resize(np.ascontiguousarray(image[rows, columns]), size, interpolation=way)
    small = cv2.resize(
        np.ascontiguousarray(label[rows, columns]), size, interpolation=cv2.INTER_NEAREST
    )
    beside = colors.overlay(photo, small, classes, 0.75)
    corner = np.array([columns.start, rows.start])
    outlines = [
        np.rint((ring - corner + 0.5) * scale).astype(np.int32)[:, None]
        for ring in item.region.rings
    ]
    photo = photo.copy()
    if item.region.kind not in ("swapped", "empty"):
        for panel in (photo, beside):
            cv2.polylines(panel, outlines, True, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.polylines(panel, outlines, True, (255, 255, 255), 1, cv2.LINE_AA)
    both = np.concatenate([photo, np.zeros((size[1], 2, 3), np.uint8), beside], 1)
    most = int(np.clip(MOST_BYTES / 1.34 / max(number, 1), SMALLEST, LARGEST))
    return pages.photo(both, most_pixels=2 * WIDTH + 2, most_bytes=most)


def _window(box: tuple[int, int, int, int], shape: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns around a box, in the shape of a thumbnail where the image allows it."""
    left, top, width, height = box
    across = max(width * (1 + AROUND), (height * (1 + AROUND)) * WIDTH / HEIGHT, LEAST_SIDE)
    down = across * HEIGHT / WIDTH
    return (
        _interval(top + height / 2, down, shape[0]),
        _interval(left + width / 2, across, shape[1]),
    )


def _interval(middle: float, length: float, most: int) -> slice:
    length = min(round(length), most)
    start = int(np.clip(round(middle - length / 2), 0, most - length))
    return slice(start, start + length)


def write(
    path: Path,
    *,
    run: str,
    step: int,
    kind: str,
    fitted: int,
    decided: int,
    cards: Iterable[tuple[Item, Picture]],
    found: Findings,
) -> Path:
    """Write the page.

    Args:
      path: of the file.
      run: the run's folder, for the heading.
      step: of its checkpoint.
      kind: what kind of scores these are, in words.
      fitted: the number of decisions that the score was fitted to; 0 for the score as it is.
      decided: the number of decisions that were left out.
      cards: items and their thumbnails, in any order.
      found: the findings that they are of.

    Raises:
      InputError: as `pages.write`.
    """
    classes = found.classes
    drawn = list(cards)
    # Whole images first, since nothing else in them can be judged.
    drawn.sort(key=lambda card: (card[0].region.kind not in ("swapped", "empty"), -card[0].score))
    lines = files.rows([item for item, _ in drawn], classes)
    sizes: dict[int, int] = {}
    for item, _ in drawn:
        sizes[item.group] = sizes.get(item.group, 0) + (item.group >= 0)
    data = {
        "name": f"{run}, step {step}, {len(drawn)} regions",
        "columns": files.COLUMNS,
        "none": files.NO_LABEL,
        "colors": {
            name: f"rgb({r},{g},{b})"
            for name, (r, g, b) in zip(classes.names, classes.colors, strict=True)
        },
        "kinds": KINDS,
        "items": [
            {
                "cells": line[:-1],
                "image": item.image,
                "other": item.other,
                "kind": item.region.kind,
                "given": files.class_name(item.region.given, classes),
                "proposed": files.class_name(item.region.proposed, classes),
                "score": round(item.score, 4),
                "pixels": item.region.area,
                "group": item.group,
                "uri": picture.uri,
                "width": picture.width,
                "height": picture.height,
            }
            for line, (item, picture) in zip(lines, drawn, strict=True)
        ],
    }
    return pages.write(
        path,
        "review.html",
        scripts=("review.js",),
        title=f"Label review of {run}",
        run=run,
        step=step,
        kind=kind,
        fitted=fitted,
        decided=decided,
        images=len(found.images),
        regions=len(drawn),
        groups=sum(1 for size in sizes.values() if size),
        swaps=_swaps(found),
        edges=_edges(found),
        apart=_apart(found),
        worst=_worst(found),
        payload=data,
    )


def _class(name: int, classes: Classes) -> Cell:
    color = classes.colors[name] if name < classes.number else None
    return Cell(files.class_name(name, classes), color=color)


def _swaps(found: Findings) -> Table:
    classes = found.classes
    rows = [
        [_class(a.given, classes), _class(a.predicted, classes), 100 * a.share, 100 * a.back]
        for a in confusions.systematic(found.matrix)[:ROWS]
    ]
    return Table(
        [
            Column("given"),
            Column("predicted"),
            Column("share, %", digits=1),
            Column("the other way, %", digits=1),
        ],
        rows,
    )


def _edges(found: Findings) -> Table:
    classes = found.classes
    pairs = sorted(found.edges.items(), key=lambda one: -one[1][1])
    rows: list[list[Any]] = [
        [_class(given, classes), _class(proposed, classes), number, pixels]
        for (given, proposed), (number, pixels) in pairs[:ROWS]
    ]
    columns = [Column("given"), Column("predicted"), Column("bands", digits=0)]
    return Table([*columns, Column("pixels", digits=0)], rows)


def _apart(found: Findings) -> Table:
    classes = found.classes
    rows = [
        [item.image, _class(item.region.proposed, classes), item.region.area, item.score]
        for item in found.apart()
        if item.region.kind == "unlabelled"
    ]
    columns = [Column("image"), Column("predicted"), Column("pixels", digits=0)]
    return Table([*columns, Column("score", digits=3)], rows[:ROWS])


def _worst(found: Findings) -> Table:
    ranked = sorted(found.images.values(), key=lambda one: -one.score)
    rows = [
        [one.name, one.score, one.worst, one.soft_minimum, 100 * one.labelled, 100 * one.agreement]
        for one in ranked[:ROWS]
    ]
    return Table(
        [
            Column("image"),
            Column("score", digits=3, help="1 - (1 - worst region) x soft minimum"),
            Column("worst region", digits=3),
            Column("soft minimum", digits=3, help="of the likelihood of its labels"),
            Column("labelled, %", digits=1),
            Column("agrees, %", digits=1, help="of the labelled pixels with the prediction"),
        ],
        rows,
    )
