"""The loss on what is believed of the labels: its value, and whom its gradient reaches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import arm, targets
from arm_jax.training import beliefs, objective

RECIPE = {
    "targets.average": 0.05,
    "targets.start": 0.0,
    "targets.edge_weight": 8.0,
    "targets.near": 2.0,
    "targets.known_above": 0.0,
}


@pytest.mark.parametrize(
    ("correct", "complete", "weighted"),
    [
        pytest.param("class", "class", False, marks=pytest.mark.long),
        ("class", "class", True),
        ("drop", "class", True),
        pytest.param("soft", "soft", False, marks=pytest.mark.long),
        pytest.param("soft", "soft", True, marks=pytest.mark.slow),
        pytest.param("posterior", "posterior", False, marks=pytest.mark.slow),
    ],
)
def test_no_gradient_reaches_the_teacher_and_the_loss_is_float64s(correct, complete, weighted):
    changes = {"targets.correct": correct, "targets.complete": complete, "loss.q": 0.4}
    changes |= {"targets.correct_above": 0.4, "targets.complete_above": 0.5}
    changes |= {"model.auxiliary_weight": 0.3, "arm.kind": "none"}
    shape, classes = (2, 6, 8), tiny.CLASSES
    weights = tuple(0.5 + np.arange(classes)) if weighted else ()
    method = dataclasses.replace(tiny.method(RECIPE | changes), class_weights=weights)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (2, 2, 2)).repeat(3, 1).repeat(4, 2).astype(np.uint8)
    labels[rng.random(shape) < 0.4] = 255
    extent = np.array([[6, 8], [5, 6]], np.int32)
    labels[1, 5:] = labels[1, :, 6:] = 255
    student, taught, aside = (3 * rng.standard_normal((*shape, classes)) for _ in range(3))
    state = tiny.Run(RECIPE | changes, with_arm=False).state.beliefs
    step = jnp.int32(10)

    def total(student, taught):
        given, new = beliefs.look(
            state, taught, jnp.asarray(labels), jnp.asarray(extent), step, method.config
        )
        terms = objective.from_scores(
            None, student, aside, jnp.asarray(labels), method, jnp.bool_(True), given
        )
        return terms.total, (given, new)

    aside = jnp.asarray(aside, jnp.float32)
    single = [jnp.asarray(x, jnp.float32) for x in (student, taught)]
    (found, (given, new)), gradients = jax.value_and_grad(total, (0, 1), has_aux=True)(*single)
    assert np.all(gradients[1] == 0) and np.any(gradients[0] != 0)

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    p, log_p = softmax(taught), np.log(softmax(student))
    log_aside = np.log(softmax(np.asarray(aside, np.float64)))
    inside = np.zeros(shape, bool)
    inside[0], inside[1, :5, :6] = True, True
    drawn, missing = labels != 255, (labels == 255) & inside
    distance = np.asarray(given.weights)  # of the formula, tested elsewhere
    table = None if new.counts is None else np.asarray(new.counts, np.float64)
    one, of_class = np.eye(classes), np.array(weights or [1.0] * classes)
    main = completion = auxiliary = 0.0
    dropped = 0
    for place in np.ndindex(shape):
        q = p[place]
        if table is not None:
            rows = table / table.sum(-1, keepdims=True)
            q = q * rows[:, labels[place] if drawn[place] else classes]
            q = q / q.sum()
        if drawn[place]:
            wrong = q.argmax() != labels[place]
            if correct == "posterior":
                target = q
            else:
                near = distance_of(labels, inside)[place] <= 2
                wrong = wrong and q.max() > (0.85 if near else 0.4)
                changed = one[q.argmax()] if correct == "class" else q
                target = changed if wrong else one[labels[place]]
            if correct == "drop" and wrong:
                auxiliary -= of_class[labels[place]] * log_aside[place][labels[place]]
                dropped += 1
                continue
            learnt = q.argmax() if wrong else labels[place]
            auxiliary -= of_class[learnt] * log_aside[place][learnt]
            main -= of_class[learnt] * distance[place] * (target * log_p[place]).sum()
        elif missing[place] and q.max() > 0.5:
            target = q if complete == "soft" else one[q.argmax()]
            completion -= of_class[q.argmax()] * (target * log_p[place]).sum()
    expected = (main + 0.3 * auxiliary) / drawn.sum()
    expected += completion / max(missing.sum(), drawn.sum())
    assert completion > 0 and (dropped > 0) == (correct == "drop")
    assert float(found) == pytest.approx(expected, rel=2e-5)


def distance_of(labels, inside):

    return np.asarray(targets.edge_distance(jnp.asarray(labels), jnp.asarray(inside), reach=9))


def test_the_matched_loss_has_the_plain_value_and_arm_feels_nothing():
    found = []
    for match in (False, True):
        loss = jnp.array([[0.2, 3.0, 1.0, 0.1]])
        v, valid = jnp.array([[0.9, -0.5, 0.1, 0.8]]), jnp.array([[True, True, True, False]])
        module = arm.Arm(rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(module)

        def total(params, loss, graphdef=graphdef, v=v, valid=valid, match=match):
            result = arm.adversarial_objective(
                nnx.merge(graphdef, params), v, loss, valid, match=match
            )
            return result.total, result

        gradients, result = jax.grad(total, (0, 1), has_aux=True)(params, loss)
        found.append((gradients, result))
    ((arm0, loss0), usual), ((arm1, loss1), matched) = found
    np.testing.assert_array_equal(tiny.flat(arm0), tiny.flat(arm1))
    np.testing.assert_allclose(loss1, loss0 / usual.ratio, rtol=1e-6)
    assert float(matched.main) == pytest.approx(float(usual.plain), rel=1e-6)
    assert matched.ratio == usual.ratio != 1
