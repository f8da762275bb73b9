"""Figures of a run: predictions beside labels, what ARM learned, how training went."""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from arm_jax import arm
from arm_jax.data.sources import Source
from arm_jax.evaluation import inference
from arm_jax.reporting import curves, pictures
from arm_jax.training.records import Line
from arm_jax.training.state import Players, TrainState


def draw(
    folder: Path,
    players: Players,
    state: TrainState,
    fine: Source,
    coarse: Source | None,
    records: Sequence[Line],
    *,
    kind: str,
    p: float,
    images: int = 6,
) -> list[Path]:
    """Draw a run's figures into its folder.

    Args:
      folder: to write to; the run's own.
      players: as trained.
      state: with the running histogram over confidence.
      fine: labelled images that were not trained on.
      coarse: the same images with the kind of labels that was trained on, if there are such.
      records: what the run logged, the lines of its metrics.jsonl.
      kind: what ARM sees, see `arm.confidence`.
      p: ARM's norm.
      images: how many rows the contact sheet has.

    Returns:
      The paths of the figures.
    """
    chosen = [int(i) for i in np.linspace(0, len(fine) - 1, min(images, len(fine)))]
    samples = [sample(players, fine[i], coarse[i] if coarse else None, kind, p) for i in chosen]
    title = f"{folder.name}, step {int(state.step):,}"
    drawn: dict[str, Figure] = {
        "contact_sheet.png": pictures.contact_sheet(samples, fine.classes, title),
    }
    if float(jnp.sum(state.histogram.pixels)) > 0:
        drawn["weight_and_loss.png"] = curves.weight_and_loss(state.histogram, p, title)
    if records:
        drawn["training.png"] = curves.training(records, title)
    for name, figure in drawn.items():
        pictures.save(figure, folder / name)
    return [folder / name for name in drawn]


def sample(
    players: Players, record: dict, coarse: dict | None, kind: str, p: float
) -> pictures.Sample:
    """One row of the contact sheet: the labels, the prediction, and the weight map.

    The weights are those that ARM would give this image alone: relative to their mean over the
    pixels that have a label to train on, nan elsewhere. An ARM that sees the KL loss's s has no
    weight map here, since inference keeps the scores of the classes only.
    """
    scores = inference.class_scores(players.segmenter, record["image"])
    label = (coarse or record)["label"]
    valid = label < players.segmenter.num_classes
    weight = None
    if players.arm is not None and kind in arm.CONFIDENCES:
        confidence = arm.confidence(jnp.asarray(scores), kind=kind)
        weights = np.asarray(arm.normalize(players.arm(confidence), valid, p=p))
        weight = np.where(valid, weights * valid.sum(), np.nan)
    return pictures.Sample(
        image=record["image"],
        label=record["label"],
        coarse=None if coarse is None else label,
        prediction=scores.argmax(-1).astype(np.uint8),
        weight=weight,
        name=record["id"],
    )
