"""Every way to run on an image equals a slow float64 reference written out pixel by pixel."""

import pathlib

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation_standins import TinySegmenter, image
from flax import nnx

from arm_jax.data import augment
from arm_jax.evaluation import inference, passes, tiles
from arm_jax.evaluation.protocol import Protocol

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"


@pytest.fixture(scope="module")
def model():
    return TinySegmenter(num_classes=5, extra_channels=1, rngs=nnx.Rngs(0))


def normalised(picture):
    values = picture.astype(np.float64) - [123.675, 116.28, 103.53]
    return (values / [58.395, 57.12, 57.375]).astype(np.float32)


def stretched(values, size, align_corners=False):
    """Bilinear, float64, one output row or column a time."""
    for axis in (0, 1):
        number = values.shape[axis]
        lines = []
        for i in range(size[axis]):
            at = max((i + 0.5) * number / size[axis] - 0.5, 0.0)
            if align_corners:
                at = i * (number - 1) / max(size[axis] - 1, 1)
            low = min(int(at), number - 1)
            high = min(low + 1, number - 1)
            part = at - low
            lines.append(values.take(low, axis) * (1 - part) + values.take(high, axis) * part)
        values = np.stack(lines, axis)
    return values


def logits_at_full_size(model, picture, align_corners=False):
    """A normalised view (h, w, 3) -> float64 logits (h, w, classes)."""
    found = np.asarray(model(jnp.asarray(picture)[None]))[0, ..., : model.num_classes]
    return stretched(found.astype(np.float64), picture.shape[:2], align_corners)


def slow_scores(model, picture, how):
    """The protocol, one window and one pixel at a time."""
    total = 0.0
    for scale in how.scales:
        size = augment.rescaled(picture.shape[:2], scale, how.size)
        view = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)
        for mirrored in (False, True)[: 1 + how.flip]:
            seen = normalised(view[:, ::-1] if mirrored else view)
            if how.crop is None:
                scores = logits_at_full_size(model, seen, how.align_corners)
            else:
                scores, count = np.zeros((*size, model.num_classes)), np.zeros((*size, 1))
                crop = (min(how.crop[0], size[0]), min(how.crop[1], size[1]))
                for y in range(0, max(size[0] - crop[0], 0) + how.stride[0], how.stride[0]):
                    for x in range(0, max(size[1] - crop[1], 0) + how.stride[1], how.stride[1]):
                        top, left = min(y, size[0] - crop[0]), min(x, size[1] - crop[1])
                        if y - top >= how.stride[0] or x - left >= how.stride[1]:
                            continue
                        here = slice(top, top + crop[0]), slice(left, left + crop[1])
                        scores[here] += logits_at_full_size(model, seen[here], how.align_corners)
                        count[here] += 1
                scores /= count
            scores = scores[:, ::-1] if mirrored else scores
            scores = stretched(scores, picture.shape[:2], how.align_corners)
            if how.average == "probabilities":
                scores = np.exp(scores - scores.max(-1, keepdims=True))
                scores /= scores.sum(-1, keepdims=True)
            total = total + scores
    return total / how.passes


