"""`report.html`: everything that is worth knowing of one run, numbers first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax import theorem
from arm_jax.data.labels import Classes
from arm_jax.reporting import layers, pages, run_charts
from arm_jax.reporting.pages.tables import Cell, Column, Table, figure
from arm_jax.reporting.scores import Evaluated
from arm_jax.theorem import Histogram
from arm_jax.training.records import Line

# With more classes the confusion matrix is an image, and has no number in its cells.
MOST_CELLS = 25


@dataclass(frozen=True)
class Subject:
    """A run, as the page shows it.

    Attributes:
      name: of the run.
      step: of the checkpoint.
      steps: of the whole training.
      classes: of the network.
      facts: what was trained on, evaluated on and so on, pairs of a word and a text.
      settings: those that are not the defaults: key, value, default, help.
      versions: what the run was made with, pairs of a word and a text.
      notes: what a reader must know before the numbers.
      records: what the run logged.
      evaluated: its evaluation at `step`, None if there was none.
      histogram: the running one over confidence.
      p: ARM's norm, None for a run without ARM.
    """

    name: str
    step: int
    steps: int
    classes: Classes
    facts: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str, str, str]]
    versions: Sequence[tuple[str, str]]
    notes: Sequence[str]
    records: Sequence[Line]
    evaluated: Evaluated | None
    histogram: Histogram
    p: float | None


def write(
    path: Path, subject: Subject, groups: Sequence[tuple[str, Sequence[layers.Shown]]], width: int
) -> Path:
    """Write the page.

    Args:
      path: of the file.
      subject: the run.
      groups: images to show under headings; headings without an image are left out.
      width: how near a class boundary an error is one of the boundary, in pixels.

    Raises:
      InputError: see `pages.write`.
    """
    evaluated = subject.evaluated
    found = [(title, images) for title, images in groups if images]
    samples = [image.sample for _, images in found for image in images]
    drawn = layers.Drawing(subject.classes, samples, width)
    return pages.write(
        path,
        "run.html",
        title=subject.name,
        subject=subject,
        words=_words(subject),
        numbers=numbers(subject),
        per_class=per_class(subject) if evaluated else None,
        confusion=confusion(subject) if evaluated else None,
        groups=[(title, [drawn.card(image) for image in images]) for title, images in found],
        legend=drawn.legend,
        by_image=run_charts.by_image(evaluated.by_image) if evaluated else None,
        calibration=run_charts.calibration(evaluated.values.get("calibration"))
        if evaluated
        else [],
        training=run_charts.training(subject.records),
        arm=run_charts.weight_and_loss(subject.histogram, subject.p),
        settings=settings(subject),
    )


def _words(subject: Subject) -> str:
    """The line under the title."""
    facts = dict(subject.facts)
    known = [facts[name] for name in ("network", "method") if name in facts]
    if subject.evaluated and "evaluate on" in facts:
        known.append(f"evaluated on {facts['evaluate on']}")
    step = f"step {figure(subject.step, 0)} of {figure(subject.steps, 0)}"
    return " \u00b7 ".join([*known, step])


@dataclass(frozen=True)
class Number:
    """One of the figures at the top: what it is, the figure, its unit."""

    name: str
    text: str
    unit: str = ""


def numbers(subject: Subject) -> list[Number]:
    """The figures at the top; the first is the one that counts."""
    found: list[Number] = []
    evaluated = subject.evaluated
    if evaluated:
        scores = evaluated.scores
        found += [
            Number("mIoU" + scores.over(), figure(scores.mIoU), "%"),
            Number("mAcc", figure(scores.mAcc), "%"),
            Number("aAcc", figure(scores.aAcc), "%"),
        ]
        if boundary := evaluated.values.get("boundary"):
            name = f"mIoU within {boundary['width']} px of a boundary"
            found.append(Number(name, figure(boundary["mIoU"]), "%"))
        if (error := (evaluated.values.get("calibration") or {}).get("ECE")) is not None:
            found.append(Number("calibration error", figure(error), "%"))
    if subject.p is not None and float(np.sum(subject.histogram.pixels)) > 0:
        ratio = float(theorem.holder_ratio(subject.histogram, subject.p))
        found.append(Number("Hölder ratio", figure(ratio, 3)))
    if evaluated:
        found.append(Number("images", figure(evaluated.values.get("images"), 0)))
    return found


def per_class(subject: Subject) -> Table:
    """IoU and accuracy of every class, and how much of the labelled pixels it has."""
    evaluated = subject.evaluated
    assert evaluated is not None
    scores, boundary = evaluated.scores, evaluated.values.get("boundary")
    share = 100.0 * scores.pixels / max(int(scores.pixels.sum()), 1)
    columns = [
        Column("class"),
        Column("IoU, %", 2, bar=100, help="intersection over union"),
        Column("Acc, %", 2, help="labelled pixels that are predicted as this class"),
    ]
    if boundary:
        words = f"IoU of the pixels within {boundary['width']} px of another class"
        columns.append(Column("IoU near edges, %", 2, help=words))
    columns.append(Column("pixels, %", 2, help="share of the labelled pixels"))
    rows = []
    for number, name in enumerate(subject.classes.names):
        row: list[Any] = [Cell(name, color=subject.classes.colors[number])]
        row += [float(scores.IoU[number]), float(scores.Acc[number])]
        if boundary:
            row.append(evaluated.in_boundary(number))
        rows.append([*row, float(share[number])])
    total: list[Any] = ["mean", scores.mIoU, scores.mAcc]
    total += [boundary["mIoU"]] if boundary else []
    return Table(columns, rows, totals=[[*total, ""]])


@dataclass(frozen=True)
class Confusion:
    """The matrix in percent of each labelled class, and what is confused most.

    `cells` has a row a labelled class: whole percents, None for a class that is not labelled. With
    many classes `picture` stands in its place.
    """

    cells: list[list[int | None]] | None
    picture: pages.Picture | None
    most: Table


def confusion(subject: Subject) -> Confusion:
    assert subject.evaluated is not None
    matrix, names = subject.evaluated.matrix, subject.classes.names
    labelled = matrix.sum(axis=1, keepdims=True)
    share = np.where(labelled > 0, 100.0 * matrix / np.maximum(labelled, 1), np.nan)
    cells = picture = None
    if len(matrix) <= MOST_CELLS:
        cells = [[None if np.isnan(x) else round(float(x)) for x in row] for row in share]
    else:
        gray = np.nan_to_num(255 - 2.55 * share, nan=235).astype(np.uint8)
        words = "confusion matrix: a row a labelled class, a column a predicted one, dark is 100 %"
        picture = pages.drawing(gray[..., None].repeat(3, 2), words)
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    rows = []
    for given, found in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[given, found]:
            rows.append(
                [
                    Cell(names[given], color=subject.classes.colors[given]),
                    Cell(names[found], color=subject.classes.colors[found]),
                    float(share[given, found]),
                    100.0 * float(wrong[given, found]) / max(int(wrong.sum()), 1),
                ]
            )
    columns = [
        Column("labelled"),
        Column("predicted"),
        Column("of the class, %", 1, help="share of the pixels labelled so"),
        Column("of all errors, %", 1, bar=100, help="share of the pixels that are wrong"),
    ]
    return Confusion(cells, picture, Table(columns, rows))


def settings(subject: Subject) -> Table:
    """Those that are not the defaults."""
    columns = [Column("setting"), Column("value"), Column("default"), Column("what it decides")]
    return Table(columns, subject.settings)
