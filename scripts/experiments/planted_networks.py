"""Small networks on fixed features, trained on labels with errors in them, for planted.py."""

import functools
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from planted_data import TRAINING, Data

from arm_jax.evaluation import metrics

NETWORKS = ("plain", "folds", "corrects")
FOLDS, STEPS, BATCH, RATE = 3, 300, 2048, 3e-3
SURE, BEFORE = 0.8, 0.25  # when a label is corrected, and the share of the steps before


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


def miou(data: Data, labels: np.ndarray, seed: int) -> float:
    """On the images held out, with their clean labels, of a network trained plainly."""
    weights = _trained(data, data.features[:TRAINING], labels, seed)
    matrix = np.zeros(2 * (data.number,), np.int64)
    for x, label in zip(data.features[TRAINING:], data.labels[TRAINING:], strict=True):
        found = np.asarray(_likely(weights, x))
        found = full_size(found, label.shape).argmax(-1)
        known = label < data.number
        pairs = label[known].astype(np.int64) * data.number + found[known]
        matrix += np.bincount(pairs, minlength=matrix.size).reshape(matrix.shape)
    return float(metrics.scores(matrix).mIoU)


def full_size(likely: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(likely, shape[::-1], interpolation=cv2.INTER_LINEAR)
