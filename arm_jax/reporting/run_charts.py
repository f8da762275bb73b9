"""The charts of a run's page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arm_jax import theorem
from arm_jax.evaluation.by_image import ByImage
from arm_jax.evaluation.calibration import BINS
from arm_jax.reporting.pages.charts import Chart, Series
from arm_jax.reporting.pages.tables import figure
from arm_jax.theorem import Histogram
from arm_jax.training.records import Line

# Bins of confidence with less of the pixels than this have no mean worth drawing.
LEAST_SHARE = 1e-5


def by_image(found: ByImage | None) -> Chart | None:
    """How the mIoU is spread over the images; None where no image has one."""
    values = np.zeros(0) if found is None else found.mIoU[np.isfinite(found.mIoU)]
    if not len(values):
        return None
    counts, edges = np.histogram(values, bins=20, range=(0, 100))
    middle = (edges[:-1] + edges[1:]) / 2
    return Chart(
        "Images by their own mIoU",
        "mIoU of an image, %",
        [Series("images", middle.tolist(), counts.tolist(), bars=True)],
        x_limits=(0, 100),
        from_zero=True,
        digits=1,
        note=f"median {figure(float(np.median(values)), 1)} %",
    )


def calibration(found: Mapping[str, Any] | None) -> list[Chart]:
    """The reliability diagram: how often predictions are right by how probable they claim to be.

    The second chart has the share of the labelled pixels in each bin, which weighs the gaps in the
    expected calibration error.

    Args:
      found: `calibration` of eval.json, see `calibration.Calibration.as_dict`.

    Returns:
      Nothing where no pixel is labelled.
    """
    if not found or not found["bins"]:
        return []
    middle = (100 * (np.arange(BINS) + 0.5) / BINS).tolist()
    accuracy, share = np.full(BINS, np.nan), np.full(BINS, np.nan)
    total = sum(one["pixels"] for one in found["bins"])
    for one in found["bins"]:
        place = round(BINS * one["from"])
        accuracy[place], share[place] = one["accuracy"], 100 * one["pixels"] / total
    words = "probability of the predicted class, %"
    claims = [one["claim"] for one in found["bins"]]
    points = Series("at the mean claim", claims, [one["accuracy"] for one in found["bins"]])
    honest = Series("claim = share that is right", [0.0, 100.0], [0.0, 100.0], dashed=True)
    bars = Series("right, %", middle, accuracy.tolist(), bars=True)
    pixels = Series("% of the pixels", middle, share.tolist(), bars=True)
    limits = (0.0, 100.0)
    return [
        Chart("Right, %", words, [bars, points, honest], x_limits=limits, from_zero=True, digits=1),
        Chart("Pixels, %", words, [pixels], x_limits=limits, from_zero=True, digits=2),
    ]


# What a run logs, chart by chart: title, fields of its lines with their legend, from zero.
CURVES: tuple[tuple[str, dict[str, str], bool], ...] = (
    (
        "Training loss",
        {"loss": "weighted", "mean_loss": "plain mean", "auxiliary_loss": "auxiliary head"},
        True,
    ),
    (
        "Evaluation, %",
        {"eval_mIoU": "mIoU", "eval_mAcc": "mAcc", "eval_aAcc": "aAcc"},
        True,
    ),
    ("Learning rate", {"learning_rate": "segmenter"}, True),
    (
        "ARM",
        {"holder_ratio": "Hölder ratio", "loss_ratio": "weighted / plain loss"},
        False,
    ),
    ("Labelled pixels of a batch", {"labelled": "share"}, True),
)


def training(records: Sequence[Line]) -> list[Chart]:
    """What the run logged against the step; charts without a value are left out."""
    found = []
    for title, fields, from_zero in CURVES:
        series = []
        for key, name in fields.items():
            points = [
                (record.step, value)
                for record in records
                if isinstance(value := getattr(record, key, None), int | float)
            ]
            series.append(Series(name, [x for x, _ in points], [y for _, y in points]))
        chart = Chart(title, "step", series, from_zero=from_zero, whole=True, digits=4)
        if chart.shown:
            found.append(chart)
    return found


def weight_and_loss(histogram: Histogram, p: float | None) -> list[Chart]:
    """W(v) beside the best W for the measured loss, L(v), and where the pixels are.

    The best W is L(v)^(1/(p-1)), Hölder's inequality (Theorem 3.1); both are scaled to a mean of 1
    over the pixels. Without ARM (`p` None), L(v) and the pixels alone. Nothing for an empty
    histogram.
    """
    pixels = np.asarray(histogram.pixels, np.float64)
    share = pixels / max(pixels.sum(), 1.0)
    enough = share >= LEAST_SHARE
    if not enough.any():
        return []
    centers = np.asarray(theorem.bin_centers(len(pixels)), np.float64).tolist()

    def drawn(values: Any) -> list[float]:
        return np.where(enough, np.asarray(values, np.float64), np.nan).tolist()

    def chart(title: str, series: Sequence[Series], **options: Any) -> Chart:
        return Chart(title, "confidence v", series, x_limits=(-1, 1), **options)

    found = []
    if p is not None:
        closed = f"theorem, L(v)^(1/(p\u22121)), p = {p:g}"
        found.append(
            chart(
                "Relative weight W(v)",
                [
                    Series("learned", centers, drawn(theorem.mean_weight(histogram))),
                    Series(closed, centers, drawn(theorem.closed_form(histogram, p)), dashed=True),
                ],
                from_zero=True,
            )
        )
    loss = Series("L(v)", centers, drawn(theorem.mean_loss(histogram)))
    found.append(chart("Mean loss L(v)", [loss], from_zero=True))
    bars = Series("% of the pixels", centers, (100 * share).tolist(), bars=True)
    found.append(chart("Pixels, %", [bars], log=True))
    return found
