"""A page of what a network believes of the labels that it was trained on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data import bands, colors
from arm_jax.data.labels import Classes
from arm_jax.evaluation.relabel import COMPLETED, CORRECTED, Belief, Change
from arm_jax.reporting import pages

LARGEST = 16  # images that are shown
MOST_PAIRS = 12  # lines of the table of classes
# Of UNKNOWN, GIVEN, CORRECTED and COMPLETED.
PART_COLORS = np.array([[0, 0, 0], [255, 255, 255], [214, 40, 40], [42, 157, 80]], np.uint8)


def write(
    path: Path,
    changes: Sequence[Change],
    belief: Callable[[Change], Belief],
    classes: Classes,
    judges: str = "The network was trained on these labels",
) -> Path:
    """Write the page: classes that changed most, images that changed most, all images.

    Args:
      path: of the file.
      changes: of all images.
      belief: of the image of a change.
      classes: of the labels.
      judges: a sentence on what the network has seen of these labels, without its full stop.
    """
    by_size = sorted(changes, key=lambda one: -(one.shares[CORRECTED] + one.shares[COMPLETED]))
    # Corrections contradict a person, so they come first.
    by_correction = sorted(changes, key=lambda one: -one.shares[CORRECTED])
    chosen = {one.name: one for one in [*by_correction[: LARGEST // 2], *by_size[:LARGEST]]}
    shown = list(chosen.values())[:LARGEST]
    shares = np.mean([one.shares for one in changes], 0)
    return pages.write(
        path,
        "relabel.html",
        title="What the training believes of its labels",
        summary=(
            f"Of the pixels of {len(changes):,} images, {shares[CORRECTED]:.1%} were corrected,"
            f" {shares[COMPLETED]:.1%} completed, {shares[1]:.1%} stay as they were drawn and"
            f" {shares[0]:.1%} unlabelled. {judges}; look before"
            " you believe it."
        ),
        moved=_moved(changes, classes),
        largest=[_shown(one, belief, classes) for one in shown],
        images=pages.Table(
            [
                pages.Column("image"),
                pages.Column("corrected, %", 1, 100),
                pages.Column("completed, %", 1, 100),
                pages.Column("mean confidence of these", 2),
            ],
            [
                (one.name, 100 * one.shares[2], 100 * one.shares[3], one.certainty)
                for one in changes
            ],
        ),
    )


def _moved(changes: Sequence[Change], classes: Classes) -> pages.Table:
    """The pairs of classes between which most pixels were moved."""
    total = np.sum([one.moved for one in changes], axis=0)
    all_pixels = max(int(total.sum()), 1)
    order = np.argsort(-total, axis=None)[:MOST_PAIRS]
    pairs = [np.unravel_index(place, total.shape) for place in order]
    names = classes.names
    rows = [
        (names[a], names[b], 100 * float(total[a, b]) / all_pixels) for a, b in pairs if total[a, b]
    ]
    columns = [pages.Column("drawn"), pages.Column("believed"), pages.Column("% of these", 1, 100)]
    return pages.Table(columns, rows, caption="Corrected pixels by class")


def _shown(
    change: Change, believed: Callable[[Change], Belief], classes: Classes
) -> dict[str, Any]:
    record = change.source[change.number]
    belief = believed(change)
    image, label = bands.shown(record["image"]), np.asarray(record["label"])
    layers = [
        pages.Layer("image", pages.photo(image, f"image {change.name}")),
        pages.Layer("drawn", pages.photo(colors.overlay(image, label, classes))),
        pages.Layer("believed", pages.photo(colors.overlay(image, belief.label, classes))),
        pages.Layer("what changed", pages.drawing(PART_COLORS[belief.part])),
    ]
    text = (
        f"{change.shares[CORRECTED]:.1%} corrected, {change.shares[COMPLETED]:.1%} completed,"
        f" mean confidence {change.certainty:.2f}"
    )
    return {"id": change.name, "text": text, "layers": layers}
