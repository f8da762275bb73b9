"""Line plots: weight and loss against confidence (Fig. 5, Theorem 3.1), and training curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arm_jax import theorem
from arm_jax.theorem import Histogram
from arm_jax.training.records import Line, as_json

# Bins with fewer of the pixels than this have no mean worth drawing.
LEAST_SHARE = 1e-5
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d1620f", "#2a7f46", "#8a8a8a"


def reliability(found: Mapping[str, Any]) -> Figure:
    """How often predictions are right by how probable they claim to be; the diagonal is honest.

    Lower panel: the share of the labelled pixels in each bin, which weighs the gaps in the ECE.

    Args:
      found: `calibration` of eval.json, see `calibration.Calibration.as_dict`.
    """
    figure = Figure(figsize=(4.2, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = found["bins"]
    left = np.array([100 * one["from"] for one in bins])
    width = np.array([100 * (one["to"] - one["from"]) for one in bins])
    accuracy = np.array([one["accuracy"] for one in bins])
    upper.plot((0, 100), (0, 100), color=GREY, lw=0.8, ls=":")
    upper.bar(left, accuracy, width, align="edge", color=BLUE, alpha=0.25, edgecolor="white")
    upper.plot([one["claim"] for one in bins], accuracy, color=BLUE, lw=1.6, marker="o", ms=3.5)
    upper.set_ylim(0, 100)
    upper.set_ylabel("right, %")
    upper.set_title(f"expected calibration error {found['ECE']:.1f} %", fontsize=10)
    pixels = np.array([one["pixels"] for one in bins], np.float64)
    share = 100 * pixels / pixels.sum()
    lower.bar(left, share, width, align="edge", color=GREY, edgecolor="white")
    lower.set_ylabel("pixels, %")
    lower.set_xlim(0, 100)
    lower.set_xlabel("probability of the predicted class, %")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def weight_and_loss(histogram: Histogram, p: float = 2.0, title: str = "") -> Figure:
    """W(v) beside the best W for the measured loss, L(v), and where the pixels are.

    Upper panel: the mean relative weight of each bin of confidence and, dashed, the closed form
    L(v)^(1/(p-1)) of Hölder's inequality (Theorem 3.1), both scaled to a mean of 1 over pixels;
    the ratio in the legend is 1 where they agree. Middle: the mean loss (Fig. 5). Lower: the share
    of pixels in each bin, without which the other two are easily misread.

    Args:
      histogram: as from `theorem`.
      p: the norm held at 1 while ARM climbs.
      title: of the figure.
    """
    pixels = np.asarray(histogram.pixels, np.float64)
    share = pixels / max(pixels.sum(), 1.0)
    centers = np.asarray(theorem.bin_centers(len(pixels)))
    enough = share >= LEAST_SHARE

    def drawn(values: object) -> np.ndarray:
        return np.where(enough, np.asarray(values, np.float64), np.nan)

    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    upper, middle, lower = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1.3))
    ratio = float(theorem.holder_ratio(histogram, p))
    upper.plot(
        centers,
        drawn(theorem.mean_weight(histogram)),
        color=BLUE,
        lw=2.2,
        label="W(v), learned",
    )
    upper.plot(
        centers,
        drawn(theorem.closed_form(histogram, p)),
        color=ORANGE,
        lw=1.6,
        ls=(0, (5, 2.5)),
        label=f"closed form $L(v)^{{1/(p-1)}}$, p = {p:g}; Hölder ratio {ratio:.3f}",
    )
    upper.axhline(1.0, color=GREY, lw=0.8, ls=":", label="uniform weights")
    upper.set_ylabel("relative weight")
    upper.set_ylim(bottom=0)
    upper.legend(frameon=False, fontsize=9, loc="upper right")
    middle.plot(centers, drawn(theorem.mean_loss(histogram)), color=GREEN, lw=2.0)
    middle.set_ylabel("mean loss L(v)")
    middle.set_ylim(bottom=0)
    lower.bar(centers, 100 * share, width=2 / len(pixels), color=GREY)
    lower.set_yscale("log")
    lower.set_ylabel("% of pixels")
    lower.set_xlabel("confidence v (-1: all classes equally likely, +1: certain)")
    lower.set_xlim(-1, 1)
    for axes in (upper, middle, lower):
        plain(axes)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


# What a run logs, panel by panel: title, and fields of its lines with their legend.
PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "training loss",
        {"loss": "weighted", "mean_loss": "plain mean", "auxiliary_loss": "auxiliary head"},
    ),
    (
        "evaluation on fine labels, %",
        {"eval_mIoU": "mIoU", "eval_mAcc": "mAcc", "eval_aAcc": "aAcc"},
    ),
    (
        "ARM",
        {"holder_ratio": "Hölder ratio", "loss_ratio": "weighted / plain loss"},
    ),
    ("learning rate", {"learning_rate": "segmenter"}),
)


def training(records: Sequence[Line], title: str = "") -> Figure:
    """Loss, evaluation and what else was logged, against the step.

    Args:
      records: the lines of metrics.jsonl; panels without any values are left out.
      title: of the figure.

    Raises:
      ValueError: no record has anything to draw.
    """
    present = {key for record in records for key in as_json(record)}
    panels = [panel for panel in PANELS if present & set(panel[1])]
    if not panels:
        raise ValueError("the records hold nothing to draw")
    figure = Figure(figsize=(7.2, 0.6 + 2.3 * len(panels)), layout="constrained")
    columns = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
    for axes, (name, keys) in zip(columns, panels, strict=True):
        for (key, label), color in zip(keys.items(), (BLUE, ORANGE, GREEN), strict=False):
            values_at = ((record.step, getattr(record, key, None)) for record in records)
            points = [(step, value) for step, value in values_at if value is not None]
            if not points:
                continue
            steps, values = zip(*points, strict=True)
            marker = "o" if len(points) <= 30 else None
            axes.plot(steps, values, color=color, lw=1.6, marker=marker, ms=3.5, label=label)
        axes.set_title(name, fontsize=10, loc="left")
        axes.legend(frameon=False, fontsize=9)
        plain(axes)
    columns[-1].set_xlabel("step")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def plain(axes: Axes) -> None:
    """Axes with a pale grid and no frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
