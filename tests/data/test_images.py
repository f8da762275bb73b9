"""Images and labels of every kind, whole and in part."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from arm_jax.data import headers, images, scenes
from arm_jax.system.errors import InputError


@pytest.mark.parametrize("kind", ["grey", "cmyk", "palette", "alpha", "rotated", "grey16"])
def test_every_kind_of_image_becomes_rgb(kind):
    rgb = np.zeros((16, 32, 3), np.uint8)
    rgb[:, :16], rgb[:, 16:] = (200, 30, 60), (20, 160, 220)
    picture, options = Image.fromarray(rgb), {"format": "PNG"}
    if kind == "grey":
        picture = picture.convert("L")
        rgb = np.asarray(picture.convert("RGB"))
    elif kind == "cmyk":
        picture, options = picture.convert("CMYK"), {"format": "JPEG", "quality": 95}
    elif kind == "palette":
        picture = picture.quantize(8)
    elif kind == "alpha":
        picture.putalpha(7)
    elif kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture = picture.transpose(Image.Transpose.ROTATE_90)  # as the camera stored it
        options = {"format": "JPEG", "quality": 95, "exif": exif}
    elif kind == "grey16":
        grey = rgb[..., 0]
        picture = Image.fromarray((grey.astype(np.uint16) << 8) + 9)
        rgb = np.repeat(grey[..., None], 3, 2)
    data = io.BytesIO()
    picture.save(data, **options)
    image = images.decode_image(data.getvalue(), "x")
    assert image.dtype == np.uint8 and image.shape == (16, 32, 3)
    away = np.abs(image.astype(int) - rgb)[:, [2, 8, 24, 29]]
    assert away.max() <= 4


@pytest.mark.parametrize("mode", ["P", "I;16", "1"])
def test_labels_of_other_kinds_are_indices(mode, tmp_path):
    label = np.array([[0, 1], [1, 0]], np.uint8)
    if mode == "P":
        picture = Image.fromarray(label)
        picture.putpalette([9, 8, 7, 200, 100, 50])
    elif mode == "I;16":
        picture = Image.fromarray(label.astype(np.uint16))
    else:
        picture = Image.fromarray(label.astype(bool))
    picture.save(tmp_path / "label.png")
    read = images.decode_label((tmp_path / "label.png").read_bytes(), "x")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, label)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_that_was_damaged_inside_is_named_and_one_with_rubbish_is_not(options):
    picture = Image.fromarray(scenes.generate("train", 0, (120, 200))[0])
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=90, **options)
    whole = stored.getvalue()
    middle, end = len(whole) // 2, whole[-2:]
    cut = whole[:middle] + end
    for damaged in (cut, whole[:middle] + bytes(1500) + whole[middle + 1500 :]):
        assert images.decode_image(damaged, "a.jpg").shape == (120, 200, 3)  # and says nothing
        with pytest.raises(InputError, match=r"a\.jpg: is damaged \(.*; fetch it again"):
            images.verify_image(damaged, "a.jpg")
    for one in (whole, whole + b"rubbish", whole[:-2] + b"\x00\x12" + end):
        assert images.verify_image(one, "a.jpg") == (120, 200)


def test_probe_accepts_rubbish_behind_a_picture():
    data = images.encode_png(np.zeros((4, 6, 3), np.uint8)) + bytes(5000)
    assert images.probe_image(data, "x") == (4, 6)
    jpeg = cv2.imencode(".jpg", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
    assert images.probe_image(jpeg, "x") == (4, 6)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "interlaced", "JPEG"])
def test_a_part_of_an_image_is_that_of_the_whole(mode):
    pixels = scenes.generate("train", 0, (40, 64))[0]
    picture, options = Image.fromarray(pixels), {"format": "PNG"}
    if mode == "JPEG":
        options = {"format": "JPEG", "quality": 90}
    elif mode == "interlaced":
        # Pillow cannot write one: a header that says so must be respected.
        data = images.encode_png(pixels)
        header = headers.read(data, "x")
        assert images._ends_early(data, header, 8)
        assert not images._ends_early(data[:28] + b"\x01" + data[29:], header, 8)
        return
    elif mode != "RGB":
        picture = picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, **options)
    whole = images.decode_image(file.getvalue(), "x")
    header = headers.read(file.getvalue(), "x")
    assert images._ends_early(file.getvalue(), header, 20) == (mode != "JPEG")
    for top, left, height, width in ((0, 0, 1, 64), (3, 5, 20, 30), (30, 60, 10, 4)):
        part = images.decode_image(file.getvalue(), "x", (top, left, height, width))
        np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])
