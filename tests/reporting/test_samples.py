"""What a page shows of an image: at its own size or smaller, as the evaluation sees it."""

import functools

import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import arm
from arm_jax.data.labels import generic
from arm_jax.evaluation import boundary, inference
from arm_jax.evaluation.protocol import Protocol
from arm_jax.reporting import samples
from arm_jax.system import sharding
from arm_jax.training.state import Players

SIZES = [(32, 48), (64, 96), (32, 48)]


class Source:
    """Images of two sizes."""

    classes = generic(tuple("abcde"))

    def __len__(self):
        return len(SIZES)

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        size = SIZES[index]
        label = rng.integers(0, tiny.CLASSES, size).astype(np.uint8)
        label[:8] = 255
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        return {"image": image, "label": label, "id": f"image {index}"}


@functools.cache
def players(extra=0):
    return Players(tiny.segmenter(extra_channels=extra), arm.Arm(rngs=nnx.Rngs(0)))


def eye(extra=0, kind="var", **others):
    mesh = sharding.one_device()
    plain = {
        "protocol": Protocol(),
        "kind": kind,
        "p": 2.0,
        "batch_size": 2,
        "mesh": mesh,
        "boundary_width": 2,
    }
    return samples.Eye(players(extra), **(plain | others))


def test_every_image_has_its_own_prediction_and_weights_relative_to_its_labelled_pixels():
    seen, source = eye(), Source()
    drawn = samples.draw(seen, source, None, [2, 1, 0])
    assert [one.name for one in drawn] == ["image 2", "image 1", "image 0"]
    for index, one in zip((2, 1, 0), drawn, strict=True):
        record = source[index]
        expected = inference.predict(seen.players.segmenter, record["image"])
        np.testing.assert_array_equal(one.prediction, expected)
        np.testing.assert_array_equal(one.label, record["label"])
        near = boundary.near_boundaries(record["label"], 2) != 255
        np.testing.assert_array_equal(one.near, near)
        assert np.isnan(one.weight[:8]).all()
        assert np.nanmean(one.weight) == pytest.approx(1.0, abs=1e-4)


def test_an_arm_that_sees_the_losses_s_has_no_weight_map():
    [drawn] = samples.draw(eye(extra=1, kind="s"), Source(), None, [0])
    assert drawn.weight is None and drawn.confidence is None


def test_a_large_image_is_drawn_small_and_its_parts_stay_together(monkeypatch):
    monkeypatch.setattr(samples, "LONGEST", 48)
    source = Source()
    [drawn] = samples.draw(eye(), source, source, [1])
    for part in (drawn.image, drawn.label, drawn.coarse, drawn.prediction, drawn.weight):
        assert part.shape[:2] == (32, 48)
    np.testing.assert_array_equal(drawn.label, source[1]["label"][1::2, 1::2])


def test_averaged_probabilities_give_the_confidence_of_their_mean():
    how = Protocol(flip=True, average="probabilities")
    seen, source = eye(protocol=how), Source()
    [drawn] = samples.draw(seen, source, None, [0])
    p = inference.class_scores(seen.players.segmenter, source[0]["image"], how)
    u = (p.shape[-1] / (p.shape[-1] - 1)) * ((p - 1 / p.shape[-1]) ** 2).sum(-1)
    np.testing.assert_allclose(drawn.confidence, 2 * u - 1, atol=1e-4)
