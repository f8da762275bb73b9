"""`compare.html`: rows over seeds, with intervals, differences run by run, and the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.reporting import intervals, layers, pages
from arm_jax.reporting.pages.charts import Chart, Series
from arm_jax.reporting.pages.intervals import Group, Intervals
from arm_jax.reporting.pages.tables import Cell, Column, Table, figure
from arm_jax.training.records import Line

# Colours that a chart has.
MOST_CURVES = 4


@dataclass(frozen=True)
class Run:
    """One run of a row.

    Attributes:
      seed: of the run.
      values: mIoU, mAcc, aAcc in percent and further figures; empty for a run that diverged.
      diverged: why there are none, or "".
      by_image: mIoU of each image of the split, None where it was not recorded.
      records: what the run logged.
      page: where the run's own page is, as seen from the folder of this one; "" for none.
    """

    seed: int
    values: Mapping[str, float]
    diverged: str
    by_image: np.ndarray | None
    records: Sequence[Line]
    page: str


Rows = Mapping[str, Sequence[Run]]


def write(
    path: Path,
    rows: Rows,
    planned: Mapping[str, int],
    *,
    images: Sequence[tuple[str, Sequence[layers.Shown]]],
    classes: Classes | None,
    width: int,
    notes: Sequence[str],
    made: Sequence[tuple[str, str]],
) -> Path:
    """Write the page.

    Args:
      path: of the file.
      rows: the runs of every row; the first row is what the others are compared with.
      planned: how many runs each row is to have.
      images: a heading an image, and what each row makes of it.
      classes: of the images.
      width: how near a class boundary an error is one of the boundary, in pixels.
      notes: what could not be had.
      made: how the numbers came about, pairs of a word and a text.

    Raises:
      InputError: see `pages.write`.
    """
    samples = [shown.sample for _, several in images for shown in several]
    drawn = None if classes is None else layers.Drawing(classes, samples, width)
    first = next(iter(rows))
    return pages.write(
        path,
        "compare.html",
        title=f"{len(rows)} rows compared",
        words=(
            f"mIoU of the last step. Differences are to {first}, run by run with the same seed."
            " Intervals hold the mean with 95 % (Student's t); a single run has none."
        ),
        notes=notes,
        table=table(rows, planned),
        plot=plot(rows),
        curves=curves(rows),
        runs=runs(rows),
        images=[(heading, [drawn.card(one) for one in several]) for heading, several in images]
        if drawn
        else [],
        legend=drawn.legend if drawn else None,
        made=made,
    )


def finished(runs: Sequence[Run]) -> dict[int, Run]:
    """By seed, the runs that have values."""
    return {run.seed: run for run in runs if run.values}


def table(rows: Rows, planned: Mapping[str, int]) -> Table:
    """A line a row: means with intervals, and differences to the first row."""
    first = next(iter(rows))
    columns = [
        Column("row"),
        Column("runs", 0, help="finished, of those planned"),
        Column("mIoU, %", 2, help="mean, and half the width of its 95 % interval"),
        Column("difference", 2, help=f"mIoU above that of {first} at the same seed"),
        Column("seeds better", 0, help=f"at how many seeds the mIoU is above that of {first}"),
        Column("images better, %", 1, help="by the image's own mIoU, averaged over seeds"),
        Column("mAcc, %", 2),
        Column("aAcc, %", 2),
        Column("Hölder ratio", 3),
    ]
    lines = []
    for name, several in rows.items():
        there = finished(several)
        differences = paired(rows, name)
        above = sum(value > 0 for value in differences)
        others = [
            _mean([run.values[key] for run in there.values() if key in run.values])
            for key in ("mAcc", "aAcc", "holder_ratio")
        ]
        lines.append(
            [
                name,
                Cell(len(there), f"{len(there)} of {planned[name]}"),
                _with_interval([run.values["mIoU"] for run in there.values()]),
                None if name == first else _with_interval(differences, signed=True),
                Cell(above, f"{above} of {len(differences)}") if differences else None,
                images_better(rows, name),
                *others,
            ]
        )
    return Table(columns, lines)


def paired(rows: Rows, name: str) -> list[float]:
    """mIoU of a row above that of the first at the same seed; none for the first row itself."""
    first = next(iter(rows))
    if name == first:
        return []
    before, now = finished(rows[first]), finished(rows[name])
    return [now[s].values["mIoU"] - before[s].values["mIoU"] for s in now if s in before]


def image_differences(rows: Rows, name: str) -> np.ndarray | None:
    """mIoU of every image above that in the first row, the mean over the seeds of both.

    nan for an image without a label; None where no pair of runs recorded its images.
    """
    first = next(iter(rows))
    before, now = finished(rows[first]), finished(rows[name])
    found = []
    for seed in now if name != first else ():
        if seed in before:
            a, b = before[seed].by_image, now[seed].by_image
            if a is not None and b is not None and len(a) == len(b):
                found.append(b - a)
    return np.mean(found, axis=0) if found else None


def images_better(rows: Rows, name: str) -> float | None:
    """In percent, of the images whose mIoU is not the same."""
    differences = image_differences(rows, name)
    if differences is None:
        return None
    above, below = int(np.sum(differences > 0)), int(np.sum(differences < 0))
    return 100.0 * above / (above + below) if above + below else None


def plot(rows: Rows) -> Intervals:
    """The mIoU of every run, and each row's mean with its interval."""
    groups = []
    for name, several in rows.items():
        values = [run.values["mIoU"] for run in finished(several).values()]
        groups.append(Group(name, values, _mean(values), intervals.half_width(values)))
    return Intervals("mIoU, %", groups)


