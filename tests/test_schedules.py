"""The learning rate of Sec. 4.2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax import schedules


def test_cityscapes_schedule():
    """T = 40,000: warm-up to step 2,000, drops at 24,000 and 36,000."""
    rate = schedules.learning_rate(40_000)
    steps = jnp.array([0, 1000, 1999, 2000, 23_999, 24_000, 35_999, 36_000, 39_999])
    expected = [2e-4, 0.0101, 0.0199901, 0.02, 0.02, 0.002, 0.002, 2e-4, 2e-4]
    np.testing.assert_allclose(jax.jit(jax.vmap(rate))(steps), expected, rtol=1e-5)
    np.testing.assert_allclose([rate(int(s)) for s in steps], expected, rtol=1e-5)
    assert schedules.boundary(0.05, 40_000) == 2000


@pytest.mark.parametrize("total", [40_000, 160_000, 200_000])
def test_sum_of_the_rates(total):
    """0.05 T at half the rate, then 0.55 T, 0.3 T and 0.1 T: what decay and growth depend on."""
    rates = jax.vmap(schedules.learning_rate(total))(jnp.arange(total))
    expected = 0.02 * total * (0.05 * 0.505 + 0.55 + 0.03 + 0.001)
    np.testing.assert_allclose(np.sum(np.asarray(rates, np.float64)), expected, rtol=1e-4)


@pytest.mark.parametrize("total", [1, 2, 7, 50])
def test_short_runs_have_a_rate_at_every_step(total):
    rates = jax.vmap(schedules.learning_rate(total, base=0.1))(jnp.arange(total))
    assert np.all((rates > 0.00099) & (rates < 0.101))
    if schedules.boundary(0.05, total) == 0:
        np.testing.assert_allclose(rates[0], 0.1)


def test_fractions_are_arguments():
    rate = schedules.learning_rate(100, 1.0, warmup=0.0, drops=((0.5, 0.5),))
    np.testing.assert_allclose([rate(0), rate(49), rate(50), rate(99)], [1, 1, 0.5, 0.5])
    rate = schedules.learning_rate(100, 1.0, warmup=0.1, warmup_start=0.5, drops=())
    np.testing.assert_allclose([rate(0), rate(5), rate(10), rate(99)], [0.5, 0.75, 1, 1])


@pytest.mark.parametrize(
    ("kind", "middle", "before_last"),
    [("poly", 0.1 + 0.9 * 0.5**2, 0.1 + 0.9 / 90**2), ("cosine", 0.55, 0.1 + 0.9 * 2.742e-4 / 0.9)],
)
def test_smooth_falls_after_the_warmup(kind, middle, before_last):
    """Warm-up to step 10 of 100; half of the fall is at 55, and all of it at 100."""
    rate = schedules.learning_rate(100, 2.0, kind=kind, warmup=0.1, power=2.0, final=0.1)
    expected = [0.02, 1.01, 2.0, 2.0 * middle, 2.0 * before_last, 0.2, 0.2]
    steps = jnp.array([0, 5, 10, 55, 99, 100, 200])
    np.testing.assert_allclose(jax.jit(jax.vmap(rate))(steps), expected, rtol=1e-3)


def test_poly_is_mmsegmentations_without_a_warmup():
    rate = schedules.learning_rate(40_000, 0.01, kind="poly", warmup=0.0)
    found = [float(rate(step)) for step in (0, 20_000, 39_999)]
    np.testing.assert_allclose(
        found, [0.01, 0.01 * 0.5**0.9, 0.01 * (1 / 40_000) ** 0.9], rtol=1e-3
    )


@pytest.mark.parametrize(
    ("total", "first"), [(20, 0.3), (200, 0.3), (400, 0.3), (1000, 0.12), (40_000, 0.003)]
)
def test_arm_goes_equally_far_in_the_isolated_phase_of_every_run(total, first):
    length = schedules.arm_step_lengths(total)
    np.testing.assert_allclose([length(0), length(total // 2)], first, rtol=1e-6)
    if total >= 400:  # below, the longest step bounds it: as far in a tenth at 200
        np.testing.assert_allclose(total // 20 * length(0), schedules.ARM_PATH, rtol=1e-6)
    late = schedules.arm_step_lengths(total, drops=((0.5, 0.1),))(total - 1)
    np.testing.assert_allclose(late, 0.1 * first, rtol=1e-6)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="at least one step"):
        schedules.learning_rate(0)
    with pytest.raises(ValueError, match="not in order"):
        schedules.learning_rate(100, drops=((0.9, 0.01), (0.6, 0.1)))
    with pytest.raises(ValueError, match="steps, poly, cosine, got 'step'"):
        schedules.learning_rate(100, kind="step")
    with pytest.raises(ValueError, match="fraction"):
        schedules.boundary(5, 100)
