"""How well does a review find label errors that were planted with a known key?

    python scripts/experiments/planted.py --workdir runs/planted --weights WEIGHTS --camvid CAMVID

Scenes drawn by `arm_jax.data.scenes`, and images of CamVid if its folder is given, get label errors
of six kinds: a wrong class for 1, 3 or 10 % of the components, 10 % of the small components
dropped, the labels of 5 % of the images swapped in pairs, those of 5 % shifted. A small network on
features of a frozen trunk (ResNet-50, ImageNet) learns from
them in three ways: plainly; by 3 folds, each image being judged by a network that was not trained
on it; and correcting labels while it trains, where its running average is sure of another class.
From the same likelihoods regions and images are then ranked in three ways:

    review     `arm_jax.review`
    disagree   connected components of the label by the mean of 1 - p(given), as Rottmann and Reese,
               arXiv 2207.06104; images by their worst component
    softmin    images by the soft minimum of Lad and Mueller, arXiv 2307.05080

The results go to results.jsonl, a line for each setting and seed, and are not computed again; the
tables to table.md. docs/review.md has them.
"""

import argparse
import functools
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from arm_jax import networks
from arm_jax.data import scenes, sources
from arm_jax.evaluation import metrics
from arm_jax.networks.input import normalize
from arm_jax.review import findings, groups, images, masks, refit, regions
from arm_jax.review.regions import Region
from arm_jax.system.errors import InputError
from arm_jax.weights import pretrained

NOISES = ("wrong 1 %", "wrong 3 %", "wrong 10 %", "dropped", "swapped", "shifted")
NETWORKS = ("plain", "folds", "corrects")
TRAINING, HELD_OUT = 180, 80  # images
CELLS = {"scenes": (48, 64), "camvid": (60, 80)}  # of the features; labels have twice as many
WIDTHS = (32, 64, 96)  # principal components of the trunk's three stages
FOLDS, STEPS, BATCH, RATE = 3, 400, 2048, 3e-3
SURE, BEFORE = 0.8, 0.25  # when a label is corrected, and the share of the steps before
FIRST = (10, 50, 100)
REVIEWED = (50, 200, 1000)


@dataclass(frozen=True)
class Data:
    """Images of one kind with clean labels, and their features.

    Attributes:
      name: scenes or camvid.
      number: of classes.
      features: float16 (n, *CELLS, sum(WIDTHS)) of the images to train on, then of those held out.
      labels: uint8 (n, 2 x CELLS).
      rgb: uint8 (n, 2 x CELLS, 3).
    """

    name: str
    number: int
    features: np.ndarray
    labels: np.ndarray
    rgb: np.ndarray


# Data


def prepared(name: str, arguments: argparse.Namespace) -> Data:
    """The data of a kind, its features computed once."""
    path = arguments.workdir / f"{name}.npz"
    if not path.exists():
        shown, labels, number = _pairs(name, arguments)
        features = _features(shown, CELLS[name], arguments.weights, arguments.variant or None)
        size = tuple(2 * side for side in CELLS[name])
        small = np.stack([cv2.resize(x, size[::-1], interpolation=cv2.INTER_AREA) for x in shown])
        np.savez(path, features=features, labels=labels, rgb=small, number=number)
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in ("features", "labels", "rgb")}
        return Data(name, int(stored["number"]), **arrays)


def _pairs(name: str, arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, int]:
    """Images of four times the cells, and labels of twice; the classes' number."""
    size = tuple(2 * side for side in CELLS[name])
    if name == "scenes":
        full = (2 * size[0], 2 * size[1])
        pairs = [scenes.generate("train", k, full) for k in range(TRAINING)]
        pairs += [scenes.generate("val", k, full) for k in range(HELD_OUT)]
        number = sources.ScenesSource.classes.number
    else:
        train = sources.open_source("camvid", root=arguments.camvid, split="train")
        test = sources.open_source("camvid", root=arguments.camvid, split="test")
        number = train.classes.number
        records = [train[int(k)] for k in np.linspace(0, len(train) - 1, TRAINING)]
        records += [test[int(k)] for k in np.linspace(0, len(test) - 1, HELD_OUT)]
        pairs = [(record["image"], record["label"]) for record in records]
    shown = [
        cv2.resize(i, (2 * size[1], 2 * size[0]), interpolation=cv2.INTER_AREA) for i, _ in pairs
    ]
    labels = [cv2.resize(x, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) for _, x in pairs]
    return np.stack(shown), np.stack(labels), number


