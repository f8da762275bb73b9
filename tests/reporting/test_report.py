"""The rows of a run's contact sheet."""

import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import arm
from arm_jax.reporting import report
from arm_jax.training.state import Players


def record():
    rng = np.random.default_rng(0)
    label = rng.integers(0, tiny.CLASSES, (32, 32)).astype(np.uint8)
    label[:8] = 255
    return {"image": rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), "label": label, "id": "a"}


@pytest.mark.parametrize(("kind", "extra"), [("var", 0), ("s", 1)])
def test_weights_are_relative_to_labelled_pixels_or_left_out(kind, extra):
    players = Players(tiny.segmenter(extra_channels=extra), arm.Arm(rngs=nnx.Rngs(0)))
    drawn = report.sample(players, record(), None, kind, 2.0)
    assert drawn.prediction.shape == (32, 32) and drawn.prediction.max() < tiny.CLASSES
    if kind == "s":
        assert drawn.weight is None
    else:
        assert np.isnan(drawn.weight[:8]).all()
        assert np.nanmean(drawn.weight) == pytest.approx(1.0, abs=1e-4)
