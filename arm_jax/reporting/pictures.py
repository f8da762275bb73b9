"""Figures: the contact sheet, the confusion matrix.

They are drawn by matplotlib without pyplot, and so without any global state, a display or a window.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from arm_jax.data.colors import overlay
from arm_jax.data.labels import Classes
from arm_jax.reporting.layers import nice_limit
from arm_jax.reporting.maps import heat
from arm_jax.reporting.samples import Sample
from arm_jax.system import files
from arm_jax.system.errors import printable

DPI = 150


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG."""
    with files.whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


TITLES = {
    "image": "image",
    "coarse": "coarse label",
    "label": "fine label",
    "prediction": "prediction",
    "confidence": "confidence v",
    "weight": "relative weight",
}


def contact_sheet(samples: Sequence[Sample], classes: Classes, title: str = "") -> Figure:
    """Rows of samples, columns of what is known about them, and a legend of the classes shown.

    Labels are drawn over a pale image, so that unlabelled pixels differ from classes. The
    colour scale of the weights is shared by all rows. Under each prediction stands the share of
    labelled pixels that it has right.
    """
    columns = [
        name for name in TITLES if all(getattr(sample, name) is not None for sample in samples)
    ]
    weights = [s.weight[np.isfinite(s.weight)] for s in samples if s.weight is not None]
    scales = {
        "confidence": (-1.0, 1.0, "viridis"),
        "weight": (0.0, nice_limit(np.concatenate([[1.0], *weights])), "magma"),
    }
    shown = _classes_shown(samples, classes)

    # All lengths in inches; panels have the shape of the first image.
    width = 2.5
    height = width * samples[0].image.shape[0] / samples[0].image.shape[1]
    step_x, step_y = width + 0.1, height + (0.27 if "prediction" in columns else 0.1)
    left, top = 0.3, 0.65 if title else 0.35
    entries = max(1, int(len(columns) * step_x / 1.4))  # of the legend, in a line
    lines = -(-len(shown) // entries)
    bottom = 0.2 + 0.2 * lines + (0.4 if scales.keys() & set(columns) else 0.0)
    size = (left + len(columns) * step_x, top + len(samples) * step_y + bottom)
    figure = Figure(figsize=size)

    def place(x: float, y: float, wide: float, high: float) -> Axes:
        """Axes with their lower left corner at (x, y)."""
        return figure.add_axes((x / size[0], y / size[1], wide / size[0], high / size[1]))

    for line, sample in enumerate(samples):
        for number, name in enumerate(columns):
            y = size[1] - top - line * step_y - height
            panel = place(left + number * step_x, y, width, height)
            panel.imshow(_panel(sample, name, classes, scales))
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
            if line == 0:
                panel.set_title(TITLES[name], fontsize=10, pad=4)
            if number == 0 and sample.name:
                panel.set_ylabel(_shortened(printable(sample.name)), fontsize=7)
            if name == "prediction" and sample.label is not None:
                panel.set_xlabel(_accuracy(sample, classes), fontsize=7.5, labelpad=2)
    for name, (low, high, colors) in scales.items():
        if name in columns:
            x = left + columns.index(name) * step_x
            bar = place(x + 0.2, bottom - 0.12, width - 0.4, 0.09)
            figure.colorbar(
                ScalarMappable(Normalize(low, high), colors),
                cax=bar,
                orientation="horizontal",
                ticks=[low, (low + high) / 2, high],
            )
            bar.tick_params(labelsize=7.5, length=2, pad=1)
    if title:
        figure.suptitle(title, fontsize=12, y=1 - 0.1 / size[1], va="top")
    handles = [
        Patch(
            facecolor=_fractions(classes.colors[value]),
            edgecolor="0.4",
            linewidth=0.4,
            label=classes.names[value],
        )
        for value in shown
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=max(-(-len(shown) // max(lines, 1)), 1),
        fontsize=8.5,
        frameon=False,
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.4,
    )
    return figure


def _fractions(color: tuple[int, int, int]) -> tuple[float, float, float]:
    return color[0] / 255, color[1] / 255, color[2] / 255


def _classes_shown(samples: Sequence[Sample], classes: Classes) -> list[int]:
    found: set[int] = set()
    for sample in samples:
        for label in (sample.label, sample.coarse, sample.prediction):
            if label is not None:
                found.update(np.unique(label).tolist())
    return sorted(value for value in found if value < classes.number)


def _panel(
    sample: Sample, name: str, classes: Classes, scales: Mapping[str, tuple[float, float, str]]
) -> np.ndarray:
    value = getattr(sample, name)
    if name == "image":
        return value
    if name in scales:
        return heat(value, *scales[name])
    grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    pale = cv2.addWeighted(grey, 0.35, np.full_like(grey, 255), 0.65, 0)
    return overlay(pale, value, classes, opacity=0.85)


def _accuracy(sample: Sample, classes: Classes) -> str:
    assert sample.label is not None and sample.prediction is not None
    labelled = sample.label < classes.number
    if not labelled.any():
        return "no labelled pixel"
    right = (sample.prediction == sample.label)[labelled].mean()
    return f"{100 * right:.1f} % of pixels right"


def _shortened(name: str, most: int = 24) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def confusion(matrix: np.ndarray, classes: Classes) -> Figure:
    """The confusion matrix as a picture: each row is a labelled class and sums to 100 %.

    Numbers are printed for up to 25 classes; classes that are never labelled have an empty row.
    """
    number = len(matrix)
    labelled = matrix.sum(axis=1, keepdims=True)
    share = np.where(labelled > 0, 100.0 * matrix / np.maximum(labelled, 1), np.nan)
    side = max(0.32 * number, 2.0) if number <= 25 else max(0.13 * number, 8.0)
    font = 8 if number <= 25 else 5
    figure = Figure(figsize=(side + 2.4, side + 1.6), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set_facecolor("0.92")
    axes.set_xticks(range(number), classes.names, rotation=90, fontsize=font)
    axes.set_yticks(range(number), classes.names, fontsize=font)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    axes.spines[:].set_visible(False)
    if number <= 25:
        for y, x in np.argwhere(share >= 0.5):
            value = share[y, x]
            color = "white" if value > 55 else "0.15"
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("% of the labelled pixels", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure
