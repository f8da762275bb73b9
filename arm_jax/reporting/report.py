"""Figures of a run as PNG files: predictions beside labels, what ARM learned, how training went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from arm_jax.data.labels import Classes
from arm_jax.reporting import curves, pictures
from arm_jax.reporting.samples import Sample
from arm_jax.theorem import Histogram
from arm_jax.training.records import Line


def draw(
    folder: Path,
    title: str,
    classes: Classes,
    *,
    samples: Sequence[Sample],
    matrix: np.ndarray | None,
    calibration: Mapping[str, Any] | None,
    histogram: Histogram,
    records: Sequence[Line],
    p: float,
) -> list[Path]:
    """Draw a run's figures; one that has nothing to show is left out.

    Args:
      folder: to write to.
      title: of the figures.
      classes: of the network.
      samples: the rows of the contact sheet.
      matrix: the confusion matrix of the evaluation.
      calibration: of its eval.json.
      histogram: the running one over confidence.
      records: what the run logged, the lines of its metrics.jsonl.
      p: ARM's norm.

    Returns:
      The paths of the figures.
    """
    drawn: dict[str, Figure] = {}
    if samples:
        drawn["contact_sheet.png"] = pictures.contact_sheet(samples, classes, title)
    if matrix is not None:
        drawn["confusion.png"] = pictures.confusion(matrix, classes)
    if calibration and calibration["bins"]:
        drawn["reliability.png"] = curves.reliability(calibration)
    if float(jnp.sum(histogram.pixels)) > 0:
        drawn["weight_and_loss.png"] = curves.weight_and_loss(histogram, p, title)
    if records:
        drawn["training.png"] = curves.training(records, title)
    for name, figure in drawn.items():
        pictures.save(figure, folder / name)
    return [folder / name for name in drawn]
