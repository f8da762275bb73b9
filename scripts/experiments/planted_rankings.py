"""Regions and images ranked by how wrong their labels seem, and how well by a key of the errors."""

from dataclasses import dataclass

import numpy as np
from planted_data import TRAINING, Data, pieces
from planted_networks import full_size

from arm_jax.review import findings, groups, images, masks, refit, regions
from arm_jax.review.regions import Region

FIRST = (10, 50, 100)


@dataclass(frozen=True)
class Ranked:
    """A list of regions, best first.

    Attributes:
      image, score: of each.
      error: the number of the planted error that most of its pixels are in; -1 for a right label.
      region: what `review` found; None for the other way.
    """

    image: np.ndarray
    score: np.ndarray
    error: np.ndarray
    region: list[Region | None]


def _error(key: np.ndarray, mask: np.ndarray) -> int:
    """The error that most of a region's pixels are in; -1 where most are right."""
    inside = key[mask]
    if (inside >= 0).mean() < 0.5:
        return -1
    return int(np.bincount(inside[inside >= 0]).argmax())


def rank(
    data: Data, noisy: np.ndarray, likely: np.ndarray, keys: list[np.ndarray]
) -> tuple[dict[str, Ranked], dict[str, np.ndarray], list[images.Swapped]]:
    """Both lists of regions, the images' scores three ways (high is wrong), and swapped images."""
    entries: dict[str, list[tuple]] = {"review": [], "disagree": []}
    scores = {name: np.zeros(TRAINING) for name in ("review", "disagree", "softmin")}
    seen = []
    for index in range(TRAINING):
        label, key = noisy[index], keys[index]
        full = full_size(likely[index], label.shape)
        one = findings.look(index, str(index), data.rgb[index], label, full)
        seen.append((one.label, one.prediction))
        worst = 0.0
        for region in one.found:
            if region.kind in regions.MISTAKES:
                error = _error(key, masks.filled(region.rings, label.shape))
                entries["review"].append((index, region.score, error, region))
                worst = max(worst, region.score)
        scores["review"][index] = 1 - (1 - worst) * one.soft_minimum
        scores["softmin"][index] = 1 - one.soft_minimum
        given = np.take_along_axis(full, np.minimum(label, data.number - 1)[..., None], -1)[..., 0]
        for _, box, mask in pieces(label, data.number):
            value = float(1 - given[masks.within(box)][mask].mean())
            whole = np.zeros(label.shape, bool)
            whole[masks.within(box)] = mask
            entries["disagree"].append((index, value, _error(key, whole), None))
            scores["disagree"][index] = max(scores["disagree"][index], value)
    ranked = {}
    for name, found in entries.items():
        found.sort(key=lambda one: -one[1])
        columns = list(zip(*found, strict=True)) or [(), (), (), ()]
        ranked[name] = Ranked(*(np.array(c) for c in columns[:3]), list(columns[3]))
    swapped = images.swapped(*(list(x) for x in zip(*seen, strict=True)), data.number)
    for one in swapped:
        scores["review"][one.index] += 1 + one.gain
    return ranked, scores, swapped


def measured(ranked: Ranked, errors: int) -> dict[str, float]:
    """Precision among the first, and average precision over the errors that were planted.

    Regions beyond the first one of the same error count neither as hits nor as mistakes.
    """
    hit = ranked.error >= 0
    found = {f"p@{n}": float(hit[:n].mean()) if len(hit) else 0.0 for n in FIRST}
    first = np.zeros(len(hit), bool)
    if hit.any():
        first[np.unique(np.where(hit, ranked.error, -1), return_index=True)[1]] = True
    first &= hit
    right, wrong = np.cumsum(first), np.cumsum(~hit)
    precision = right / np.maximum(right + wrong, 1)
    return {**found, "ap": float(precision[first].sum() / max(errors, 1))}


def image_precision(scores: np.ndarray, bad: np.ndarray) -> float:
    """Average precision of images with an error."""
    order = np.argsort(-scores, kind="stable")
    hit = bad[order]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].mean()) if hit.any() else float("nan")


def corrected(ranked: Ranked, decisions: int) -> dict[str, dict[str, int]]:
    """Right and wrong corrections after this number of decisions by somebody who knows the key.

    one by one  the first regions of the list
    refitted    likewise, but the rest is sorted anew after every 10 decisions
    groups      the decision on a group's first region holds for all of it
    both        groups, sorted anew after every 10 decisions by their first region's score
    """
    wrong, kept = ranked.error >= 0, [one for one in ranked.region if one is not None]
    numbers = np.array(groups.grouped(kept))
    members = [np.flatnonzero(numbers == n) for n in range(numbers.max(initial=-1) + 1)]

    def by_one(sharpen: bool) -> list[int]:
        made: dict[int, bool] = {}
        order = list(range(len(kept)))
        while order and len(made) < decisions:
            for index in order[: min(10, decisions - len(made))]:
                made[index] = bool(wrong[index])
            order = _sorted_anew(kept, made, [n for n in order if n not in made], sharpen)
        return [index for index, accepted in made.items() if accepted]

    def by_group(sharpen: bool) -> list[int]:
        made: dict[int, bool] = {}
        order, used = [int(group[0]) for group in members], 0
        while order and used < decisions:
            for index in order[: min(10, decisions - used)]:
                made |= dict.fromkeys(map(int, members[numbers[index]]), bool(wrong[index]))
                used += 1
            order = _sorted_anew(kept, made, [n for n in order if n not in made], sharpen)
        return [index for index, accepted in made.items() if accepted]

    chosen = {
        "one by one": by_one(False),
        "refitted": by_one(True),
        "groups": by_group(False),
        "both": by_group(True),
    }
    return {
        name: {
            "right": len({int(ranked.error[n]) for n in found if wrong[n]}),
            "wrong": sum(not wrong[n] for n in found),
        }
        for name, found in chosen.items()
    }


def _sorted_anew(
    kept: list[Region], made: dict[int, bool], order: list[int], sharpen: bool
) -> list[int]:
    scores = refit.refitted(kept, made) if sharpen else None
    return order if scores is None else sorted(order, key=lambda n: -scores[n])
