"""Expected calibration error, against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation_standins import Records, TinySegmenter
from flax import nnx

from arm_jax import inference
from arm_jax.evaluation import calibration, evaluate
from arm_jax.evaluation.calibration import BINS, NARROW, Calibration
from arm_jax.evaluation.protocol import Protocol


def counted(probability, right, label=None):
    prediction = np.zeros(len(right), int)
    label = np.where(right, 0, 1) if label is None else label
    found = calibration.counts(jnp.asarray(probability), jnp.asarray(prediction), label, 2)
    return Calibration(np.asarray(found, np.int64))


def test_by_the_definition():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.2, 1.0, 5000).astype(np.float32)
    right = rng.uniform(size=5000) < probability**2
    found = counted(probability, right)
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    error = 0.0
    for number in range(BINS):
        inside = bins == number
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - probability[inside].mean())
            assert found.pixels[number] == inside.sum()
            np.testing.assert_allclose(found.accuracy[number], right[inside].mean())
            np.testing.assert_allclose(found.claim[number], probability[inside].mean(), atol=1e-3)
    assert error > 0.1
    assert found.error == pytest.approx(100 * error, abs=0.05)


def test_by_hand():
    """Ten pixels that claim 0.9 and are right at 6, ten that claim 0.5 and are right at 5."""
    found = counted(np.repeat([0.9, 0.5], 10), np.arange(20) % 10 < np.repeat([6, 5], 10))
    assert found.error == pytest.approx(15, abs=0.05)
    bins = found.as_dict()["bins"]
    assert [one["pixels"] for one in bins] == [10, 10]
    assert [one["accuracy"] for one in bins] == [50, 60]


def test_pixels_without_a_label_do_not_count_and_certainty_has_a_bin():
    found = counted([1.0, 1.0, 0.0], [True] * 3, np.array([0, 255, 2]))
    assert found.pixels.sum() == found.pixels[-1] == 1
    empty = Calibration(np.zeros((2, BINS * NARROW), np.int64))
    assert np.isnan(empty.error) and empty.as_dict() == {"ECE": None, "bins": []}


@pytest.mark.parametrize(
    "protocol",
    [Protocol(), Protocol(flip=True), Protocol(flip=True, average="probabilities")],
    ids=["once", "logits", "probabilities"],
)
def test_an_evaluation_counts_the_mean_of_its_passes(protocol):
    model = TinySegmenter(num_classes=5, rngs=nnx.Rngs(0))
    source = Records([(24, 32), (20, 28)])
    found = evaluate.evaluate(model, source, batch_size=2, protocol=protocol, progress=False)
    expected = np.zeros((2, BINS * NARROW), np.int64)
    for record in (source[0], source[1]):
        scores = jnp.asarray(inference.class_scores(model, record["image"], protocol))
        mean = scores if protocol.average == "probabilities" else jax.nn.softmax(scores)
        labels = record["label"]
        expected += np.asarray(calibration.counts(mean.max(-1), mean.argmax(-1), labels, 5))
    assert found.calibration.pixels.sum() == expected.sum() > 0
    np.testing.assert_array_equal(found.calibration.pixels, Calibration(expected).pixels)
    assert found.calibration.error == pytest.approx(Calibration(expected).error, abs=0.1)
