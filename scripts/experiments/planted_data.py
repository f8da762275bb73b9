"""Images with label errors planted by a known key, for planted.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import components
import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from arm_jax import networks
from arm_jax.data import scenes, sources
from arm_jax.networks.input import normalize
from arm_jax.review import masks
from arm_jax.weights import pretrained

NOISES = ("wrong 1 %", "wrong 3 %", "wrong 10 %", "dropped", "swapped", "shifted")
TRAINING, HELD_OUT = 60, 30  # images
REVIEWED = (50, 200, 1000)  # regions, before the labels are trained on
CELLS = {"scenes": (48, 64), "camvid": (60, 80)}  # of the features; labels have twice as many
WIDTHS = (32, 64, 96)  # principal components of the trunk's three stages


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


def prepared(
    name: str, workdir: Path, weights: str, variant: str | None, camvid: str | None
) -> Data:
    """The data of a kind, its features computed once."""
    path = workdir / f"{name}.npz"
    if not path.exists():
        shown, labels, number = _pairs(name, camvid)
        features = _features(shown, CELLS[name], weights, variant)
        size = tuple(2 * side for side in CELLS[name])
        small = np.stack([cv2.resize(x, size[::-1], interpolation=cv2.INTER_AREA) for x in shown])
        np.savez(path, features=features, labels=labels, rgb=small, number=number)
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in ("features", "labels", "rgb")}
        return Data(name, int(stored["number"]), **arrays)


def _pairs(name: str, camvid: str | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Images of four times the cells, and labels of twice; the classes' number."""
    size = tuple(2 * side for side in CELLS[name])
    if name == "scenes":
        full = (2 * size[0], 2 * size[1])
        pairs = [scenes.generate("train", k, full) for k in range(TRAINING)]
        pairs += [scenes.generate("val", k, full) for k in range(HELD_OUT)]
        number = sources.ScenesSource.classes.number
    else:
        train = sources.open_source("camvid", root=camvid, split="train")
        test = sources.open_source("camvid", root=camvid, split="test")
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
            bases = [components.principal(x, width) for x, width in zip(found, WIDTHS, strict=True)]
        for kept, x, (mean, basis) in zip(outputs, found, bases, strict=True):
            for one in (x - mean) @ basis:
                kept.append(cv2.resize(one, cells[::-1], interpolation=cv2.INTER_LINEAR))
    return np.concatenate([np.stack(kept) for kept in outputs], -1).astype(np.float16)


def planted(data: Data, noise: str, seed: int) -> np.ndarray:
    """The labels to train on with errors of one kind, uint8 (TRAINING, h, w)."""
    rng = np.random.default_rng([seed, NOISES.index(noise)])
    labels = data.labels[:TRAINING].copy()
    if noise.startswith("wrong"):
        share = float(noise.split()[1]) / 100
        for label in labels:
            for value, box, mask in pieces(label.copy(), data.number):
                if rng.random() < share:
                    other = int(rng.integers(data.number - 1))
                    label[masks.within(box)][mask] = other + (other >= value)
    elif noise == "dropped":
        for label in labels:
            for value, box, mask in pieces(label.copy(), data.number):
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


def pieces(label: np.ndarray, number: int) -> Iterator[tuple[int, masks.Box, np.ndarray]]:
    least = smallest(label)
    for value in range(number):
        for box, mask in masks.components(label == value, least):
            yield value, box, mask > 0


def smallest(label: np.ndarray) -> int:
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


def key_of(data: Data, noisy: np.ndarray) -> tuple[list[np.ndarray], int]:
    """For each image int32 (h, w), the number of the error at each pixel; and how many there are.

    -1 where the label is right, or wrong in fewer pixels than `smallest`. Pixels without a label,
    clean or noisy, are right.
    """
    number, found = 0, []
    for clean, label in zip(data.labels, noisy, strict=False):
        numbers = np.full(label.shape, -1, np.int32)
        wrong = (label != clean) & (label < data.number) & (clean < data.number)
        for value in np.unique(label[wrong]):
            for box, mask in masks.components(wrong & (label == value), smallest(label)):
                numbers[masks.within(box)][mask > 0] = number
                number += 1
        found.append(numbers)
    return found, number
