"""What the settings of a step mean, as numbers: loss, confidence, and what ARM climbs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from arm_jax import arm, losses
from arm_jax.training.objective import Method, forward
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


def case(**settings):
    """Players, scores of the classes, log s, labels, where there are any, and the method."""
    rng = np.random.default_rng(0)
    scores = jnp.asarray(3 * rng.standard_normal((*SHAPE, CLASSES + 1)), jnp.float32)
    labels = rng.integers(0, CLASSES, SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) < 0.3] = 255
    kl = settings.get("loss") == "kl"
    players = Players(
        FixedSegmenter(scores if kl else scores[..., :CLASSES]), arm.Arm(rngs=nnx.Rngs(0))
    )
    method = Method(total_steps=10, auxiliary_weight=0.0, **settings)
    return players, scores[..., :CLASSES], scores[..., CLASSES], labels, labels != 255, method


def run(players, labels, method):
    images, key = jnp.zeros((*SHAPE, 3)), jax.random.key(0)
    return forward(players, images, jnp.asarray(labels), method, jnp.bool_(True), key)


@pytest.mark.parametrize("loss", ["ce", "gce", "kl", "ohem"])
def test_the_loss_is_the_named_one_over_the_pixels_that_count(loss):
    settings = {"q": 0.4, "threshold": 0.3, "kept_per_image": 12, "loss": loss}
    players, logits, log_s, labels, valid, method = case(**settings)
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
        limit = max(0.3, np.sort(np.exp(log_p)[valid])[24])
        counted = valid & (np.exp(log_p) < limit)
        assert 24 <= counted.sum() < valid.sum()
    terms = run(players, labels, method)
    np.testing.assert_allclose(terms["mean_loss"], pixel_loss[counted].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "gce"},
        {"loss": "kl", "confidence": "s"},
        {"signal": "gce"},
        {"signal": "trimmed", "trimmed_share": 0.2},
        {"confidence": "entropy", "p": 3.0},
        {"confidence": "log_var", "scope": "image"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())) or "arm",
)
def test_arm_sees_the_named_confidence_and_climbs_the_named_signal(settings):
    players, logits, log_s, labels, valid, method = case(**settings)
    ce = losses.cross_entropy(logits, labels)
    gce = losses.generalized_cross_entropy(logits, labels, 0.1)
    climbed = {"kl": losses.kl(logits, log_s, labels) + 2.5, "gce": gce, "ce": ce}[method.loss]
    if method.signal == "gce":
        climbed = gce
    elif method.signal == "trimmed":
        climbed = jnp.where(ce <= jnp.quantile(ce[valid], 0.8, method="higher"), ce, 0)
    s = jnp.exp(jnp.clip(log_s, -5, 5))
    v = (1 - s) / (1 + s)
    if method.confidence != "s":
        v = arm.confidence(logits, method.confidence)

    graph, params, rest = nnx.split(players, nnx.PathContains("arm"), ...)

    def total(params):
        return run(nnx.merge(graph, params, rest), labels, method)["total"]

    def expected(params):
        groups = SHAPE[0] if method.scope == "image" else 1
        module = nnx.merge(graph, params, rest).arm
        return jnp.sum(arm.normalize(module(v), valid, method.p, groups=groups) * climbed)

    got, wanted = (jax.tree.leaves(jax.grad(f)(params)) for f in (total, expected))
    assert max(np.abs(x).max() for x in wanted) > 1e-4
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_histogram_is_of_what_arm_climbs():
    """The KL loss may be negative; a Hölder ratio against it would mean nothing."""
    players, logits, log_s, labels, valid, method = case(loss="kl", confidence="s")
    labels = np.where(valid, np.argmax(logits, -1), 255).astype(np.uint8)  # mostly certain, right
    kl = losses.kl(logits, log_s, jnp.asarray(labels))
    assert kl.min() < 0
    histogram = run(players, labels, method)["histogram"]
    counted = valid[:, ::5, ::5]
    expected = np.asarray(losses.kl_signal(kl))[:, ::5, ::5][counted].sum()
    np.testing.assert_allclose(histogram.loss.sum(), expected, rtol=1e-5)
    assert histogram.loss.min() >= 0
