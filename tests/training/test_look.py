"""What becomes of a batch's labels: corrected, dropped, completed, and counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import targets
from arm_jax.training import beliefs
from arm_jax.training import given as givens

RECIPE = {
    "targets.average": 0.05,
    "targets.start": 0.0,
    "targets.correct": "class",
    "targets.complete": "class",
    "targets.edge_weight": 8.0,
    "targets.known_above": 0.0,
}


def _looked(labels, believed, certainty, changes=None, **images):
    """What becomes of labels (h, w) that a teacher gives other classes, by the rule for edges."""
    changes = {
        **RECIPE,
        "targets.near": 6.0,
        "targets.near_rule": "contradictions",
        **(changes or {}),
    }
    config = tiny.method({**changes, "targets.edge_weight": 0.0}).config
    number = int(max(labels[labels != 255].max(), believed.max())) + 1
    other = np.log((1 - certainty) / (number - 1))
    scores = np.full((1, *labels.shape, number), other, np.float32)
    np.put_along_axis(scores[0], believed[..., None], np.log(certainty), -1)
    empty = nnx.State({})
    known = beliefs.Beliefs.create(empty, empty, config.targets, number)
    given, known = beliefs.look(
        known,
        jnp.asarray(scores),
        jnp.asarray(labels[None], jnp.uint8),
        jnp.asarray([labels.shape], jnp.int32),
        jnp.int32(0),
        config,
        **images,
    )
    return np.asarray(given.believed[0]), known


def test_contradictions_near_edges_alone_correct_nothing_and_those_behind_them_do():
    labels = np.zeros((64, 64), np.int64)
    labels[:, 32:] = 1
    smoothed = np.zeros_like(labels)
    smoothed[:, 35:] = 1  # the teacher's edge lies three pixels beside the drawn one
    found, known = _looked(labels, smoothed, 0.9)
    np.testing.assert_array_equal(found, labels)
    assert known.contradicted_near > 0 == known.contradicted_beyond
    wrong = labels.copy()
    wrong[8:56, 4:28] = 2  # an object of a wrong class; the teacher sees nothing there
    found, known = _looked(wrong, labels, 0.9)
    np.testing.assert_array_equal(found, labels)
    distance = np.asarray(targets.edge_distance(jnp.asarray(wrong[None]), reach=20)[0])
    near, beyond = distance <= 6, (distance > 6) & (distance <= 14)
    against = wrong != labels
    for share, where in ((known.contradicted_near, near), (known.contradicted_beyond, beyond)):
        assert share == pytest.approx(0.02 * against[where].mean(), rel=1e-5)
    unsure, _ = _looked(wrong, labels, 0.65)  # above 0.6, which is enough inside alone
    np.testing.assert_array_equal(unsure, np.where(near, wrong, labels))


@pytest.mark.parametrize("edge_weight", [0.0, 8.0])
def test_a_label_that_is_dropped_weighs_nothing_where_another_class_would_stand(edge_weight):
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 32:], labels[:, 60:], labels[8:56, 4:28] = 1, 255, 2  # the latter is wrong
    believed = np.where(np.arange(64) < 32, 0, 1)[None].repeat(64, 0)
    scores = 5.0 * jax.nn.one_hot(believed, 3)[None]
    found = {}
    for kind in ("drop", "class"):
        changes = {"targets.correct": kind, "targets.edge_weight": edge_weight}
        config = tiny.method(RECIPE | changes).config
        known = beliefs.Beliefs.create(nnx.State({}), nnx.State({}), config.targets, 3)
        extent = jnp.array([labels.shape], jnp.int32)
        found[kind] = beliefs.look(
            known, scores, jnp.asarray(labels[None]), extent, jnp.int32(0), config
        )
    (dropped, known), (corrected, same) = found["drop"], found["class"]
    there = np.asarray(corrected.believed[0])
    where = (there != labels) & (labels != 255)
    assert where.sum() == 48 * 24 and (labels[where] == 2).all()
    np.testing.assert_array_equal(dropped.believed[0], np.where(labels == 255, there, labels))
    usual = labels != 255 if corrected.weights is None else corrected.weights[0]
    np.testing.assert_array_equal(dropped.weights[0], np.where(where, 0, usual))
    assert known.corrected == same.corrected > 0


def test_the_rule_sets_every_threshold_and_none_is_set_without_it():
    config = tiny.method({**RECIPE, "targets.known_above": 0.5}).config
    shares = {"near": 0.13, "beyond": 0.09, "far": 0.08}  # whole objects of a wrong class
    empty = nnx.State({})
    known = dataclasses.replace(
        beliefs.Beliefs.create(empty, empty, config.targets, 2),
        **{f"contradicted_{name}": jnp.float32(share) for name, share in shares.items()},
    )
    for rule, expected in (
        ("fixed", (0.85, 0.6, 0.6, 6.0, 0.9, 0.5)),
        ("contradictions", (0.7, 0.6, 0.6, 6.0, 0.95, 0.2)),
    ):
        settings = tiny.method(
            {**RECIPE, "targets.known_above": 0.5, "targets.near_rule": rule}
        ).config.targets
        np.testing.assert_allclose(givens.limits(known, settings), expected, rtol=1e-5)


@pytest.mark.parametrize(("wrong_far", "certainty", "changed"), [(5, 0.8, 0), (60, 0.8, 1)])
def test_few_contradictions_far_from_edges_are_the_teachers_mistakes(wrong_far, certainty, changed):
    """The teacher smooths the edge, and contradicts `wrong_far` rows of the far pixels as well."""
    labels = np.zeros((128, 96), np.int64)
    labels[:, 48:] = 1
    believed = np.zeros_like(labels)
    believed[:, 54:] = 1
    believed[:wrong_far, 4:20] = 1
    found, known = _looked(labels, believed, certainty, {"targets.correct_above": 0.6})
    far = np.zeros(labels.shape, bool)
    far[:, :34] = far[:, 62:] = True  # more than 14 pixels from the edge
    shares = known.contradicted_near, known.contradicted_far
    expected = (0.5, (believed != labels)[far].mean())
    for share, one in zip(shares, expected, strict=True):
        assert share == pytest.approx(0.02 * one, rel=1e-5)
    box = np.zeros(labels.shape, bool)
    box[:wrong_far, 4:20] = True
    np.testing.assert_array_equal(found[box], changed)
    np.testing.assert_array_equal(found[~box & far], labels[~box & far])


@pytest.mark.parametrize("kind", ["class", "posterior"])
def test_labels_of_images_that_are_right_are_neither_corrected_nor_counted(kind):
    labels = np.zeros((64, 64), np.int64)
    labels[8:56, 8:56] = 1
    nothing = np.zeros_like(labels)
    nothing[0, 0] = 1  # of two classes
    changes, sure = {"targets.correct": kind}, 1 - 1e-6
    some, none = jnp.array([True]), jnp.array([False])
    found, known = _looked(labels, nothing, sure, changes, corrected=some)
    assert (found[labels == 1] == 0).all() and known.contradicted > 0
    found, known = _looked(labels, nothing, sure, changes, corrected=none)
    np.testing.assert_array_equal(found, labels)
    assert known.contradicted == known.contradicted_near == known.contradicted_beyond == 0
    assert known.contradicted_far == 0
    assert known.corrected == 0
    labels[:, :4] = 255
    found, _ = _looked(labels, nothing, sure, changes, corrected=none, completed=some)
    assert (found[:, :4] != 255).all() and (found == labels)[:, 4:].all()
    found, known = _looked(labels, nothing, sure, changes, completed=none)
    assert (found[:, :4] == 255).all() and known.completed == 0


@pytest.mark.parametrize("kind", ["class", "posterior"])
def test_labels_of_a_class_that_the_teacher_does_not_find_are_left_and_complete_nothing(kind):
    """Else a class that the network has not learnt yet would be corrected away for good."""
    changes = {"targets.correct": kind}
    asked, more = {"targets.known_above": 0.25}, {"targets.known_above": 0.5}
    labels = np.zeros((64, 96), np.int64)
    labels[:, 32:64], labels[:, 64:] = 1, 255
    for found_of_1, changed in ((12, False), (20, True)):
        believed = np.zeros_like(labels)
        believed[:found_of_1, 32:64] = 1  # of 64 rows: the rest is taken for class 0
        believed[:, 64:] = 1
        share = found_of_1 / 64
        found, known = _looked(labels, believed, 0.96, changes | asked)
        np.testing.assert_allclose(known.found / known.drawn, [1.0, share], rtol=1e-6)
        assert (found[60, 50] == 0) == changed  # corrected
        assert (found[60, 80] == 1) == changed  # completed
    assert _looked(labels, believed, 0.96, changes | more)[0][60, 50] == 1
    # Class 0, which is found, is corrected as ever, here into what is not known.
    believed[20:44, 10:22] = 1
    assert _looked(labels, believed, 0.96, changes | more)[0][30, 16] == 1


def test_rare_classes_correct_with_less_and_complete_as_before():
    """By the shares of the classes among what was drawn: class 2 is a twentieth of it."""
    labels = np.zeros((64, 96), np.int64)
    labels[:, 32:64], labels[:, 64:], labels[52:, 32:] = 1, 255, 2
    drawn = np.bincount(labels[labels != 255], minlength=3).astype(np.float32)
    scores = np.log(np.full((1, 64, 96, 3), [0.5, 0.1, 0.4], np.float32))
    changes = {"targets.correct": "class", "targets.complete": "class", "targets.start": 0.0}
    changes |= {"targets.average": 0.5, "targets.complete_above": 0.45, "targets.known_above": 0.0}
    for exponent, into, missing in ((0.0, 1, 0), (1.0, 2, 0)):
        config = tiny.method({**changes, "targets.adjust": exponent}).config
        empty = nnx.State({})
        known = beliefs.Beliefs.create(empty, empty, config.targets, 3)
        for step in range(2):  # in the first, nobody has drawn anything yet
            given, known = beliefs.look(
                known,
                jnp.asarray(scores),
                jnp.asarray(labels[None], jnp.uint8),
                jnp.asarray([labels.shape], jnp.int32),
                jnp.int32(step),
                config,
            )
        found = np.asarray(given.believed[0])
        assert found[20, 50] == into and found[20, 80] == missing
    r = np.array([0.5, 0.1, 0.4]) / (drawn / drawn.sum()) ** 0.5
    got = jax.nn.softmax(targets.adjusted(jnp.asarray(scores[0, 0, 0]), jnp.asarray(drawn), 0.5))
    np.testing.assert_allclose(got, r / r.sum(), rtol=1e-5)
    same = targets.adjusted(jnp.asarray(scores), jnp.asarray(drawn), 0.0)
    np.testing.assert_array_equal(same, scores)


def test_pixels_that_are_no_image_together_have_the_distances_that_they_are_given():
    settings = {**RECIPE, "targets.edges": "margins", "targets.near_rule": "contradictions"}
    config, rng = tiny.method(settings).config, np.random.default_rng(2)
    labels = rng.integers(0, 3, (1, 4, 6)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    labels[labels == 2] = 255
    scores = 3 * rng.standard_normal((*labels.shape, 2)).astype(np.float32)
    seen = jnp.ones(labels.shape, bool)
    known = givens.distances(jnp.asarray(labels), seen, labels != 255, config.targets)
    empty, found = nnx.State({}), []
    for order in (slice(None), rng.permutation(labels.size)):
        # A row of pixels, whose neighbours are none.
        row = [x.reshape(1, 1, labels.size, *x.shape[3:])[:, :, order] for x in (labels, scores)]
        distances = [x.reshape(1, 1, labels.size)[:, :, order] for x in known]
        given, after = beliefs.look(
            beliefs.Beliefs.create(empty, empty, config.targets, 2),
            jnp.asarray(row[1]),
            jnp.asarray(row[0]),
            jnp.array([[1, labels.size]]),
            jnp.int32(0),
            config,
            known_distances=givens.Distances(*distances),
        )
        found.append((np.asarray(given.believed), np.asarray(given.weights), order, after))
    image, _ = beliefs.look(
        beliefs.Beliefs.create(empty, empty, config.targets, 2),
        jnp.asarray(scores),
        jnp.asarray(labels),
        jnp.array([labels.shape[1:]]),
        jnp.int32(0),
        config,
    )
    for believed, weights, order, after in found:
        np.testing.assert_array_equal(believed[0, 0], image.believed.ravel()[order])
        np.testing.assert_allclose(weights[0, 0], image.weights.ravel()[order], rtol=1e-5)
        assert after.contradicted_near == pytest.approx(float(found[0][3].contradicted_near))
