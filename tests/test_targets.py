"""Corrected and completed labels and edge weights, against float64 and against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax import contradictions, targets
from arm_jax.data import augment

IGNORE = 255


def polygons(seed, size=(30, 40)):
    """Labels of a few boxes, with gaps that nobody labelled."""
    rng = np.random.default_rng(seed)
    label = np.full(size, IGNORE, np.uint8)
    for value in range(7):
        top, left = (rng.integers(0, side - 4) for side in size)
        height, width = rng.integers(3, 14, 2)
        label[top : top + height, left : left + width] = value % 4
    return label


def brute_force(label, inside):
    """Of each pixel to the nearest pixel beside a change, in float64; infinite for none."""
    height, width = label.shape
    edge = []
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                v, u = y + dy, x + dx
                there = 0 <= v < height and 0 <= u < width
                if there and inside[y, x] and inside[v, u] and label[y, x] != label[v, u]:
                    edge.append((y, x))
                    break
    if not edge:
        return np.full(label.shape, np.inf)
    places = np.stack(np.indices(label.shape), -1)[:, :, None]
    return np.sqrt(np.square(places - np.array(edge)).sum(-1).min(-1).astype(np.float64)) + 0.5


@pytest.mark.parametrize("reach", [1, 3, 100, 200, 10**9])
def test_the_distance_is_the_brute_force_one_through_resize_crop_flip_and_padding(reach):
    crop, labels, insides = (24, 36), [], []
    for seed in range(6):
        rng, label = np.random.default_rng(seed), polygons(seed)
        drawn, part = augment.draw(rng, label, crop=crop, ratio=(0.4, 2.0), category_limit=1.0)
        image = np.zeros((*label.shape, 3), np.uint8)
        _, label, extent = augment.apply(image, part, drawn, crop=crop)
        labels.append(label)
        inside = np.zeros(crop, bool)
        inside[: extent[0], : extent[1]] = True
        insides.append(inside)
    labels, insides = np.stack(labels), np.stack(insides)
    assert not insides.all() and insides.all((1, 2)).any()  # some are padded, others are cut
    labels[-1] = 3  # no edge at all, but where the padding begins
    found = targets.edge_distance(jnp.asarray(labels), jnp.asarray(insides), reach=reach)
    expected = np.stack([brute_force(*pair) for pair in zip(labels, insides, strict=True)])
    assert np.isinf(expected[-1]).all()
    np.testing.assert_allclose(found, np.minimum(expected, reach + 0.5), rtol=1e-6)


def test_edge_weights_are_the_formula_with_a_mean_of_one():
    rng = np.random.default_rng(0)
    distance, drawn = rng.uniform(0.5, 60, (2, 9, 8)), rng.random((2, 9, 8)) < 0.6
    found = targets.edge_weights(
        jnp.asarray(distance, jnp.float32), jnp.asarray(drawn), strength=4.0, decay=7.0
    )
    raw = np.where(drawn, 1 + 4 * np.exp(-distance / 7), 0)
    np.testing.assert_allclose(found, raw / raw[drawn].mean(), rtol=2e-6)
    nothing = targets.edge_weights(
        jnp.ones((2, 2)), jnp.zeros((2, 2), bool), strength=4.0, decay=7.0
    )
    assert np.all(nothing == 0)
    # Beyond the reach the term is as small as promised, and not so one pixel before it.
    reach = targets.edge_reach(8.0, 3.0)
    terms = 8 * np.exp(-np.array([reach, reach - 1]) / 3)
    assert terms[0] <= targets.LEAST_EDGE_TERM < terms[1]


def test_a_label_is_corrected_where_the_teacher_is_surer_than_its_place_asks():
    rng = np.random.default_rng(1)
    shape = (4, 50)
    labels = rng.integers(0, 3, shape)
    labels[rng.random(shape) < 0.4] = IGNORE
    believed, certainty = rng.integers(0, 3, shape), rng.random(shape).astype(np.float32)
    distance = rng.uniform(0, 20, shape)
    limits = contradictions.Limits(near=0.85, inside=0.6, far=0.7, width=6.0)
    limit = contradictions.thresholds(jnp.asarray(distance), limits)
    drawn = labels != IGNORE
    found = targets.corrected(
        *(jnp.asarray(x) for x in (labels, believed, certainty)), limit, jnp.asarray(drawn)
    )
    found = targets.completed(
        found, jnp.asarray(believed), jnp.asarray(certainty), 0.9, jnp.asarray(~drawn)
    )
    expected = labels.copy()
    for place in np.ndindex(shape):
        needed = 0.85 if distance[place] <= 6 else 0.6 if distance[place] <= 14 else 0.7
        needed = needed if drawn[place] else 0.9
        if certainty[place] > needed:
            expected[place] = believed[place]
    np.testing.assert_array_equal(found, expected)
    assert (expected != labels)[drawn].any() and (expected != labels)[~drawn].any()


def test_labels_corrected_by_the_true_classes_are_a_fixed_point():
    truth = jnp.asarray(polygons(3))
    drawn, sure = truth != IGNORE, jnp.ones(truth.shape)
    wrong = jnp.where(drawn, (truth + 1) % 4, IGNORE)
    once = targets.corrected(wrong, truth, sure, 0.6, drawn)
    np.testing.assert_array_equal(once, truth)
    np.testing.assert_array_equal(targets.corrected(once, truth, sure, 0.6, drawn), truth)


def test_no_gradient_passes_through_teacher_and_thresholds():
    labels = jnp.array([0, 1, 255, 2])
    key = jax.random.key(0)
    log_p = jax.nn.log_softmax(jax.random.normal(key, (4, 3)))

    def loss(teacher, inside, near, strength):
        p = jax.nn.softmax(teacher)
        distance = jnp.array([0.5, 9.0, 9.0, 0.5])
        limit = jnp.where(distance <= 6, near, inside)
        drawn = labels != IGNORE
        found = targets.corrected(labels, p.argmax(-1), p.max(-1), limit, drawn)
        found = targets.completed(found, p.argmax(-1), p.max(-1), inside, ~drawn)
        weights = targets.edge_weights(distance, drawn, strength=strength, decay=8.0)
        hard = jnp.take_along_axis(log_p, found[:, None], -1)[:, 0]
        return jnp.sum(weights * (hard + targets.soft_log_likelihood(log_p, p)))

    arguments = (4 * jax.random.normal(jax.random.key(1), (4, 3)), 0.3, 0.4, 8.0)
    gradients = jax.grad(loss, argnums=(0, 1, 2, 3))(*arguments)
    assert all(np.all(x == 0) for x in jax.tree.leaves(gradients))
    assert loss(*arguments) != loss(-arguments[0], *arguments[1:])


def test_the_rise_is_noticed_to_flatten_after_its_steepest_part():
    """On agreement that climbs quickly until step 100 of 1000, and hardly from then on."""
    curve = np.concatenate([0.2 + 0.006 * np.arange(100), np.full(300, 0.8)])
    rise, flat = targets.Rise.start(), []
    for step, value in enumerate(curve):
        rise = targets.rising(rise, jnp.float32(value), jnp.int32(step), 1000)
        flat.append(bool(targets.flattened(rise)))
    first = next(i for i in range(40, 400) if flat[i])
    assert 100 < first < 180
    assert not any(flat[40:100])