def curves(rows: Rows) -> list[Chart]:
    """The mIoU of the evaluations while training, a line a row: the mean over seeds."""
    series = []
    for name, several in rows.items():
        found: dict[int, list[float]] = {}
        for run in several:
            for record in run.records:
                value = getattr(record, "eval_mIoU", None)
                if isinstance(value, int | float):
                    found.setdefault(record.step, []).append(float(value))
        steps = sorted(found)
        series.append(Series(name, steps, [float(np.mean(found[step])) for step in steps]))
    chart = Chart("mIoU while training, mean over seeds, %", "step", series, whole=True, digits=2)
    return [chart] if chart.shown and len(rows) <= MOST_CURVES else []


def runs(rows: Rows) -> Table:
    """A line a run, which leads to the run's own page."""
    columns = [
        Column("row"),
        Column("seed", 0),
        Column("mIoU, %", 2, bar=100),
        Column("difference", 2),
        Column("mAcc, %", 2),
        Column("aAcc, %", 2),
        Column("Hölder ratio", 3),
        Column("remark"),
    ]
    first = finished(rows[next(iter(rows))])
    lines: list[list[Any]] = []
    for number, (name, several) in enumerate(rows.items()):
        for run in several:
            v = run.values
            difference = None
            if number and v and run.seed in first:
                difference = v["mIoU"] - first[run.seed].values["mIoU"]
            figures = [v.get(key) for key in ("mAcc", "aAcc", "holder_ratio")]
            link = Cell(name, href=run.page)
            lines.append([link, run.seed, v.get("mIoU"), difference, *figures, run.diverged])
    return Table(columns, lines)


def chosen(rows: Rows) -> list[tuple[str, int]]:
    """Images to show, a heading and an index each.

    They are those where the best row gains most on the first, where it is between, and where it
    loses most; of a single row its best, median and worst. None where no image was recorded.
    """
    first, *others = rows
    means = {name: np.mean(found) for name in others if (found := paired(rows, name))}
    best = max(means, key=lambda name: means[name]) if means else None
    values = image_differences(rows, best) if best is not None else None
    if best is None or values is None:
        recorded = [run.by_image for run in finished(rows[first]).values()]
        values = next((one for one in recorded if one is not None), None)
        if values is None:
            return []
        words = {"top": "Best image of {first}", "middle": "Median image", "bottom": "Worst image"}
    else:
        words = {
            "top": "Largest gain of {best} over {first}",
            "middle": "Median difference between {best} and {first}",
            "bottom": "Largest loss of {best} against {first}",
        }
    order = [int(i) for i in np.argsort(-values, kind="stable") if np.isfinite(values[i])]
    if not order:
        return []
    places = {"top": 0, "middle": len(order) // 2, "bottom": len(order) - 1}
    headings: dict[int, str] = {}
    for place, at in places.items():
        heading = words[place].format(best=best, first=first)
        headings.setdefault(order[at], f"{heading}: {_signed(float(values[order[at]]), best)} %")
    return [(heading, index) for index, heading in headings.items()]


def _signed(value: float, best: str | None) -> str:
    return ("+" if best is not None and value > 0 else "") + figure(value, 1)


def _with_interval(values: Sequence[float], signed: bool = False) -> Cell | None:
    mean = _mean(values)
    if mean is None:
        return None
    half = intervals.half_width(values)
    text = ("+" if signed and mean > 0 else "") + figure(mean)
    return Cell(mean, text if half is None else f"{text} ± {figure(half)}")


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
