"""What a file claims is checked before it is decoded; what viewers show is what is read."""

import io
import resource

import cv2
import numpy as np
import pytest
from hostile_images import huge, png, saved, tiff
from PIL import Image, ImageOps

from arm_jax.data import headers, images
from arm_jax.data.folders import FolderSource
from arm_jax.data.image_files import LabelFile
from arm_jax.data.labels import generic
from arm_jax.system.errors import InputError

READERS = (images.decode_image, images.decode_label, images.probe_image, images.verify_image)


@pytest.mark.parametrize("kind", huge())
def test_a_header_of_a_huge_image_is_refused_in_one_line_without_its_memory(kind):
    data = huge()[kind]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in READERS:
        with pytest.raises(InputError) as caught:
            read(data, f"some/a.{kind}")
        message = str(caught.value)
        assert message.startswith(f"some/a.{kind}: its header asks for ")
        assert f"{len(data):,} bytes" in message and f"limit is {1 << 28:,} pixels" in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kilobytes


def test_a_tiff_of_more_tags_than_any_has_is_refused():
    tags = {256: 4, 257: 4, **{tag: 1 for tag in range(1_000, 3_000)}}
    with pytest.raises(InputError, match=r"a\.tif: cannot be read, it is damaged \(a TIFF of 2002"):
        headers.read(tiff(tags), "a.tif")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png(0, 5),
        png(4, 4, rows=b"\0\0"),
        b"II*\0\xff\xff\xff\xff",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"GIF89a\x05\0\x05\0\0\0\0;",
        saved(np.zeros((9, 9), np.uint8), "WEBP")[:40],
        b"P5\n4 4\n255\n12",
    ],
)
def test_files_that_hold_no_whole_image_are_one_line(data):
    with pytest.raises(InputError, match=r"^x: cannot be read, it .*; replace the file$"):
        images.decode_image(data, "x")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_images_are_turned_as_viewers_show_them(kind, orientation):
    pixels = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8))
    pixels = np.repeat(pixels[..., None], 3, 2)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = saved(pixels, kind, exif=exif, **options)
    wanted = Image.fromarray(pixels)
    wanted.getexif()[274] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(wanted))
    image = images.decode_image(data, "x")
    assert images.probe_image(data, "x") == images.verify_image(data, "x") == wanted.shape[:2]
    assert image.shape == wanted.shape
    assert np.abs(image.astype(int) - wanted).max() <= (3 if kind == "JPEG" else 0)
    part = images.decode_image(data, "x", (5, 7, 20, 9))
    np.testing.assert_array_equal(part, image[5:25, 7:16])
    stored = images.decode_image(data, "x", turn=False)
    assert np.abs(stored.astype(int) - pixels).max() <= (3 if kind == "JPEG" else 0)
    if kind in ("PNG", "TIFF"):
        grey = saved(pixels[..., 0], kind, exif=exif)
        np.testing.assert_array_equal(images.decode_label(grey, "x"), wanted[..., 0])
        np.testing.assert_array_equal(LabelFile(grey, "x"), wanted[..., 0])
        np.testing.assert_array_equal(images.decode_label(grey, "x", turn=False), pixels[..., 0])


def test_a_damaged_exif_block_turns_nothing():
    data = saved(np.zeros((8, 9, 3), np.uint8), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert images.decode_image(data, "x").shape == (8, 9, 3)


def turned_photograph(root, orientation, label_size):
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10] = 200
    Image.fromarray(pixels).save(root / "images" / "a.jpg", exif=exif)
    Image.fromarray(np.zeros(label_size, np.uint8)).save(root / "labels" / "a.png")


def test_training_reads_a_photograph_upright_with_a_label_drawn_upright(tmp_path):
    turned_photograph(tmp_path, 3, (20, 30))
    source = FolderSource(tmp_path, "", generic(["a", "b"]))
    upright = source[0]["image"]
    assert upright[:8].max() < 20 and upright[-8:].min() > 180
    np.testing.assert_array_equal(source.encoded(0)["image"].part(), upright)
    stored = FolderSource(tmp_path, "", generic(["a", "b"]), orientation="stored")
    assert stored[0]["image"][:8].min() > 180
    assert stored.fingerprint() != source.fingerprint()


