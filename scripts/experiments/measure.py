"""The figures of a finished run on its test split: the primary one, and those beside it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import FrozenConfigDict

from arm_jax import settings
from arm_jax.data import augment
from arm_jax.data.sources import Source
from arm_jax.evaluation import boundary, metrics
from arm_jax.networks import Segmenter, resize
from arm_jax.networks.input import normalize
from arm_jax.run import feature_cache, inputs, restore
from arm_jax.system import parallel
from arm_jax.system.errors import InputError

BINS = 15
AT_ONCE = 8
BAND = 5  # pixels from a class boundary


@dataclass(frozen=True)
class Figures:
    """In percent; `band` is mIoU near boundaries, `ece` the expected calibration error."""

    mIoU: float
    band: float
    mAcc: float
    aAcc: float
    ece: float


def measure(folder: Path) -> Figures:
    """Run the network of a folder on its whole evaluation split, one scale, whole images.

    The features of frozen parts are taken from the kept ones where the run trained on such.

    Raises InputError where images differ in size, or the run is evaluated by another protocol.
    """
    run = restore.load(folder)
    config = settings.frozen(run.experiment.config, {"data.eval_images": 0})
    if config.evaluation.tta != "none" or config.evaluation.crop or config.evaluation.multiple:
        raise InputError(
            f"{folder} is evaluated by another protocol than whole images at one scale; leave"
            " evaluation.tta, crop and multiple as they are"
        )
    source = inputs.evaluation_source(config, run.classes)
    return figures(run.model, source, config)


def figures(model: Segmenter, source: Source, config: FrozenConfigDict) -> Figures:
    """See `measure`."""
    classes = source.classes
    first = source[0]["label"].shape
    view = augment.rescaled(first, 1.0, config.evaluation.size or None)
    graphdef, state = nnx.split(model)

    @jax.jit
    def count(state: nnx.State, seen: Any, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        if isinstance(seen, dict):
            seen = jax.tree.map(lambda x: x.astype(config.model.dtype), seen)
        else:
            extent = jnp.broadcast_to(jnp.array(seen.shape[1:3]), (len(seen), 2))
            seen = normalize(seen, extent)
        scores = nnx.merge(graphdef, state)(seen)[..., : classes.number]
        for size in (view, first):
            scores = resize(scores, size, model.align_corners)
        return counts(scores, labels, classes.number)

    return summed(
        (
            jax.device_get(count(state, seen, labels))
            for seen, labels in _batches(model, source, config, view)
        ),
        classes.number,
    )


def summed(found: Iterable[tuple[Any, Any]], number: int) -> Figures:
    """The figures of what `counts` returned for each batch; `number` of classes."""
    matrices = np.zeros((2, number, number), np.int64)
    bins = np.zeros((BINS, 3))
    for of_batch, bins_of_batch in found:
        matrices += of_batch
        bins += bins_of_batch
    everywhere, near = (metrics.scores(matrix) for matrix in matrices)
    return Figures(
        everywhere.mIoU, near.mIoU, everywhere.mAcc, everywhere.aAcc, calibration_error(bins)
    )


def with_band(label: np.ndarray, ignore: int) -> np.ndarray:
    """(2, h, w): a label (h, w), and that of its pixels near boundaries alone."""
    return np.stack([label, boundary.near_boundaries(label, BAND, ignore)])


def counts(scores: jax.Array, labels: jax.Array, number: int) -> tuple[jax.Array, jax.Array]:
    """What the figures are sums of.

    Args:
      scores: float32 (b, h, w, number).
      labels: (b, 2, h, w): all, and those near boundaries; `number` and above are ignored.
      number: of classes.

    Returns:
      Confusion matrices int32 (2, number, number); and float32 (BINS, 3), by the largest
      likelihood: pixels, the sum of it, pixels that are right.
    """
    likelihood, found = jnp.max(jax.nn.softmax(scores), -1), jnp.argmax(scores, -1)
    matrices = [metrics.confusion_matrix(found, labels[:, kind], number) for kind in (0, 1)]
    truth = labels[:, 0]
    place = jnp.minimum((likelihood * BINS).astype(jnp.int32), BINS - 1)
    place = jnp.where(truth < number, place, BINS)  # which the sum leaves out
    values = jnp.stack([jnp.ones_like(likelihood), likelihood, found == truth], -1)
    bins = jnp.zeros((BINS, 3)).at[place].add(values, mode="drop")
    return jnp.stack(matrices), bins


def calibration_error(bins: np.ndarray) -> float:
    """Mean of |share that is right - mean likelihood| over bins by their pixels, in percent.

    Args:
      bins: (n, 3), as `counts` returns them.
    """
    pixels, likelihood, right = bins.T
    return float(100 * np.abs(likelihood - right).sum() / pixels.sum())


def _batches(
    model: Segmenter, source: Source, config: FrozenConfigDict, view: tuple[int, int]
) -> Iterator[tuple[Any, np.ndarray]]:
    """Batches of one size: kept features or uint8 images of size `view`, and their labels."""
    first, ignore, kept = source[0]["label"].shape, source.classes.ignore, None
    if config.model.feature_cache and all(s % config.model.output_stride == 0 for s in view):
        sizes = {"augment.crop": view, "augment.base_size": config.evaluation.size}
        whole = settings.frozen(config, {**sizes, "augment.flip": False})
        kept = feature_cache.prepare(model, source, whole)

    def read(index: int) -> tuple[Any, np.ndarray]:
        record = source[index]
        label = record["label"]
        if label.shape != first:
            raise InputError(f"{record['id']} has another size than the first image")
        labels = with_band(label, ignore)
        if kept is not None:
            return kept.part(index, False, (0, 0)), labels
        return cv2.resize(record["image"], view[::-1], interpolation=cv2.INTER_LINEAR), labels

    waiting: list[tuple[Any, np.ndarray]] = []
    for number, one in enumerate(parallel.ordered(read, range(len(source)), 2, threads=True), 1):
        waiting.append(one)
        if len(waiting) < AT_ONCE and number < len(source):
            continue
        empty = np.full_like(one[1], ignore)
        waiting += [(one[0], empty)] * (AT_ONCE - len(waiting))
        yield jax.tree.map(lambda *x: np.stack(x), *waiting)
        waiting = []
