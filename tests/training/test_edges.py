"""What drawn labels weigh at their edges, and where these are not trusted."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax.training import beliefs

# It never begins by itself.
TEACHER = {
    "targets.average": 0.05,
    "targets.start": 1.0,
    "targets.correct": "drop",
    "targets.complete": "class",
    "targets.edge_weight": 8.0,
}


def contradicting(config, near: float, begun: bool = True) -> beliefs.Beliefs:
    """A teacher of two classes that contradicts this share of the labels near edges."""
    empty = nnx.State({})
    return dataclasses.replace(
        beliefs.Beliefs.create(empty, empty, config.targets, 2),
        begun=jnp.bool_(begun),
        contradicted_near=jnp.float32(near),
        contradicted_beyond=jnp.float32(0.09),
    )


@pytest.mark.parametrize(
    ("rule", "begun", "near", "trusted"),
    [
        ("contradictions", True, 0.18, 0.5),
        ("contradictions", True, 0.25, 0.0),
        ("contradictions", True, 0.14, 1.0),
        ("contradictions", False, 0.25, 1.0),
        ("fixed", True, 0.25, 1.0),
    ],
)
def test_labels_near_edges_weigh_less_where_they_are_not_trusted(rule, begun, near, trusted):
    """And those up to half of what is near, which is 6 pixels, less than the others."""
    changes = {**TEACHER, "targets.near_rule": rule}
    config = tiny.method(changes).config
    labels = np.zeros((1, 16, 16), np.uint8)
    labels[..., 8:] = 1
    known = contradicting(config, near, begun)
    scores, extent = jnp.zeros((1, 16, 16, 2)), jnp.array([[16, 16]])
    given, _ = beliefs.look(known, scores, jnp.asarray(labels), extent, jnp.int32(0), config)
    distance = np.abs(np.arange(16) - 7.5)
    expected = 1 + 8 * trusted * np.exp(-distance / config.targets.edge_decay)
    expected *= np.where(distance <= 3, trusted, 1)
    np.testing.assert_allclose(given.weights[0, 3], expected / expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("edges", ["all", "margins"])
def test_edges_to_what_nobody_labelled_are_the_only_ones_that_weigh_as_margins(edges):
    config = tiny.method({"targets.edge_weight": 8.0, "targets.edges": edges}).config
    labels = np.zeros((1, 20, 40), np.uint8)
    labels[..., 12:], labels[..., 30:] = 1, 255
    given, _ = beliefs.look(
        None, None, jnp.asarray(labels), jnp.array([[20, 40]]), jnp.int32(0), config
    )
    x = np.arange(40)
    distance, strength, b = np.abs(x - 29.5), 8.0, config.targets.edge_decay
    if edges == "all":
        distance = np.minimum(distance, np.abs(x - 11.5))
    else:  # ten columns are missing, and eight times the terms would be more than these
        strength = 10 / np.exp(-distance / b)[:30].sum()
        assert strength < 2
    expected = np.where(x < 30, 1 + strength * np.exp(-distance / b), 0)
    np.testing.assert_allclose(given.weights[0, 7], expected / expected[:30].mean(), rtol=1e-5)


def test_the_edges_of_images_that_are_right_are_trusted():
    """Beside one whose labels are not, and of which those near the edge do not count."""
    config = tiny.method({**TEACHER, "targets.near_rule": "contradictions"}).config
    labels = np.zeros((2, 16, 32), np.uint8)
    labels[..., 16:] = 1
    given, _ = beliefs.look(
        contradicting(config, near=0.25),
        jnp.zeros((*labels.shape, 2)),
        jnp.asarray(labels),
        jnp.array([[16, 32]] * 2),
        jnp.int32(0),
        config,
        corrected=jnp.array([True, False]),
    )
    distance = np.abs(np.arange(32) - 15.5)
    eroded = np.where(distance <= 3, 0, 1)
    trusted = 1 + 8 * np.exp(-distance / config.targets.edge_decay)
    mean = np.mean([eroded, trusted])
    for found, expected in zip(given.weights, (eroded, trusted), strict=True):
        np.testing.assert_allclose(found[3], expected / mean, rtol=1e-5)


def test_an_image_that_nobody_labelled_adds_no_weight_to_the_margins_of_others():
    config = tiny.method({"targets.edge_weight": 8.0, "targets.edges": "margins"}).config
    labels = np.zeros((1, 20, 40), np.uint8)
    labels[:, 9:11, 9:11] = 255
    found = []
    for batch in (labels, np.concatenate([labels, np.full_like(labels, 255)])):
        extent = jnp.array([[20, 40]] * len(batch))
        given, _ = beliefs.look(None, None, jnp.asarray(batch), extent, jnp.int32(0), config)
        assert not np.asarray(given.weights)[batch == 255].any()
        found.append(given.weights[0])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    assert found[0].max() < 1.1  # four pixels are missing, of 800
