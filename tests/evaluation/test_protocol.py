"""What a protocol accepts, where it looks, and how it describes itself."""

import pytest

from arm_jax.data.augment import rescaled
from arm_jax.evaluation import protocol
from arm_jax.evaluation.protocol import Protocol
from arm_jax.system.errors import InputError


@pytest.mark.parametrize(
    ("image", "limits", "scale", "expected"),
    [
        ((1024, 2048), (2048, 1024), 0.75, (768, 1536)),  # Cityscapes
        ((512, 683), (2048, 512), 1.0, (512, 683)),  # ADE20K: the short side is 512
        ((300, 400), (2048, 512), 1.0, (512, 683)),
        ((300, 3000), (2048, 512), 1.0, (205, 2048)),  # the long side is the limit
        ((3000, 300), (512, 2048), 1.0, (2048, 205)),
        ((75, 101), (101, 75), 0.5, (37, 50)),  # limits are cut to (50, 37) first
        ((3, 1), (3, 1), 0.5, (1, 1)),
    ],
)
def test_sizes_are_rounded_as_mmcv_does(image, limits, scale, expected):
    assert rescaled(image, scale, limits) == expected


def test_whole_image_is_one_window():
    (window,) = Protocol().windows(37, 53)
    assert (window.view, window.padded, window.window) == ((37, 53),) * 3
    assert (window.rows, window.columns) == ((0,), (0,))


def test_windows_cover_the_scaled_image_and_shrink_to_it():
    windows = Protocol(crop=(32, 32), stride=(20, 24), scales=(0.5, 2.0)).windows(50, 80)
    assert windows[0].view == (25, 40)
    assert windows[0].window == (25, 32)
    assert (windows[0].rows, windows[0].columns) == ((0,), (0, 8))
    assert windows[1].window == (32, 32)
    assert windows[1].rows == (0, 20, 40, 60, 68)
    assert windows[1].columns == (0, 24, 48, 72, 96, 120, 128)


def test_the_default_stride_is_mmsegmentations():
    assert Protocol(crop=(769, 769)).stride == (513, 513)


def test_padding_groups_images_of_similar_size():
    padding = Protocol(multiple=32)
    shapes = {padding.windows(*size)[0].shape for size in ((65, 97), (96, 128), (70, 100))}
    assert len(shapes) == 1
    sliding = Protocol(multiple=32, crop=(64, 64), stride=(40, 40))
    assert sliding.windows(65, 97)[0].columns == (0, 33)  # the grid ends with the image


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": (4, 4)}, "no effect without crop"),
        ({"crop": (8, 8), "stride": (9, 4)}, "leaves gaps"),
        ({"crop": (8, 0)}, "two positive numbers"),
        ({"crop": (8, 8, 8)}, "two positive numbers"),
        ({"size": (2048, 512)}, "swap the two numbers"),
        ({"scales": ()}, "one or more positive"),
        ({"scales": (0.5, 0.0)}, "one or more positive"),
        ({"average": "softmax"}, "choose from logits, probabilities"),
        ({"keep_logits_on": "disk"}, "choose from device, host"),
        ({"multiple": 0}, "positive whole number"),
        ({"tta": "flip"}, "choose from none, ocr, mmsegmentation"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(InputError, match=message):
        protocol.create(**options)


def test_named_augmentations():
    ocr = protocol.create("ocr")
    assert (ocr.passes, ocr.average, ocr.scales[-1]) == (14, "logits", 2.0)
    mmsegmentation = protocol.create("mmsegmentation", crop=(64, 64))
    assert (mmsegmentation.passes, mmsegmentation.average) == (12, "probabilities")
    assert mmsegmentation.crop == (64, 64)


def test_the_description_is_in_plain_words():
    assert Protocol().describe() == (
        "whole image; single scale, no flip; logits resized bilinearly to the original size"
    )
    text = protocol.create("ocr", crop=(8, 16), stride=(6, 9), size=(32, 64), multiple=4).describe()
    for words in (
        "sliding windows of 8x16",
        "every 6 rows and 9 columns",
        "fit 32x64",
        "scales 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2 and horizontal flip: 14 passes, logits averaged",
        "multiples of 4",
    ):
        assert words in text