def _features(
    shown: np.ndarray, cells: tuple[int, int], weights: str, variant: str | None
) -> np.ndarray:
    """Principal components of the first three stages, at the cells, of unit mean variance."""
    model = networks.create(
        "deeplabv3plus_resnet50", 2, output_stride=16, variant=variant, rngs=nnx.Rngs(0)
    )
    pretrained.load(model, weights)
    graphdef, state = nnx.split(model.backbone)

    @jax.jit
    def stages(state: nnx.State, batch: jax.Array) -> list[jax.Array]:
        backbone = nnx.merge(graphdef, state)
        x = backbone.stem(normalize(batch, jnp.full((len(batch), 2), 1 << 20)))
        found = []
        for stage in list(backbone.stages)[:3]:
            for block in stage:
                x = block(x)
            found.append(x)
        return found

    outputs: list[list[np.ndarray]] = [[], [], []]
    bases: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(shown), 4):
        batch = shown[start : start + 4]
        full = np.concatenate([batch, np.repeat(batch[:1], 4 - len(batch), 0)])
        found = [np.asarray(x, np.float32)[: len(batch)] for x in stages(state, full)]
        if not bases:
            bases = [_basis(x, width) for x, width in zip(found, WIDTHS, strict=True)]
        for kept, x, (mean, basis) in zip(outputs, found, bases, strict=True):
            for one in (x - mean) @ basis:
                kept.append(cv2.resize(one, cells[::-1], interpolation=cv2.INTER_LINEAR))
    return np.concatenate([np.stack(kept) for kept in outputs], -1).astype(np.float16)


def _basis(x: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    flat = x.reshape(-1, x.shape[-1])
    mean = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov((flat - mean).T))
    scale = np.sqrt(values[::-1][:width].mean())
    return mean, (vectors[:, ::-1][:, :width] / scale).astype(np.float32)


# Errors


def planted(data: Data, noise: str, seed: int) -> np.ndarray:
    """The labels to train on with errors of one kind, uint8 (TRAINING, h, w)."""
    rng = np.random.default_rng([seed, NOISES.index(noise)])
    labels = data.labels[:TRAINING].copy()
    if noise.startswith("wrong"):
        share = float(noise.split()[1]) / 100
        for label in labels:
            for value, box, mask in _pieces(label.copy(), data.number):
                if rng.random() < share:
                    other = int(rng.integers(data.number - 1))
                    label[masks.within(box)][mask] = other + (other >= value)
    elif noise == "dropped":
        for label in labels:
            for value, box, mask in _pieces(label.copy(), data.number):
                if mask.sum() < 0.02 * label.size and rng.random() < 0.1:
                    label[masks.within(box)][mask] = _around(label, value, box, mask, data.number)
    else:
        chosen = rng.permutation(TRAINING)[: 2 * round(0.025 * TRAINING)]
        if noise == "swapped":
            half = len(chosen) // 2
            labels[chosen] = labels[np.concatenate([chosen[half:], chosen[:half]])]
        else:
            for index in chosen:
                down, across = (int(s * rng.choice([-1, 1])) for s in rng.integers(4, 9, 2))
                moved = np.float32([[1, 0, across], [0, 1, down]])
                labels[index] = cv2.warpAffine(
                    labels[index],
                    moved,
                    labels[index].shape[::-1],
                    flags=cv2.INTER_NEAREST,
                    borderMode=cv2.BORDER_REPLICATE,
                )
    return labels