PROTOCOLS = {
    "whole": Protocol(),
    "resized": Protocol(size=(33, 40)),
    "sliding": Protocol(crop=(16, 24), stride=(7, 11), windows_at_once=5),
    "one window at a time": Protocol(crop=(32, 32), windows_at_once=1),
    "aligned corners": Protocol(size=(60, 61), crop=(25, 33), align_corners=True),
    "summed logits": Protocol(scales=(0.5, 1.25), flip=True),
    "mean probabilities": Protocol(scales=(0.75, 1.5), flip=True, average="probabilities"),
    "everything": Protocol(
        size=(48, 64), crop=(20, 24), stride=(13, 24), scales=(0.5, 1.0), flip=True
    ),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_scores_equal_the_slow_reference(model, name):
    picture = image(37, 53)
    expected = slow_scores(model, picture, PROTOCOLS[name])
    found = inference.class_scores(model, picture, PROTOCOLS[name])
    assert found.dtype == np.float32
    assert found.shape == (37, 53, 5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    labels = inference.predict(model, picture, PROTOCOLS[name])
    assert labels.dtype == np.uint8
    clear = np.diff(np.sort(expected, -1)[..., -2:])[..., 0] > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(labels[clear], expected.argmax(-1)[clear])
    assert len(np.unique(labels)) > 2


class GoldenSegmenter(nnx.Module):
    """The network of goldens/make_evaluation.py."""

    num_classes = 5

    def __init__(self, golden):
        rngs = nnx.Rngs(0)
        same = {"strides": 2, "padding": ((1, 1), (1, 1)), "rngs": rngs}
        self.conv1 = nnx.Conv(3, 8, (3, 3), **same)
        self.conv2 = nnx.Conv(8, 8, (3, 3), **same)
        self.head = nnx.Conv(8, 5, (1, 1), rngs=rngs)
        for module, key in (
            (self.conv1, "backbone.conv1"),
            (self.conv2, "backbone.conv2"),
            (self.head, "decode_head.conv_seg"),
        ):
            module.kernel[...] = golden[f"{key}.kernel"]
            module.bias[...] = golden[f"{key}.bias"]

    def __call__(self, images):
        return self.head(jax.nn.relu(self.conv2(jax.nn.relu(self.conv1(images)))))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("whole", Protocol()),
        ("slide", Protocol(crop=(16, 20), stride=(7, 11))),
        ("aligned", Protocol(crop=(17, 17), stride=(9, 9), align_corners=True)),
        ("augmented", Protocol(scales=(0.5, 1.0, 1.75), flip=True, average="probabilities")),
    ],
)
def test_scores_equal_mmsegmentation(name, how):
    golden = np.load(GOLDENS / "evaluation.npz")
    expected = golden[name]
    assert len(np.unique(expected.argmax(-1))) > 2
    found = inference.class_scores(GoldenSegmenter(golden), golden["image"], how)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_whole_equals_sliding_with_one_window(model):
    picture = image(37, 53)
    whole = inference.class_scores(model, picture)
    one = inference.class_scores(model, picture, Protocol(crop=(64, 64), stride=(10, 10)))
    np.testing.assert_array_equal(whole, one)


def test_channels_after_the_classes_take_no_part(model):
    graphdef, state = nnx.split(model)
    loud = nnx.merge(graphdef, jax.tree.map(jnp.copy, state))
    loud.head.bias[...] = loud.head.bias[...].at[5].set(1e6)
    np.testing.assert_array_equal(
        inference.predict(model, image(24, 24)), inference.predict(loud, image(24, 24))
    )


def test_padding_is_the_mean_colour_and_leaves_fitting_windows_alone(model):
    picture = image(37, 53)
    padded = np.zeros((48, 64, 3), np.float32)
    padded[:37, :53] = normalised(picture)
    expected = logits_at_full_size(model, padded)[:37, :53]
    found = inference.class_scores(model, picture, Protocol(multiple=16))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(
        inference.class_scores(model, picture, Protocol(crop=(16, 24), multiple=16, flip=True)),
        inference.class_scores(model, picture, Protocol(crop=(16, 24), flip=True)),
    )


@pytest.mark.parametrize("name", ["whole", "everything", "mean probabilities"])
def test_tiles_and_logits_kept_on_the_host_change_nothing(model, name, monkeypatch):
    picture, how = image(37, 53), PROTOCOLS[name]
    once = inference.class_scores(model, picture, how)
    monkeypatch.setattr(tiles, "TILE_BYTES", 5 * 4 * 5 * 64)  # five rows
    np.testing.assert_allclose(inference.class_scores(model, picture, how), once, atol=1e-6)
    options = {**vars(how), "keep_logits_on": "host"}
    host = Protocol(**options)
    np.testing.assert_allclose(inference.class_scores(model, picture, host), once, atol=1e-6)