@pytest.mark.parametrize(("orientation", "size"), [("exif", (20, 30)), ("stored", (30, 20))])
def test_a_label_that_lies_otherwise_than_its_image_is_explained(tmp_path, orientation, size):
    turned_photograph(tmp_path, 6, size)
    source = FolderSource(tmp_path, "", generic(["a", "b"]), orientation=orientation)
    other = {"exif": "stored", "stored": "exif"}[orientation]
    for read in (source.__getitem__, source.inspect, source.encoded):
        with pytest.raises(InputError, match=f"orientation 6 .*data.orientation = '{other}'"):
            read(0)
    again = FolderSource(tmp_path, "", generic(["a", "b"]), orientation=other)
    assert again[0]["image"].shape[:2] == size


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("colors", [0, 3])
def test_a_label_of_few_bits_holds_the_stored_numbers(bits, colors):
    numbers = np.arange(2**bits, dtype=np.uint8)
    per_byte = 8 // bits
    packed = bytes(
        sum(int(n) << (8 - bits * (k + 1)) for k, n in enumerate(numbers[i : i + per_byte]))
        for i in range(0, len(numbers), per_byte)
    )
    data = png(len(numbers), 1, bits=bits, colors=0, rows=b"\0" + packed)
    if colors == 3:
        picture = Image.fromarray(numbers[None])
        picture.putpalette([9 * k % 256 for k in range(3 * 2**bits)])
        file = io.BytesIO()
        picture.save(file, "PNG", bits=bits)
        data = file.getvalue()
        assert data[24] == bits
    np.testing.assert_array_equal(images.decode_label(data, "x"), numbers[None])
    np.testing.assert_array_equal(LabelFile(data, "x").upper(1), numbers[None])


LABEL = (np.arange(64).reshape(8, 8) % 3).astype(np.uint8)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (saved(LABEL, "JPEG", quality=95), "JPEG image with losses"),
        (saved(LABEL, "WEBP", quality=95), "WEBP image with losses"),
        (saved(LABEL, "TIFF", compression="jpeg"), "TIFF image with losses"),
        (b"P5 2 2 3\n\0\1\2\3", "inverted or stretched"),
        (b"P4 8 1\n\xaa", "inverted or stretched"),
        (saved(np.zeros((8, 8, 3), np.uint8), "PNG"), "RGB image, that is, colours"),
        (saved(np.full((8, 8), 999, np.uint16), "PNG"), "999 do not fit a byte"),
        (saved(np.full((8, 8), 0.5, np.float32), "TIFF"), "holds fractions"),
        (saved(np.full((8, 8), np.nan, np.float32), "TIFF"), "holds fractions"),
    ],
)
def test_labels_whose_numbers_were_changed_are_refused_by_name(data, reason):
    with pytest.raises(InputError, match=f"^some/label.png: .*{reason}"):
        images.decode_label(data, "some/label.png")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_labels_without_losses_are_read_as_they_are(kind):
    np.testing.assert_array_equal(images.decode_label(saved(LABEL, kind), "x"), LABEL)
    deep = saved(LABEL.astype(np.uint16), kind) if kind in ("PNG", "TIFF") else saved(LABEL, kind)
    np.testing.assert_array_equal(images.decode_label(deep, "x"), LABEL)


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 1), (np.uint16, 256)])
def test_of_a_tiff_with_four_bands_the_first_three_are_read(dtype, scale):
    bands = np.zeros((6, 8, 4), dtype)
    bands[...] = np.array([10, 90, 200, 50]) * scale
    data = cv2.imencode(".tif", bands[..., [2, 1, 0, 3]])[1].tobytes()
    np.testing.assert_array_equal(
        np.unique(images.decode_image(data, "x"), axis=1), [[[10, 90, 200]]] * 6
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (cv2.imencode(".tif", np.zeros((4, 4, 3), np.float32))[1].tobytes(), "float numbers of 32"),
        (cv2.imencode(".tif", np.zeros((4, 4), np.int32))[1].tobytes(), "signed numbers of 32"),
        (tiff({256: 4, 257: 4, 258: 8, 262: 1, 277: 7, 273: 8, 279: 112}), "has 7 bands"),
    ],
)
def test_a_tiff_of_other_numbers_is_refused_by_name(data, reason):
    for read in (images.decode_image, images.verify_image):
        with pytest.raises(InputError, match=f"^a.tif: .*{reason}.*save "):
            read(data, "a.tif")


def test_several_photographs_in_one_file_are_a_jpeg():
    first, second = (Image.fromarray(np.full((9, 7, 3), v, np.uint8)) for v in (20, 200))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    assert images.suffix(file.getvalue()) == ".jpg"
    image = images.decode_image(file.getvalue(), "x")
    assert image.shape == (9, 7, 3) and image.max() < 30
    for kind in ("PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM"):
        assert images.suffix(saved(np.zeros((4, 4), np.uint8), kind)) in images.SUFFIXES


def test_a_file_of_far_more_bytes_than_its_pixels_need_is_refused():
    image = saved(np.zeros((4, 6, 3), np.uint8), "PNG")
    assert headers.read(image + bytes(1 << 20), "a.png").stored == (4, 6)
    with pytest.raises(InputError, match=r"a.png: has 67,.* far more than its 6 x 4 pixels need"):
        headers.read(image + bytes((1 << 26) + 64 * 24), "a.png")
