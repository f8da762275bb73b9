"""Charts: what is thinned keeps its extremes, axes have round marks, intervals their quantile."""

import numpy as np
import pytest

from arm_jax.reporting import intervals
from arm_jax.reporting.pages import charts
from arm_jax.reporting.pages.charts import Chart, Series


def test_a_long_line_keeps_its_mean_and_its_extremes():
    y = np.sin(np.arange(10_000.0))
    y[1234] = 50.0
    [(_, points)] = Chart("t", "x", [Series("a", range(10_000), y)]).shown
    assert len(points.x) == charts.MOST_POINTS
    assert points.high.max() == 50.0 and points.low.min() == y.min()
    sizes = np.diff([*np.linspace(0, 10_000, 300, endpoint=False).astype(int), 10_000])
    assert np.average(points.y, weights=sizes) == pytest.approx(y.mean())


def test_the_ends_of_the_axes_are_the_corners_of_the_chart():
    chart = Chart("t", "x", [Series("a", [10, 20], [0.0, 4.0])], from_zero=True)
    x, y = chart.to_x(np.array([10, 20])), chart.to_y(np.array([0, 4]))
    assert x.tolist() == [charts.LEFT, charts.WIDTH - charts.RIGHT]
    assert y.tolist() == [charts.HEIGHT - charts.BOTTOM, charts.TOP]
    assert [tick.text for tick in chart.y_ticks] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("values", [[3.0], [0.0], [-2.0, -2.0], [1e-9, 2e-9], [1e8, 3e8]])
@pytest.mark.parametrize("from_zero", [False, True])
def test_every_range_has_marks_inside_it(values, from_zero):
    chart = Chart("t", "x", [Series("a", range(len(values)), values)], from_zero=from_zero)
    at = [tick.at for tick in chart.y_ticks]
    assert len(at) >= 2 and all(charts.TOP - 0.1 <= y <= 184.1 for y in at)
    inside = chart.to_y(np.array(values))
    assert (inside >= charts.TOP - 1e-6).all() and (inside <= 184 + 1e-6).all()


def test_a_logarithmic_axis_leaves_zeros_out_and_shows_the_least_bar():
    bars = Series("a", [0, 1, 2], [0.0, 100.0, 1.0], bars=True)
    chart = Chart("t", "x", [bars], log=True)
    [(_, points)] = chart.shown
    assert points.y.tolist() == [100.0, 1.0]
    assert (chart.to_y(points.y) < 184).all()


def test_a_series_without_a_point_is_no_series():
    assert Chart("t", "x", [Series("a", [], []), Series("b", [1], [np.nan])]).shown == []


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (2, 4.303), (9, 2.262), (30, 2.042)])
def test_the_quantiles_are_those_of_the_tables(freedom, t):
    assert intervals.quantile(freedom) == pytest.approx(t, abs=2e-3)
    assert intervals.p_value(t, freedom) == pytest.approx(0.05, abs=2e-4)


def test_one_value_has_no_interval():
    assert intervals.half_width([1.0]) is None
    assert intervals.half_width([1.0, 1.0]) == 0
