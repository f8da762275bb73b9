"""What a run shows while it trains, by the names and groups under which trackers draw it."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.training import records
from arm_jax.training.records import Line

if TYPE_CHECKING:
    from arm_jax.evaluation.metrics import Scores
    from arm_jax.theorem import Histogram

# A field of a line of metrics.jsonl, or a rate, and where it is drawn.
GROUPS = {
    "loss": "train/loss",
    "mean_loss": "train/mean_loss",
    "auxiliary_loss": "train/auxiliary_loss",
    "labelled": "train/labelled",
    "skipped": "train/skipped",
    "learning_rate": "train/learning_rate",
    "holder_ratio": "arm/holder_ratio",
    "loss_ratio": "arm/loss_ratio",
    "corrected": "targets/corrected",
    "completed": "targets/completed",
    "contradicted": "targets/contradicted",
    "images_per_second": "speed/images_per_second",
    "waiting_percent": "speed/waiting_percent",
    "seconds_left": "speed/seconds_left",
    "eval_mIoU": "eval/mIoU",
    "eval_mAcc": "eval/mAcc",
    "eval_aAcc": "eval/aAcc",
}
IMAGES = 4  # of the contact sheet of an evaluation
DPI = 80


class Tracker(Protocol):
    """Draws curves and images. Nothing that goes wrong there stops a run."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to the curve of each value."""

    def show(self, step: int, images: Mapping[str, bytes]) -> None:
        """Add images, each a PNG."""

    def close(self, finished: bool) -> None:
        """Nothing comes any more; `finished` is whether the run made its last step."""


def grouped(line: Line, rates: Mapping[str, float]) -> dict[str, float]:
    """A line and the rates beside it by the names that trackers draw.

    >>> grouped(records.EvaluationLine(7, 50.0, 60.0, 70.0), {})
    {'eval/mIoU': 50.0, 'eval/mAcc': 60.0, 'eval/aAcc': 70.0}
    """
    values = records.as_json(line)
    del values["step"]
    return {GROUPS[name]: value for name, value in {**values, **rates}.items()}


def by_class(scores: "Scores", classes: Classes) -> dict[str, float]:
    """The IoU in percent of each class that has one."""
    named = zip(classes.names, scores.IoU.tolist(), strict=True)
    return {f"eval/IoU/{name}": iou for name, iou in named if not np.isnan(iou)}


def pictures(
    samples: Any, classes: Classes, histogram: "Histogram", p: float, title: str
) -> dict[str, bytes]:
    """The contact sheet of an evaluation, and W(v) with L(v), as PNGs.

    Args:
      samples: as `reporting.samples.draw` gives; none for no contact sheet.
      classes: of the network.
      histogram: the running one, on devices.
      p: ARM's norm.
      title: of the figures.
    """
    # Matplotlib takes a second to import, and nothing else in training needs it.
    import jax

    from arm_jax.reporting import curves, pictures

    figures = {}
    if samples:
        figures["eval/contact_sheet"] = pictures.contact_sheet(samples, classes, title)
    on_host = jax.device_get(histogram)
    if float(np.sum(on_host.pixels)) > 0:
        figures["arm/weight_and_loss"] = curves.weight_and_loss(on_host, p, title)
    found = {}
    for name, figure in figures.items():
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=DPI)
        found[name] = file.getvalue()
    return found
