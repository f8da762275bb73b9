"""Single pixels of photographs, for screen.py: their features, and their labels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import components
import jax
import jax.numpy as jnp
import measure
import numpy as np
from ml_collections import FrozenConfigDict

from arm_jax import experiment as experiments
from arm_jax import settings
from arm_jax.data import augment, sources
from arm_jax.data.features import Features, Sizes
from arm_jax.data.labels import Classes
from arm_jax.networks import Segmenter, resize
from arm_jax.run import feature_cache, inputs
from arm_jax.system.errors import InputError
from arm_jax.training import given
from arm_jax.training.state import players

STRIDE = 4  # of the pixels that are drawn, in a row and in a column
WIDTHS = (64, 128)  # principal components of the first and the last kept map
SAMPLE = 16  # images that these are of
AT_ONCE = 8  # images


class Pixels(NamedTuple):
    """The images of a bench, as features.

    Attributes:
      training: float16 (n, h, w, c), on the device.
      test: float16 (m, h, w, c), on the host.
      labels: uint8 (m, 2, h', w'), every third pixel of a row and a column: all labels, and those
        near boundaries.
      classes: of the labels.
    """

    training: jax.Array
    test: np.ndarray
    labels: np.ndarray
    classes: Classes


class Drawn(NamedTuple):
    """The labels of the training pixels.

    Attributes:
      labels: uint8 (n, h, w).
      distances: to what was drawn, float16 (n, h, w) each.
      counts: pixels of each class.
    """

    labels: jax.Array
    distances: given.Distances
    counts: tuple[int, ...]


def pixels(config: FrozenConfigDict) -> Pixels:
    """Read the kept features of a config's images; what is missing is computed first.

    Raises InputError for a config that keeps none.
    """
    if not config.model.feature_cache:
        raise InputError(
            "model.feature_cache = False, and the screen is about kept features; give a config that"
            " has them, as configs/camvid_head.py"
        )
    training = inputs.training_source(config)
    classes = training.classes
    test = inputs.evaluation_source(settings.frozen(config, {"data.eval_images": 0}), classes)
    experiment = experiments.build(config, classes)
    graphdef, state = experiment.create_state(experiment.fetch_pretrained())
    model = players(graphdef, state).segmenter
    kept = _kept(model, training, config)
    sample = np.linspace(0, len(training) - 1, SAMPLE).astype(int)
    reduce = _components([_maps(kept, int(index)) for index in sample])
    shown = (test[index] for index in range(len(test)))
    return Pixels(
        jnp.asarray(_reduced(kept, len(training), reduce)),
        _reduced(_kept(model, test, config), len(test), reduce),
        np.stack([measure.with_band(one["label"], classes.ignore)[:, 1::3, 1::3] for one in shown]),
        classes,
    )


def _kept(model: Segmenter, source: sources.Source, config: FrozenConfigDict) -> Features:
    """Of whole images."""
    view = augment.rescaled(source[0]["label"].shape, 1.0, config.augment.base_size or None)
    whole = {"augment.crop": view, "augment.flip": False}
    return feature_cache.prepare(model, source, settings.frozen(config, whole))


def _maps(kept: Features, index: int) -> list[np.ndarray]:
    """The first and the last map of an image, which differ in size."""
    found = list(kept.part(index, False, (0, 0)).values())
    return [found[0], found[-1]]


def _components(images: list[list[np.ndarray]]) -> Callable[[list[Any]], jax.Array]:
    """The principal components of maps, of unit mean variance: maps of images to (b, h, w, c)."""
    bases = []
    for maps, width in zip(zip(*images, strict=True), WIDTHS, strict=True):
        flat = np.concatenate([x.reshape(-1, x.shape[-1]) for x in maps]).astype(np.float32)
        bases.append(components.principal(flat, width))

    @jax.jit
    def reduce(maps: list[jax.Array]) -> jax.Array:
        found = [
            (x.astype(jnp.float32) - jnp.reshape(mean, (1, 1, 1, -1))) @ basis
            for x, (mean, basis) in zip(maps, bases, strict=True)
        ]
        size = found[0].shape[1:3]
        return jnp.concatenate([resize(x, size) for x in found], -1).astype(jnp.float16)

    return reduce


def _reduced(kept: Features, number: int, reduce: Callable[[list[Any]], jax.Array]) -> np.ndarray:
    found = []
    for start in range(0, number, AT_ONCE):
        images = [_maps(kept, index) for index in range(start, min(start + AT_ONCE, number))]
        found.append(np.asarray(reduce([np.stack(x) for x in zip(*images, strict=True)])))
    return np.concatenate(found)


class Drawings:
    """The labels of the training images by kind, simulated once."""

    def __init__(self) -> None:
        self._labels: dict[FrozenConfigDict, np.ndarray] = {}
        self._drawn: dict[tuple[FrozenConfigDict, FrozenConfigDict], Drawn] = {}

    def of(self, config: FrozenConfigDict, classes: Classes) -> Drawn:
        """By the sections `data` and `targets` of a config, and its seed; `classes` of the data."""
        if config.data not in self._labels:
            source = inputs.training_source(config)
            sizes = Sizes(config.augment.base_size or None, config.augment.crop, STRIDE)
            labels = [sizes.label(source[index]) for index in range(len(source))]
            self._labels[config.data] = np.stack(labels)
        key = config.data, config.targets
        if key not in self._drawn:
            self._drawn[key] = _drawn(self._labels[config.data], config, classes)
        return self._drawn[key]


def _drawn(labels: np.ndarray, config: FrozenConfigDict, classes: Classes) -> Drawn:
    @jax.jit
    def distances(labels: jax.Array) -> given.Distances:
        drawn = labels != classes.ignore
        found = given.distances(labels, jnp.ones_like(drawn), drawn, config.targets)
        return jax.tree.map(lambda x: _sampled(x).astype(jnp.float16), found)

    starts = range(0, len(labels), AT_ONCE)
    found = [distances(labels[start : start + AT_ONCE]) for start in starts]
    found = jax.tree.map(lambda *x: jnp.concatenate(x), *found)
    few = _sampled(labels)
    counts = np.bincount(few[few != classes.ignore], minlength=classes.number)
    return Drawn(jnp.asarray(few), found, tuple(counts.tolist()))


def _sampled(x: Any) -> Any:
    """Every fourth pixel of images (n, h, w), near the middle of four."""
    return x[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
