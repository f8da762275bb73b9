"""Images that are larger than memory: read, labelled and written a part at a time."""

import itertools
import resource
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from arm_jax import networks
from arm_jax.data import headers, images, large_png
from arm_jax.data.labels import generic
from arm_jax.data.large import LargeTiff, opened
from arm_jax.evaluation import inference
from arm_jax.evaluation.blocks import Blocks, spans
from arm_jax.evaluation.predict import predict_images
from arm_jax.evaluation.protocol import Protocol, window_starts
from arm_jax.networks.input import Bands
from arm_jax.run.predicting import Predicts
from arm_jax.system.errors import InputError

tifffile = pytest.importorskip("tifffile")
CLASSES = generic(["a", "b", "c"])
SIZE = (150, 230)


def model(**options):
    sizes = {"depths": (1, 0, 0, 0), "width": 4, "channels": 4, "low_level_channels": 4}
    rngs = nnx.Rngs(0)
    network = networks.create(
        "deeplabv3plus_resnet10", 3, output_stride=16, rngs=rngs, **sizes, **options
    )
    kernel = network.head.classifier.kernel
    kernel[...] = 500 * kernel[...]  # fresh scores are nearly equal
    return network


def pixels(number=3, dtype=np.uint8):
    """Smooth, so that labels form regions."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [np.sin(y / (9 + k)) + np.cos(x / (7 + 2 * k)) + 2 for k in range(number)]
    return (np.stack(waves, -1) / 4 * np.iinfo(dtype).max).astype(dtype)


def write(path, array, **options):
    color = "rgb" if array.ndim == 3 and array.shape[-1] == 3 else "minisblack"
    layout = {"planarconfig": "contig"} if array.ndim == 3 else {}
    tifffile.imwrite(path, array, **{"photometric": color} | layout | options)
    return path


@pytest.mark.parametrize(
    ("number", "dtype", "options"),
    [
        (3, np.uint8, {}),
        (3, np.uint8, {"tile": (32, 48), "compression": "zlib"}),
        (3, np.uint8, {"tile": (16, 16), "compression": "lzw", "predictor": True}),
        (3, np.uint16, {"rowsperstrip": 7, "compression": "zlib"}),
        (1, np.uint8, {"rowsperstrip": 150, "byteorder": ">"}),
        (5, np.uint16, {"byteorder": ">"}),
        (5, np.uint16, {"planarconfig": "separate", "tile": (64, 32), "compression": "zlib"}),
        (5, np.uint8, {"planarconfig": "separate"}),
    ],
)
def test_every_part_is_what_the_whole_image_has_there(tmp_path, number, dtype, options):
    there = pixels(number, dtype)
    stored = there[..., 0] if number == 1 else there
    if options.get("planarconfig") == "separate":
        stored = np.moveaxis(there, -1, 0)
    path = write(tmp_path / "a.tif", stored, **options)
    channels = number if number == 5 else 0
    whole = images.decode_image(path.read_bytes(), "a", channels=channels)
    with LargeTiff(path, channels=channels) as image:
        assert image.size == SIZE
        for top, left, height, width in ((0, 0, *SIZE), (31, 47, 65, 99), (149, 229, 1, 1)):
            found = image.read(top, left, height, width)
            np.testing.assert_array_equal(found, whole[top : top + height, left : left + width])
            assert found.dtype == whole.dtype


def test_tiles_that_a_sparse_tiff_leaves_out_are_background(tmp_path):
    path, there = tmp_path / "a.tif", pixels()
    tifffile.imwrite(path, there, photometric="rgb", tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages[0].tags
        for tag in (tags["TileOffsets"], tags["TileByteCounts"]):
            tag.overwrite([0, *tag.value[1:]])
    with opened(path) as image:
        found = image.read(0, 0, *SIZE)
    assert (found[:64, :64] == 0).all()
    np.testing.assert_array_equal(found[64:], there[64:])


def test_brightness_and_differences_are_no_colours_but_in_a_jpeg(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(), photometric="ycbcr", compression="zlib")
    with pytest.raises(InputError, match=r"a.tif: is neither grey nor RGB; save it as RGB"):
        opened(path)


@pytest.mark.parametrize(
    ("mode", "bits"),
    [("RGB", 8), ("L", 8), ("LA", 8), ("RGBA", 8), ("P", 8), ("1", 1), ("RGB", 16), ("I;16", 16)],
)
def test_every_part_of_a_png_is_what_the_whole_image_has_there(tmp_path, monkeypatch, mode, bits):
    """With all five filters, in strips of a few rows; from above to below, and from the start."""
    monkeypatch.setattr(large_png, "_STRIP_BYTES", 5000)
    noisy = pixels(3, np.uint16) // 2 + np.random.default_rng(0).integers(
        0, 2000, (*SIZE, 3), np.uint16
    )
    path, channels = tmp_path / "a.png", 0
    if bits == 16:
        cv2.imwrite(str(path), noisy if mode == "RGB" else noisy[..., 0])
        channels = 3 if mode == "RGB" else 1
    else:
        picture = Image.fromarray((noisy // 257).astype(np.uint8)).convert(mode)
        picture.save(path, transparency=3) if mode == "P" else picture.save(path)
    for number in {0, channels}:
        whole = images.decode_image(path.read_bytes(), "a", channels=number)
        with opened(path, channels=number) as image:
            assert image.size == SIZE
            for top, left, height, width in ((0, 5, 40, 99), (31, 47, 65, 99), (149, 229, 1, 1)):
                found = image.read(top, left, height, width)
                np.testing.assert_array_equal(found, whole[top : top + height, left : left + width])
                assert found.dtype == whole.dtype
            np.testing.assert_array_equal(image.read(0, 0, *SIZE), whole)


def test_a_large_png_that_cannot_be_read_in_rows_is_one_line(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels()).save(path)
    data = path.read_bytes()
    for changed, words in (
        (data[:28] + b"\1" + data[29:], "is interlaced, and an image of this size is read row"),
        (data[:900] + bytes([data[900] ^ 255]) + data[901:], "a checksum of it is wrong"),
        (data[:25] + b"\7" + data[26:], "cannot be read"),
    ):
        path.write_bytes(changed)
        with pytest.raises(InputError, match=words) as caught, opened(path) as image:
            image.read(0, 0, *SIZE)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 40, 64, 65, 200, 333, 1000])
def test_kept_parts_cover_an_axis_once_and_windows_are_those_of_the_whole(size):
    for core, margin, crop, stride in ((64, 16, 0, 0), (100, 0, 0, 0), (50, 0, 64, 48)):
        found = spans(size, core, margin, crop, stride)
        assert found[0].first == 0 and found[-1].last == size
        assert all(a.last == b.first for a, b in itertools.pairwise(found))
        assert all(0 <= s.start <= s.first < s.last <= s.stop <= size for s in found)
        assert len({s.stop - s.start for s in found}) == 1 or crop
        if crop and size > crop:
            whole = window_starts(size, crop, stride)
            for span in found:
                own = window_starts(span.stop - span.start, crop, stride)
                seen = {start for start in whole if span.first - crop < start < span.last}
                assert {span.start + start for start in own} == seen


def predicted(path, tmp_path, protocol, network=None, maps=("confidence",), **options):
    cut = Blocks(above=1000, **options)
    predict_images(
        network or model(),
        path,
        tmp_path / "out",
        CLASSES,
        maps=maps,
        protocol=protocol,
        cut=cut,
        progress=False,
    )
    return tifffile.imread(tmp_path / "out/labels/a.tif")


@pytest.mark.slow
def test_sliding_windows_give_the_labels_of_the_whole_image(tmp_path):
    """At seams too; the confidence, the table and the preview are those of the whole as well."""
    path = write(tmp_path / "a.tif", pixels(), tile=(32, 32), compression="zlib")
    protocol, network = Protocol(crop=(64, 64), stride=(48, 40)), model()
    found = predicted(path, tmp_path, protocol, network, core=(60, 90))
    scores = inference.class_scores(network, pixels(), protocol)
    second, best = np.sort(scores, axis=-1)[..., -2:].transpose(2, 0, 1)
    sure = best - second > 1e-4
    assert sure.mean() > 0.99 and len(np.unique(found)) > 1
    np.testing.assert_array_equal(found[sure], scores.argmax(-1)[sure])
    v = 2 * tifffile.imread(tmp_path / "out/confidence/a.tif") / 65535 - 1
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    np.testing.assert_allclose(v, 3 * np.square(p - 1 / 3).sum(-1) - 1, atol=1e-4)
    row = (tmp_path / "out/predictions.csv").read_text().splitlines()[1].split(",")
    assert row[0] == "a.tif" and abs(float(row[1]) - v.mean()) < 1e-3
    with tifffile.TiffFile(tmp_path / "out/labels/a.tif") as file:
        page = file.pages[0]
        assert page.is_tiled and page.photometric == 3  # a palette
        np.testing.assert_array_equal(page.colormap[:, :3].T // 257, CLASSES.palette[:3])
    assert Image.open(tmp_path / "out/overlays/a.jpg").size == SIZE[::-1]
    left = {path.name for path in (tmp_path / "out/labels").iterdir()}
    assert left == {"a.tif"}


def test_without_windows_a_margin_keeps_seams_away(tmp_path):
    """One block with all of the image in its margin is the whole image; smaller ones come near."""
    path = write(tmp_path / "a.tif", pixels())
    network = model()
    whole = inference.predict(network, pixels())
    for core, margin, least in (((64, 64), 230, 1.0), ((64, 64), 32, 0.8)):
        found = predicted(path, tmp_path, Protocol(), network, core=core, margin=margin)
        assert (found == whole).mean() >= least


def test_bands_are_read_by_parts_too(tmp_path):
    path = write(tmp_path / "a.tif", pixels(5, np.uint16), tile=(32, 32))
    own = Bands.of(5, 5 * (3e4,), 5 * (1e4,))
    network = model(bands=own)
    found = predicted(path, tmp_path, Protocol(), network, core=SIZE)
    whole = inference.predict(network, pixels(5, np.uint16))
    assert (found == whole).mean() > 0.999
    with pytest.raises(InputError, match=r"a\.tif: has 5 bands, and the network sees three"):
        predicted(path, tmp_path, Protocol(), core=SIZE)


def test_what_cannot_be_cut_is_one_line(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", pixels())
    for protocol, maps, words in (
        (Protocol(size=(64, 64)), (), r"evaluation.size = \(64, 64\) fits the whole image"),
        (Protocol(), ("probabilities",), "leave out --probabilities"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            predicted(path, tmp_path, protocol, maps=maps)
        assert "\n" not in str(caught.value)
    write(path, pixels(), extratags=[(274, "H", 1, 6, True)])
    with pytest.raises(InputError, match="has the orientation 6, and an image of this size is no"):
        predicted(path, tmp_path, Protocol())
    monkeypatch.setattr("arm_jax.data.large._SEGMENT_PIXELS", 1000)
    write(path, pixels(), compression="zlib")
    with pytest.raises(
        InputError, match=r"its strips have 230 x .* compressed as one; save it wit"
    ):
        predicted(path, tmp_path, Protocol())
    write(path, pixels(), compression="zlib", tile=(16, 16))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"a\.tif: cannot be read .*; save it anew"):
        predicted(path, tmp_path, Protocol())
    assert not list((tmp_path / "out").rglob("*.tif*"))
    with pytest.raises(
        InputError, match=r"limit is .* have --mode predict label it as a TIFF or P"
    ):
        headers.check_size(20_000, 20_000, b"", "x")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path):
    """Sixteen times the pixels, in a process of its own each: the same memory but for a strip."""
    peaks = {}
    for side in (2000, 8000):
        path = tmp_path / f"{side}.tif"
        rows = np.random.default_rng(0).integers(0, 256, (256, side, 3), np.uint8)
        tiles = (
            rows[:, left : left + 256] if side - left >= 256 else np.zeros((256, 256, 3), np.uint8)
            for _ in range(0, side, 256)
            for left in range(0, side, 256)
        )
        tifffile.imwrite(
            path, tiles, shape=(side, side, 3), dtype=np.uint8, tile=(256, 256), compression="zlib"
        )
        done = subprocess.run(
            [sys.executable, __file__, str(path), str(tmp_path / f"out{side}")],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        peaks[side] = int(done.stdout.split()[-1])
        with tifffile.TiffFile(tmp_path / f"out{side}/labels/{side}.tif") as file:
            assert file.pages[0].shape == (side, side)
    assert peaks[8000] - peaks[2000] < 150 * 2**20, peaks  # the image alone has 192 MB


if __name__ == "__main__":  # what the test above measures
    predict_images(
        model(),
        sys.argv[1],
        sys.argv[2],
        CLASSES,
        cut=Blocks(above=1000, core=(512, 512), margin=128),
        progress=False,
    )
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def test_an_array_without_pixels_is_no_image():
    class Trained(Predicts):
        model = types.SimpleNamespace(bands=Bands())

    for shape in ((0, 4, 3), (4, 0, 3)):
        with pytest.raises(InputError, match="an image must have pixels, not the shape"):
            Trained().predict(np.zeros(shape, np.uint8))
