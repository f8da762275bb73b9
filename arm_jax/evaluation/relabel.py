"""What a trained network believes of the labels that it was trained on, as labels beside them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from arm_jax import contradictions, targets
from arm_jax.data import colors, images, records
from arm_jax.data.labels import Classes
from arm_jax.system import locks, names, outputs

COMMAND = "relabel"
LABELS = "labels"
KINDS = (LABELS, "parts", "confidence")  # of the files of an image
# What became of a pixel, as `parts/` has it.
UNKNOWN, GIVEN, CORRECTED, COMPLETED = range(4)
PARTS = ("neither drawn nor believed", "as drawn", "corrected", "completed")


@dataclass(frozen=True)
class Belief:
    """What is believed of one image's labels; all (h, w).

    Attributes:
      label: uint8, class indices and the ignore value: drawn, corrected, completed.
      part: uint8, one of UNKNOWN, GIVEN, CORRECTED and COMPLETED.
      certainty: uint8, the network's likelihood of its own class, times 255.
    """

    label: np.ndarray
    part: np.ndarray
    certainty: np.ndarray


@dataclass(frozen=True)
class Change:
    """How one image's label changed.

    Attributes:
      source: of the record.
      number: of the record in it.
      name: its split and id.
      shares: of the pixels, by part: UNKNOWN, GIVEN, CORRECTED, COMPLETED.
      certainty: mean of the corrected and completed pixels, in [0, 1]; 0 for none.
      moved: int64 (C, C) corrected pixels by drawn class and believed class.
    """

    source: Any
    number: int
    name: str
    shares: tuple[float, ...]
    certainty: float
    moved: np.ndarray


def judge(
    p: np.ndarray,
    label: np.ndarray,
    settings: Any,
    ignore: int = 255,
    limits: contradictions.Limits | None = None,
    known: np.ndarray | None = None,
    drawn_pixels: Sequence[int] = (),
) -> Belief:
    """What a network believes of a label, by the thresholds of the section `targets`.

    The same rule as in training with `correct` and `complete` = "class", whatever these are.

    Args:
      p: float32 (h, w, C), likelihoods.
      label: uint8 (h, w).
      settings: the config's section `targets`.
      ignore: the label of pixels that have none.
      limits: how sure it must be, as from `given.limits`; None for the fixed ones.
      known: (C,) bool, see `targets.known`; None for all classes.
      drawn_pixels: of each class in the training labels, for `targets.adjust`; () without it.
    """
    drawn, believed = label != ignore, p.argmax(-1).astype(np.uint8)
    certainty = p.max(-1)
    reach = contradictions.reach(settings.near)
    distance = targets.edge_distance(jnp.asarray(label)[None], reach=reach)[0]
    limits = limits or contradictions.Limits.fixed(settings)
    limit = contradictions.thresholds(distance, limits)
    known = np.ones(p.shape[-1], bool) if known is None else known
    doubted = drawn & known[np.minimum(label, len(known) - 1)]
    its = (jnp.asarray(believed), jnp.asarray(certainty))
    r = adjusted(p, drawn_pixels, settings.adjust)
    rival = (jnp.asarray(r.argmax(-1).astype(np.uint8)), jnp.asarray(r.max(-1)))
    found = targets.corrected(jnp.asarray(label), *rival, limit, jnp.asarray(doubted))
    missing = jnp.asarray(~drawn & known[believed])
    found = targets.completed(found, *its, limits.complete, missing)
    new = np.asarray(jax.device_get(found))
    changed = new != label
    part = np.where(drawn, np.where(changed, CORRECTED, GIVEN), np.where(changed, COMPLETED, 0))
    return Belief(new, part.astype(np.uint8), np.round(255 * certainty).astype(np.uint8))


def without_weights(p: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Likelihoods (..., C) float32 of a network that was trained with class weights, as if without.

    As `targets.without_weights` does with scores.
    """
    return _divided(p, [weight or 1.0 for weight in weights]) if weights else p