def test_images_of_one_group_share_a_batch_and_its_programs(model):
    how = Protocol(multiple=32)
    pictures = [image(40, 50, 1), image(64, 64, 2), image(33, 60, 3)]
    network = passes.placed(model)
    batch = [passes.views(picture, how) for picture in pictures]
    alone = [inference.predict(model, picture, how) for picture in pictures]
    programs = passes.logits._cache_size(), tiles._labels._cache_size()
    together = np.asarray(inference.labels(network, batch[:1], how))
    assert (passes.logits._cache_size(), tiles._labels._cache_size()) == programs
    np.testing.assert_array_equal(together[0, :40, :50], alone[0])
    together = np.asarray(inference.labels(network, batch, how))
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found[: len(expected), : expected.shape[1]], expected)


def test_images_of_two_groups_are_refused(model):
    batch = [passes.views(image(*size), Protocol()) for size in ((8, 8), (8, 40))]
    with pytest.raises(ValueError, match="one group"):
        inference.labels(passes.placed(model), batch, Protocol())


def test_repeated_calls_compile_nothing_new(model):
    inference.predict(model, image(21, 22))
    programs = passes.logits._cache_size(), tiles._labels._cache_size()
    again = TinySegmenter(num_classes=5, extra_channels=1, rngs=nnx.Rngs(7))
    inference.predict(again, image(21, 22, seed=5))
    assert (passes.logits._cache_size(), tiles._labels._cache_size()) == programs


def test_only_colour_images_of_bytes_are_taken(model):
    with pytest.raises(ValueError, match=r"not uint8 \(8, 8\)"):
        inference.predict(model, image(8, 8)[..., 0])
    with pytest.raises(ValueError, match="not float32"):
        inference.predict(model, image(8, 8).astype(np.float32))


def shapes(size, *passes):
    """What `tiles` is called with for one image of this size and 150 classes."""
    shape = jax.ShapeDtypeStruct
    tile = tiles.TILE_BYTES // (4 * 150 * size[1])
    tables = [
        (shape((1, outputs, taps), jnp.int32), shape((1, outputs, taps), jnp.float32))
        for outputs, taps in ((-(-size[0] // tile) * tile, 2), (tile, 4), (size[1], 4))
    ]
    logits = [shape((1, *one, 150), jnp.float32) for one in passes]
    return tile, tables, logits


def test_150_classes_at_2000_by_3000_fit_as_a_whole():
    """Beside the network's logits (215 MiB) and the labels, two tiles, not 3.4 GiB."""
    tile, (rows, _, columns), (logits,) = shapes((2016, 3008), (500, 750))
    compiled = tiles._labels.lower(logits, rows, columns, tile=tile, beside="").compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * tiles.TILE_BYTES + 2048 * 3008


def test_150_classes_at_2000_by_3000_fit_with_augmentation():
    """Beside the logits of all passes, a few tiles however many passes there are."""
    tile, (_, rows, columns), (logits,) = shapes((2016, 3008), (1000, 1500))
    total = jax.ShapeDtypeStruct((1, tile, 3008, 150), jnp.float32)
    program = tiles._add.lower(total, logits, rows, columns, average="probabilities")
    used = program.compile().memory_analysis().temp_size_in_bytes
    assert used < 8 * tiles.TILE_BYTES


def test_small_scores_are_those_of_the_image_made_smaller(model):
    pictures = [image(32, 48, seed) for seed in (0, 1)]
    how = Protocol(multiple=8)
    prepared = [passes.views(one, how) for one in pictures]
    network = passes.placed(model)
    whole = list(inference.small_scores(network, prepared, how, longest=999))
    small = list(inference.small_scores(network, prepared, how, longest=24))
    for picture, found, half in zip(pictures, whole, small, strict=True):
        scores = inference.class_scores(model, picture, how)
        np.testing.assert_allclose(found, scores, atol=1e-5)
        np.testing.assert_allclose(half, stretched(scores, (16, 24)), atol=1e-5)
