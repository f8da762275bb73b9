"""Generated scenes: reproducible, the same at every size, and not to be told apart by colour."""

import numpy as np
import pytest

from arm_jax.data import scenes
from arm_jax.data.labels import STREET_SCENES


@pytest.fixture(scope="module")
def drawn():
    pairs = [scenes.generate("train", index) for index in range(40)]
    return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])


def test_shapes_types_and_values(drawn):
    images, label = drawn
    assert images.shape == (40, 128, 256, 3) and images.dtype == np.uint8
    assert label.shape == (40, 128, 256) and label.dtype == np.uint8
    assert label.max() < STREET_SCENES.number


def test_the_same_call_gives_the_same_bytes(drawn):
    images, label = drawn
    again = scenes.generate("train", 3)
    np.testing.assert_array_equal(again[0], images[3])
    np.testing.assert_array_equal(again[1], label[3])


def test_splits_and_indices_differ(drawn):
    _, label = drawn
    assert (scenes.generate("val", 3)[1] != label[3]).mean() > 0.1
    assert (label[4] != label[3]).mean() > 0.1


def test_every_class_occurs_and_in_most_scenes(drawn):
    _, label = drawn
    shares = np.bincount(label.reshape(-1), minlength=STREET_SCENES.number) / label.size
    assert shares.min() > 0.002
    assert shares.max() < 0.45
    frequency = [np.mean([(one == k).any() for one in label]) for k in range(STREET_SCENES.number)]
    assert min(frequency) > 0.25


def test_there_are_thin_and_small_objects(drawn):
    _, label = drawn
    pole = label == STREET_SCENES.names.index("pole")
    runs = np.diff(np.pad(pole, ((0, 0), (0, 0), (1, 1))).astype(np.int8), axis=2)
    starts, stops = (np.argwhere(runs == sign)[:, 2] for sign in (1, -1))
    assert np.median(stops - starts) <= 3


@pytest.mark.parametrize("size", [(64, 128), (256, 512)])
def test_another_size_is_the_same_street(drawn, size):
    _, label = drawn
    for index in range(3):
        other = scenes.generate("train", index, size)[1]
        assert other.shape == size
        rows, columns = (np.arange(n) * m // n for n, m in zip((64, 128), size, strict=True))
        same = other[np.ix_(rows, columns)] == label[index][::2, ::2]
        assert same.mean() > 0.93


def test_odd_sizes_work():
    image, label = scenes.generate("val", 1, (45, 33))
    assert image.shape == (45, 33, 3) and label.shape == (45, 33)


def test_colour_alone_does_not_tell_the_class(drawn):
    """A table from (coarse) colour to its commonest class errs on a third of other scenes."""
    images, label = drawn
    key = (images[..., 0] // 32 * 64 + images[..., 1] // 32 * 8 + images[..., 2] // 32).astype(int)
    counts = np.zeros((512, STREET_SCENES.number))
    np.add.at(counts, (key[:20].reshape(-1), label[:20].reshape(-1)), 1)
    guess = counts.argmax(1)[key[20:]]
    assert (guess == label[20:]).mean() < 0.67
    right = [(guess == k)[label[20:] == k].mean() for k in range(STREET_SCENES.number)]
    assert np.mean(right) < 0.35