def adjusted(p: np.ndarray, pixels: Sequence[int], exponent: float) -> np.ndarray:
    """Likelihoods (..., C) that correct, as `targets.adjusted` makes scores; () for as they are."""
    if not exponent or not pixels:
        return p
    total = sum(pixels)
    return _divided(p, [(number / total) ** exponent if number else 1.0 for number in pixels])


def _divided(p: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    p = p / np.array(factors, np.float32)
    return p / p.sum(-1, keepdims=True)


def relabel(
    belief: Callable[[dict], Belief],
    source: Any,
    folder: Path,
    classes: Classes,
    *,
    split: str = "",
    numbers: Sequence[int] | None = None,
) -> Iterator[Change]:
    """Write what is believed of each record of a source, and yield how it changed.

    For the record `a/b` of the split `train` this writes `labels/train/a/b.png`, class indices,
    `parts/train/a/b.png`, what became of each pixel (see `Belief`), and `confidence/train/a/b.png`,
    the likelihood times 255. Every file is whole or absent.

    Args:
      belief: of a record, as from `judge`.
      source: of records with "image", "label" and "id".
      folder: new, empty, or of an earlier call.
      classes: of the source.
      split: the subfolder that the source's files lie in.
      numbers: of the records, those that are meant; None for all.

    Raises:
      InputError: the folder cannot be written or holds something else; a record cannot be read.
    """
    outputs.claim(folder, COMMAND)
    with locks.held(folder):
        for number in range(len(source)) if numbers is None else numbers:
            record = source[number]
            found = belief(record)
            name = _name(split, record["id"])
            places = _places(folder, name)
            colors.write_label(places[0], found.label, classes)
            colors.write_image(places[1], found.part)
            colors.write_image(places[2], found.certainty)
            counts = np.bincount(found.part.reshape(-1), minlength=4)
            new = found.part >= CORRECTED
            yield Change(
                source,
                number,
                name,
                tuple(float(x) for x in counts / counts.sum()),
                float(found.certainty[new].mean() / 255) if new.any() else 0.0,
                _moved(np.asarray(record["label"]), found, classes.number),
            )


def planned(source: Any, split: str = "", kinds: Sequence[str] = KINDS) -> list[str]:
    """The files that `relabel` writes for a source, relative to its folder; `copy`, of LABELS."""
    ids = (records.named(source, number)[0] for number in range(len(source)))
    return [f"{kind}/{_name(split, one)}.png" for one in ids for kind in kinds]


def _name(split: str, one: str) -> str:
    return f"{split}/{one}" if split else one


def stored(folder: Path, name: str) -> Belief:
    """What `relabel` wrote of the record of a `Change`'s name."""
    return Belief(
        *(images.decode_label(place.read_bytes(), str(place)) for place in _places(folder, name))
    )


def _places(folder: Path, name: str) -> list[Path]:
    """The files of `Belief`'s fields."""
    return [names.below(folder, f"{kind}/{name}.png") for kind in KINDS]


def copy(source: Any, folder: Path, classes: Classes, *, split: str = "") -> None:
    """Write the labels of a source as they are to `labels/`, as class indices.

    Args:
      source, folder, classes, split: as for `relabel`.

    Raises:
      InputError: as `relabel`.
    """
    outputs.claim(folder, COMMAND)
    with locks.held(folder):
        for number in range(len(source)):
            record = source[number]
            name = _name(split, record["id"])
            place = names.below(folder, f"{LABELS}/{name}.png")
            colors.write_label(place, np.asarray(record["label"]), classes)


def _moved(label: np.ndarray, belief: Belief, classes: int) -> np.ndarray:
    moved = np.zeros((classes, classes), np.int64)
    corrected = belief.part == CORRECTED
    np.add.at(moved, (label[corrected], belief.label[corrected]), 1)
    return moved