def _pieces(label: np.ndarray, number: int) -> Iterator[tuple[int, masks.Box, np.ndarray]]:
    smallest = _smallest(label)
    for value in range(number):
        for box, mask in masks.components(label == value, smallest):
            yield value, box, mask > 0


def _smallest(label: np.ndarray) -> int:
    """Errors of fewer pixels are neither planted nor counted."""
    return max(9, round(5e-4 * label.size))


def _around(label: np.ndarray, value: int, box: masks.Box, mask: np.ndarray, number: int) -> int:
    """The class most frequent along the edge of a component."""
    full = np.zeros(label.shape, np.uint8)
    full[masks.within(box)] = mask
    ring = (cv2.dilate(full, np.ones((3, 3), np.uint8)) > 0) & (full == 0)
    counts = np.bincount(label[ring], minlength=256)[:number]
    counts[value] = 0
    return int(counts.argmax())


# Networks


def likelihoods(data: Data, labels: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """float32 (TRAINING, *CELLS, C): what a network of this kind thinks of its training images."""
    features = data.features[:TRAINING]
    if kind != "folds":
        weights = _trained(data, features, labels, seed, corrects=kind == "corrects")
        return _predicted(weights, features)
    found = np.zeros((*features.shape[:3], data.number), np.float32)
    for fold in range(FOLDS):
        out = np.arange(TRAINING) % FOLDS == fold
        weights = _trained(data, features[~out], labels[~out], seed)
        found[out] = _predicted(weights, features[out])
    return found


def _trained(
    data: Data, features: np.ndarray, labels: np.ndarray, seed: int, corrects: bool = False
) -> list[jax.Array]:
    x = features.reshape(-1, features.shape[-1])
    y = labels[:, ::2, ::2].reshape(-1)
    valid = np.flatnonzero(y < data.number)
    rng = np.random.default_rng(seed)
    key, sizes = jax.random.key(seed), (x.shape[1], 128, data.number)
    weights = []
    for a, b in itertools.pairwise(sizes):
        key, used = jax.random.split(key)
        weights += [jax.random.normal(used, (a, b)) * (2 / a) ** 0.5, jnp.zeros(b)]
    state, average = _optimizer().init(weights), weights
    for step in range(STEPS):
        rows = rng.choice(valid, BATCH)
        correct = corrects and step > BEFORE * STEPS
        weights, average, state = _step(weights, average, state, x[rows], y[rows], correct)
    return average


def _optimizer() -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(RATE, STEPS))


