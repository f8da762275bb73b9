"""How sure a teacher must be, from where it contradicts; `training/test_look.py` has the counts."""

import jax.numpy as jnp
import pytest

from arm_jax import contradictions


@pytest.mark.parametrize(
    ("near", "far", "expected"),
    [
        (0.1, 0.0, 0.9),
        (0.1, 0.01, 0.9),
        (0.1, 0.02, 0.75),
        (0.1, 0.03, 0.6),
        (0.1, 0.5, 0.6),
        (0.0, 0.0, 0.9),
        (0.0, 0.01, 0.6),
    ],
)
def test_far_from_edges_the_teacher_must_be_surer_where_it_contradicts_near_them_alone(
    near, far, expected
):
    found = contradictions.far_threshold(jnp.float32(near), jnp.float32(far), 0.6)
    assert found == pytest.approx(expected, abs=1e-5)
    # No rule asks for less than was asked for.
    assert contradictions.far_threshold(jnp.float32(near), jnp.float32(far), 0.95) >= 0.95 - 1e-6


@pytest.mark.parametrize(
    ("near", "beyond", "expected"),
    [(0.1, 0.0, 0.9), (0.1, 0.018, 0.9), (0.1, 0.0255, 0.75), (0.1, 0.033, 0.6), (0.0, 0.1, 0.6)],
)
def test_behind_edges_the_teacher_must_be_surer_where_labels_are_right(near, beyond, expected):
    found = contradictions.inside_threshold(jnp.float32(near), jnp.float32(beyond), 0.6)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("near", "beyond", "expected"),
    [
        (0.28, 0.12, 0.0),  # sloppy outlines
        (0.17, 0.12, 1.0),  # wrong objects
        (0.13, 0.02, 1.0),  # fine labels, which a teacher smooths
        (0.18, 0.09, 0.5),
        (0.0, 0.0, 1.0),
        (0.1, 0.3, 1.0),
    ],
)
def test_labels_near_edges_are_not_trusted_where_contradictions_are_many_and_near_them(
    near, beyond, expected
):
    found = contradictions.edge_trust(jnp.float32(near), jnp.float32(beyond))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("near", "other", "complete", "known"),
    [
        (0.1, 0.0, 0.8, 0.5),
        (0.1, 0.018, 0.8, 0.5),
        (0.1, 0.0255, 0.875, 0.5 - 0.3 * 0.005 / 0.25),
        (0.1, 0.0375, 0.95, 0.35),
        (0.1, 0.05, 0.95, 0.2),
        (0.0, 0.0, 0.8, 0.5),
    ],
)
def test_less_is_completed_where_labels_are_wrong_and_less_need_be_found_where_objects_are(
    near, other, complete, known
):
    """The one by the contradictions behind edges, the other by those far from them."""
    shares = jnp.float32(near), jnp.float32(other)
    found = contradictions.complete_threshold(*shares, 0.9)
    assert found == pytest.approx(complete, abs=1e-5)
    assert contradictions.known_share(*shares, 0.5) == pytest.approx(known, abs=1e-5)
    assert contradictions.complete_threshold(*shares, 1.01) > 1  # never, as it was asked
