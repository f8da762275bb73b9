"""What the settings of a step mean, as numbers: loss, confidence, and what ARM climbs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import arm, losses
from arm_jax.training.given import Given
from arm_jax.training.objective import forward
from arm_jax.training.state import Players

CLASSES = 5
SHAPE = (2, 6, 8)


class FixedSegmenter(nnx.Module):
    """Gives the same scores for every image."""

    def __init__(self, scores):
        self.num_classes = CLASSES
        self.scores = nnx.Param(scores)

    def __call__(self, images, *, auxiliary, dropout_key):
        return self.scores[...], self.scores[..., :CLASSES]


def case(changes):
    """Players, scores of the classes, log s, labels, where there are any, and the method."""
    rng = np.random.default_rng(0)
    scores = jnp.asarray(3 * rng.standard_normal((*SHAPE, CLASSES + 1)), jnp.float32)
    labels = rng.integers(0, CLASSES, SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) < 0.3] = 255
    kl = changes.get("loss.kind") == "kl"
    players = Players(
        FixedSegmenter(scores if kl else scores[..., :CLASSES]), arm.Arm(rngs=nnx.Rngs(0))
    )
    method = tiny.method({"steps": 10, "model.auxiliary_weight": 0.0} | changes)
    return players, scores[..., :CLASSES], scores[..., CLASSES], labels, labels != 255, method


def run(players, labels, method, given=None):
    images, key = jnp.zeros((*SHAPE, 3)), jax.random.key(0)
    return forward(players, images, jnp.asarray(labels), method, jnp.bool_(True), key, given)


@pytest.mark.parametrize("loss", ["ce", "gce", "kl", "ohem"])
def test_the_loss_is_the_named_one_over_the_pixels_that_count(loss):
    # The threshold is so low that the number of pixels decides: 12 of each image, 24 in all.
    changes = {"loss.q": 0.4, "loss.threshold": 0.01, "loss.kept_per_image": 12, "loss.kind": loss}
    changes["arm.kind"] = "none" if loss == "ohem" else "learned"
    players, logits, log_s, labels, valid, method = case(changes)
    if loss == "ohem":
        players.arm = None  # it chooses its pixels itself
    z = np.asarray(logits, np.float64)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    log_p = np.take_along_axis(log_p, np.where(valid, labels, 0)[..., None].astype(int), -1)[..., 0]
    a = np.clip(np.asarray(log_s, np.float64), -5, 5)
    pixel_loss = {
        "ce": -log_p,
        "gce": (1 - np.exp(log_p) ** 0.4) / 0.4,
        "kl": np.exp(-a) * -log_p + a / 2,
        "ohem": -log_p,
    }[loss]
    counted = valid
    if loss == "ohem":
        limit = np.sort(np.exp(log_p)[valid])[12 * SHAPE[0]]
        counted = valid & (np.exp(log_p) < limit)
        assert limit > 0.01 and counted.sum() == 12 * SHAPE[0] < valid.sum()
    terms = run(players, labels, method)
    np.testing.assert_allclose(terms.mean_loss, pixel_loss[counted].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss.kind": "gce"},
        {"loss.kind": "kl", "arm.input": "s"},
        {"arm.signal": "gce"},
        {"arm.signal": "trimmed", "arm.trimmed_share": 0.2},
        {"arm.input": "entropy", "arm.p": 3.0},
        {"arm.input": "log_var", "arm.scope": "image"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "arm",
)
def test_arm_sees_the_named_confidence_and_climbs_the_named_signal(changes):
    players, logits, log_s, labels, valid, method = case(changes)
    config = method.config
    ce = losses.cross_entropy(logits, labels)
    gce = losses.generalized_cross_entropy(logits, labels, 0.1)
    climbed = {"kl": losses.kl(logits, log_s, labels) + 2.5, "gce": gce, "ce": ce}[config.loss.kind]
    if config.arm.signal == "gce":
        climbed = gce
    elif config.arm.signal == "trimmed":
        climbed = jnp.where(ce <= jnp.quantile(ce[valid], 0.8, method="higher"), ce, 0)
    s = jnp.exp(jnp.clip(log_s, -5, 5))
    v = (1 - s) / (1 + s)
    if config.arm.input != "s":
        v = arm.confidence(logits, config.arm.input)

    graph, params, rest = nnx.split(players, nnx.PathContains("arm"), ...)

    def total(params):
        return run(nnx.merge(graph, params, rest), labels, method).total

    def expected(params):
        groups = SHAPE[0] if config.arm.scope == "image" else 1
        module = nnx.merge(graph, params, rest).arm
        return jnp.sum(arm.normalize(module(v), valid, config.arm.p, groups=groups) * climbed)

    got, wanted = (jax.tree.leaves(jax.jit(jax.grad(f))(params)) for f in (total, expected))
    assert max(np.abs(x).max() for x in wanted) > 1e-4
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_histogram_is_of_what_arm_climbs():
    """The KL loss may be negative; a Hölder ratio against it would mean nothing."""
    players, logits, log_s, labels, valid, method = case({"loss.kind": "kl", "arm.input": "s"})
    labels = np.where(valid, np.argmax(logits, -1), 255).astype(np.uint8)  # mostly certain, right
    kl = losses.kl(logits, log_s, jnp.asarray(labels))
    assert kl.min() < 0
    histogram = run(players, labels, method).histogram
    counted = valid[:, ::5, ::5]
    expected = np.asarray(losses.kl_signal(kl))[:, ::5, ::5][counted].sum()
    np.testing.assert_allclose(histogram.loss.sum(), expected, rtol=1e-5)
    assert histogram.loss.min() >= 0


@pytest.mark.parametrize("signal", ["loss", "gce"])
def test_class_weights_scale_what_both_players_see(signal):
    """The loss of each pixel, what ARM climbs, and the auxiliary loss."""
    changes = {"arm.signal": signal, "model.auxiliary_weight": 1.0}
    players, logits, _, labels, valid, method = case(changes)
    weights = (0.5, 2.0, 0.0, 3.0, 1.0)
    method = dataclasses.replace(method, class_weights=weights)
    log_p = jax.nn.log_softmax(logits)
    log_p = jnp.take_along_axis(log_p, jnp.where(valid, labels, 0)[..., None].astype(int), -1)
    factor = np.where(valid, np.array((*weights, *251 * (np.nan,)))[labels], 0.0)
    loss = factor * -np.asarray(log_p)[..., 0]
    terms = run(players, labels, method)
    mean = loss.sum() / valid.sum()
    np.testing.assert_allclose(terms.mean_loss, mean, rtol=1e-5)
    np.testing.assert_allclose(terms.auxiliary_loss, mean, rtol=1e-5)  # the same scores

    climbed = loss if signal == "loss" else factor * np.asarray(losses.bounded(log_p[..., 0]))
    v = arm.confidence(logits)

    def gain(module):
        return jnp.sum(arm.normalize(module(v), jnp.asarray(valid)) * climbed)

    expected = nnx.grad(gain)(players.arm)
    found = nnx.grad(lambda players: run(players, labels, method).total)(players)["arm"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), found, expected
    )


@pytest.mark.parametrize("signal", ["loss", "gce", "trimmed"])
def test_arm_climbs_nothing_at_labels_that_are_left_out(signal):
    """And these are none of the losses that are trimmed."""
    changes = {"arm.signal": signal, "arm.trimmed_share": 0.2 if signal == "trimmed" else 0.05}
    players, logits, _, labels, valid, method = case(changes)
    weights = np.where(valid, np.random.default_rng(1).choice([0.0, 0.0, 1.0, 1.5], SHAPE), 0.0)
    drawn = jnp.asarray(labels)
    given = Given(drawn, drawn, jnp.ones(SHAPE, bool), jnp.asarray(weights, jnp.float32))
    climbed = ce = np.asarray(losses.cross_entropy(logits, labels))
    if signal == "gce":
        climbed = np.asarray(losses.generalized_cross_entropy(logits, labels, 0.1))
    elif signal == "trimmed":
        climbed = np.where(ce <= np.quantile(ce[weights > 0], 0.8, method="higher"), ce, 0)
    v = arm.confidence(logits)

    def gain(module):
        return jnp.sum(arm.normalize(module(v), jnp.asarray(valid)) * weights * climbed)

    expected = nnx.grad(gain)(players.arm)
    found = nnx.grad(lambda players: run(players, labels, method, given).total)(players)["arm"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), found, expected
    )


def test_unweighed_images_are_in_neither_arms_objective_nor_its_histogram():
    """Both are those of a batch that holds the weighed images alone."""
    changes = {"arm.signal": "trimmed", "arm.trimmed_share": 0.2}
    players, logits, _, labels, _, method = case(changes)
    weighed = np.array([True, False])

    def found(weighed, players, labels):
        shape = (*labels.shape, 3)
        images, key = jnp.zeros(shape), jax.random.key(0)
        given = jnp.asarray(labels), method, jnp.bool_(True), key, None, weighed

        def total(players):
            terms = forward(players, images, *given)
            return terms.total, terms.histogram

        (_, histogram), gradients = nnx.value_and_grad(total, has_aux=True)(players)
        return histogram, gradients["arm"]

    one = Players(FixedSegmenter(logits[:1]), players.arm)
    for a, b in zip(
        jax.tree.leaves(found(jnp.asarray(weighed), players, labels)),
        jax.tree.leaves(found(None, one, labels[:1])),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