def _scores(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    return jax.nn.relu(x @ weights[0] + weights[1]) @ weights[2] + weights[3]


@functools.partial(jax.jit, static_argnames="corrects")
def _step(
    weights: list[jax.Array],
    average: list[jax.Array],
    state: optax.OptState,
    x: jax.Array,
    y: jax.Array,
    corrects: bool,
) -> tuple[list[jax.Array], list[jax.Array], optax.OptState]:
    x = x.astype(jnp.float32)
    target = y.astype(jnp.int32)
    if corrects:
        likely = jax.nn.softmax(_scores(average, x))
        target = jnp.where(likely.max(-1) > SURE, likely.argmax(-1), target)

    def loss(weights: list[jax.Array]) -> jax.Array:
        scores = _scores(weights, x)
        return optax.softmax_cross_entropy_with_integer_labels(scores, target).mean()

    change, state = _optimizer().update(jax.grad(loss)(weights), state)
    weights = optax.apply_updates(weights, change)
    average = jax.tree.map(lambda a, w: 0.97 * a + 0.03 * w, average, weights)
    return weights, average, state


@jax.jit
def _likely(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    return jax.nn.softmax(_scores(weights, x.astype(jnp.float32)))


def _predicted(weights: list[jax.Array], features: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(_likely(weights, one)) for one in features])


def _miou(data: Data, labels: np.ndarray, seed: int) -> float:
    """On the images held out, with their clean labels, of a network trained plainly."""
    weights = _trained(data, data.features[:TRAINING], labels, seed)
    matrix = np.zeros(2 * (data.number,), np.int64)
    for x, label in zip(data.features[TRAINING:], data.labels[TRAINING:], strict=True):
        found = np.asarray(_likely(weights, x))
        found = _full(found, label.shape).argmax(-1)
        known = label < data.number
        pairs = label[known].astype(np.int64) * data.number + found[known]
        matrix += np.bincount(pairs, minlength=matrix.size).reshape(matrix.shape)
    return float(metrics.scores(matrix).mIoU)


def _full(likely: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(likely, shape[::-1], interpolation=cv2.INTER_LINEAR)


# Rankings


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


def key_of(data: Data, noisy: np.ndarray) -> tuple[list[np.ndarray], int]:
    """For each image int32 (h, w), the number of the error at each pixel; and how many there are.

    -1 where the label is right, or wrong in fewer pixels than `_smallest`. Pixels without a label,
    clean or noisy, are right.
    """
    number, found = 0, []
    for clean, label in zip(data.labels, noisy, strict=False):
        numbers = np.full(label.shape, -1, np.int32)
        wrong = (label != clean) & (label < data.number) & (clean < data.number)
        for value in np.unique(label[wrong]):
            for box, mask in masks.components(wrong & (label == value), _smallest(label)):
                numbers[masks.within(box)][mask > 0] = number
                number += 1
        found.append(numbers)
    return found, number


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
        full = _full(likely[index], label.shape)
        one = findings.look(index, str(index), data.rgb[index], label, full)
        seen.append((one.label, one.prediction))
        for region in one.found:
            if region.kind in regions.MISTAKES:
                error = _error(key, masks.filled(region.rings, label.shape))
                entries["review"].append((index, region.score, error, region))
                scores["review"][index] = max(scores["review"][index], region.score)
        scores["softmin"][index] = 1 - one.soft_minimum
        given = np.take_along_axis(full, np.minimum(label, data.number - 1)[..., None], -1)[..., 0]
        for _, box, mask in _pieces(label, data.number):
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


# Decisions


def corrected(ranked: Ranked, decisions: int) -> dict[str, dict[str, int]]:
    """Right and wrong corrections after so many decisions by somebody who knows the key.

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


def closed_loop(data: Data, noisy: np.ndarray, ranked: Ranked, seed: int) -> dict[str, float]:
    """mIoU of networks trained on clean and noisy labels, and after N regions were reviewed.

    What is accepted gets the class that the review proposed, right or not.
    """
    found = {
        "clean": _miou(data, data.labels[:TRAINING], seed),
        "noisy": _miou(data, noisy, seed),
    }
    for most in REVIEWED:
        labels = noisy.copy()
        for n in range(min(most, len(ranked.region)) - 1, -1, -1):
            region = ranked.region[n]
            if region is not None and ranked.error[n] >= 0:
                mask = masks.filled(region.rings, labels.shape[1:])
                labels[int(ranked.image[n])][mask] = region.proposed
        found[str(most)] = _miou(data, labels, seed)
    return found


# Runs and tables


def run(data: Data, noise: str, seed: int) -> dict:
    """One line of the results."""
    noisy = planted(data, noise, seed)
    keys, errors = key_of(data, noisy)
    bad = np.array([(key >= 0).any() for key in keys])
    line: dict = {"data": data.name, "noise": noise, "seed": seed, "errors": errors}
    line["bad images"] = int(bad.sum())
    for kind in NETWORKS:
        likely = likelihoods(data, noisy, kind, seed)
        ranked, scores, swapped = rank(data, noisy, likely, keys)
        line[kind] = {
            "regions": {name: measured(one, errors) for name, one in ranked.items()},
            "images": {name: image_precision(one, bad) for name, one in scores.items()},
            "swapped": [len(swapped), sum(bool(bad[one.index]) for one in swapped)],
        }
        if kind == "folds" and noise == "wrong 10 %":
            line["decisions"] = {n: corrected(ranked["review"], n) for n in (20, 50, 100, 200)}
            line["loop"] = closed_loop(data, noisy, ranked["review"], seed)
    return line


def tables(lines: list[dict]) -> str:
    """The results in Markdown: means over seeds."""
    text = []
    seeds = sorted({line["seed"] for line in lines})
    text.append(f"Seeds {', '.join(map(str, seeds))}; means.\n")
    head = "| data | errors | network | review: p@10, 50, 100 | AP | disagree: p@10, 50, 100 | AP |"
    text += [head + " images: review | disagree | softmin |", "|---" * 10 + "|"]
    for data in CELLS:
        for noise in NOISES:
            here = [one for one in lines if (one["data"], one["noise"]) == (data, noise)]
            for kind in NETWORKS if here else ():

                def mean(*path: str, here: list[dict] = here, kind: str = kind) -> float:
                    values = [functools.reduce(dict.__getitem__, path, one[kind]) for one in here]
                    return float(np.mean(values))

                cells = [data, f"{noise} ({np.mean([one['errors'] for one in here]):.0f})", kind]
                for name in ("review", "disagree"):
                    first = ", ".join(f"{mean('regions', name, f'p@{n}'):.2f}" for n in FIRST)
                    cells += [first, f"{mean('regions', name, 'ap'):.2f}"]
                cells += [f"{mean('images', n):.2f}" for n in ("review", "disagree", "softmin")]
                text.append(f"| {' | '.join(cells)} |")
    text += ["", "| data | decisions | one by one | refitted | groups | both |", "|---" * 6 + "|"]
    for data in CELLS:
        here = [one for one in lines if one["data"] == data and "decisions" in one]
        for number in here[0]["decisions"] if here else ():
            cells = [data, str(number)]
            for way in ("one by one", "refitted", "groups", "both"):
                pairs = [one["decisions"][number][way] for one in here]
                right, wrong = (np.mean([pair[k] for pair in pairs]) for k in ("right", "wrong"))
                cells.append(f"{right:.0f} + {wrong:.0f}")
            text.append(f"| {' | '.join(cells)} |")
    names = ("clean", "noisy", *map(str, REVIEWED))
    text += ["", f"| data | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for data in CELLS:
        here = [one["loop"] for one in lines if one["data"] == data and "loop" in one]
        if here:
            values = [f"{np.mean([one[name] for one in here]):.2f}" for name in names]
            text.append(f"| {data} | {' | '.join(values)} |")
    return "\n".join(text) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, help="features and results")
    parser.add_argument("--weights", required=True, help="of a ResNet-50: a file or hf://")
    parser.add_argument("--variant", default="caffe", help="of the weights; '' for torchvision's")
    parser.add_argument("--camvid", help="the folder of CamVid; scenes alone if not given")
    parser.add_argument("--seeds", default="0,1,2", help="e.g. 0,1,2")
    arguments = parser.parse_args()
    try:
        arguments.workdir.mkdir(parents=True, exist_ok=True)
        return experiment(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def experiment(arguments: argparse.Namespace) -> int:
    """What is not in results.jsonl yet, then the tables."""
    results = arguments.workdir / "results.jsonl"
    lines = [json.loads(x) for x in results.read_text().splitlines()] if results.exists() else []
    there = {(one["data"], one["noise"], one["seed"]) for one in lines}
    for name in CELLS if arguments.camvid else ("scenes",):
        data = prepared(name, arguments)
        for seed in map(int, arguments.seeds.split(",")):
            for noise in NOISES:
                if (name, noise, seed) in there:
                    continue
                start = time.process_time()
                line = run(data, noise, seed)
                line["cpu_s"] = round(time.process_time() - start, 1)
                # Read back, so that a table made at once is that of a table made later.
                lines.append(json.loads(json.dumps(line)))
                with open(results, "a") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name}, {noise}, seed {seed}: {line['cpu_s']} CPU s", flush=True)
    text = tables(lines)
    (arguments.workdir / "table.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
