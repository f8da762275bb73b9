"""Images of other bands than RGB in bytes: read, augmented, normalised, and what is refused."""

import io

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from arm_jax import networks, settings
from arm_jax.data import augment, bands, images, pipeline
from arm_jax.data.folders import FolderSource
from arm_jax.data.survey import survey
from arm_jax.networks import input as inputs
from arm_jax.run import inputs as run_inputs
from arm_jax.system.errors import InputError
from arm_jax.weights import export, pretrained

tifffile = pytest.importorskip("tifffile")


def tiff(pixels, **options):
    file = io.BytesIO()
    layout = {"planarconfig": "contig"} if pixels.ndim == 3 else {}
    tifffile.imwrite(file, pixels, **{"photometric": "minisblack"} | layout | options)
    return file.getvalue()


def pixels(number, dtype=np.uint16, size=(20, 30)):
    largest = np.iinfo(dtype).max
    return np.random.default_rng(number).integers(0, largest + 1, (*size, number), dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_every_band_of_a_tiff_comes_as_it_is_stored(number, dtype, planar):
    there = pixels(number, dtype)
    if planar == "separate":
        if number == 1:
            pytest.skip("one band has no order")
        data = tiff(np.moveaxis(there, -1, 0), planarconfig="separate")
    else:
        data = tiff(there[..., 0] if number == 1 else there, compression="deflate")
    found = images.decode_image(data, "x", channels=number)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, there)
    np.testing.assert_array_equal(
        images.decode_image(data, "x", (3, 4, 10, 11), channels=number), there[3:13, 4:15]
    )
    with pytest.raises(InputError, match=rf"^x: has {number} bands?, and the run reads 7"):
        images.decode_image(data, "x", channels=7)


def test_other_files_too_in_the_order_red_green_blue_alpha():
    for number, dtype in ((1, np.uint8), (1, np.uint16), (3, np.uint16), (4, np.uint8)):
        there = pixels(number, dtype)
        swapped = there if number == 1 else there[..., [2, 1, 0, 3][:number]]
        data = cv2.imencode(".png", swapped)[1].tobytes()
        np.testing.assert_array_equal(images.decode_image(data, "x", channels=number), there)
        wrong = 5 - number
        with pytest.raises(InputError, match=rf"x: has {number} bands?, and the run reads {wrong}"):
            images.decode_image(data, "x", channels=wrong)
    with pytest.raises(InputError, match=r"^x: "):
        images.decode_image(data[:-40], "x", channels=4)


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_no_decoder_multiplies_colours_by_the_fourth_band_whatever_it_is_called(extra):
    there = pixels(4, np.uint8)
    data = tiff(there, photometric="rgb", extrasamples=[extra])
    np.testing.assert_array_equal(images.decode_image(data, "x"), there[..., :3])
    np.testing.assert_array_equal(images.decode_image(data, "x", channels=4), there)


def test_floats_and_damaged_files_are_one_line():
    with pytest.raises(InputError, match=r"^x: holds float numbers of 32 bits; save the image"):
        images.decode_image(tiff(np.zeros((4, 4, 5), np.float32)), "x", channels=5)
    data = tiff(pixels(5), compression="deflate")
    for cut in (10, 200, len(data) // 2):
        with pytest.raises(InputError, match=r"^x: ") as caught:
            images.decode_image(data[:cut], "x", channels=5)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_image_and_label_alike(orientation):
    label = np.arange(600, dtype=np.uint16).reshape(20, 30) % 200
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(label.astype(np.uint8)).save(file, "PNG", exif=exif)
    tag = (274, "H", 1, orientation, True)
    image = tiff(np.stack([label] * 5, -1), extratags=[tag])
    for turn in (True, False):
        seen = images.decode_image(image, "x", turn=turn, channels=5)[..., 3]
        np.testing.assert_array_equal(seen, images.decode_label(file.getvalue(), "y", turn=turn))
        assert seen.shape == images.probe_image(image, "x", turn=turn)
    assert (seen == label).all()


@pytest.mark.parametrize("number", [1, 2, 6])
def test_augmentation_moves_every_band_as_it_moves_the_label(number):
    """Each band is the label times a factor, and stays so."""
    label = np.zeros((40, 60), np.uint8)
    label[:, 30:] = 1
    image = np.stack([label.astype(np.uint16) * 1000 * (k + 1) for k in range(number)], -1)
    rng = np.random.default_rng(0)
    for crop, ratio in (((20, 20), (0.7, 1.6)), ((64, 90), (1.0, 1.0))):
        for _ in range(6):
            drawn, part = augment.draw(rng, label, crop=crop, ratio=ratio, category_limit=1.0)
            seen, moved, extent = augment.apply(image, part, drawn, crop=crop)
            assert seen.shape == (*crop, number) and seen.dtype == np.uint16
            inside = moved[: extent[0], : extent[1]]
            for k in range(number):
                band = seen[: extent[0], : extent[1], k] / (1000 * (k + 1))
                assert np.mean(np.abs(band - inside)) < 0.05
            assert not seen[extent[0] :].any() and not seen[:, extent[1] :].any()


def test_standardised_by_their_own_mean_and_deviation():
    own = inputs.Bands.of(("nir", "red"), (1000.0, 500.0), (100.0, 50.0))
    stored = jnp.asarray([[[[1200, 400], [1000, 500]]]], jnp.uint16)
    found = inputs.normalize(stored, jnp.array([[1, 2]]), own)
    np.testing.assert_allclose(found, [[[[2, -2], [0, 0]]]])
    assert inputs.Bands.of((), (), ()) == inputs.RGB


def test_a_first_kernel_keeps_its_response_to_equal_bands():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 4)).astype(np.float32)
    for names in (("",), ("red", "green"), ("a", "b", "c", "d"), ("nir", "red", "green", "blue")):
        found = inputs.first_kernel(kernel, names)
        assert found.shape == (3, 3, len(names), 4) and found.dtype == np.float32
    # One unknown band, and any number of them: the sum over the bands is that over the colours.
    for names in (("",), ("",) * 7):
        np.testing.assert_allclose(
            inputs.first_kernel(kernel, names).sum(2), kernel.sum(2), atol=1e-5
        )
    found = inputs.first_kernel(kernel, ("nir", "blue"))
    np.testing.assert_allclose(found[:, :, 1], 1.5 * kernel[:, :, 2], rtol=1e-6)
    np.testing.assert_allclose(found[:, :, 0], 1.5 * kernel.mean(2), rtol=1e-5)


def model(own=networks.RGB, seed=0):
    sizes = {"depths": (1, 0, 0, 0), "width": 4, "channels": 4, "low_level_channels": 4}
    return networks.create(
        "deeplabv3plus_resnet10", 2, output_stride=16, bands=own, rngs=nnx.Rngs(seed), **sizes
    )


def test_weights_for_colours_fit_other_bands_and_their_own_come_back():
    own = inputs.Bands.of(("nir", "red"), (1000.0, 500.0), (100.0, 50.0))
    for_colors, target = model(), model(own, 1)
    report = pretrained.load(target, export.tensors(for_colors))
    assert any("from three colours over 2, of which red keep" in note for note in report.notes)
    kernel = target.backbone.stem.layers[0].conv.kernel[...]
    there = np.asarray(for_colors.backbone.stem.layers[0].conv.kernel[...])
    np.testing.assert_allclose(kernel, inputs.first_kernel(there, own.names), rtol=1e-6)
    stated = export.metadata(target)
    assert stated["channels"] == '["nir", "red"]' and stated["mean"] == "[1000.0, 500.0]"
    assert "channels" not in export.metadata(for_colors)
    again = model(own, 2)
    assert not pretrained.load(again, export.tensors(target)).notes
    images = np.asarray(pixels(2, size=(32, 32)))[None]
    ours, theirs = (export.segmenting(m, (32, 32))(images)["scores"] for m in (again, target))
    np.testing.assert_array_equal(ours, theirs)
    assert export.any_number(target, (32, 32)).shape[1:] == (32, 32, 2)


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for k in range(3):
        (tmp_path / f"images/{k}.tif").write_bytes(tiff(pixels(5) // 2 + k))
        cv2.imwrite(str(tmp_path / f"labels/{k}.png"), np.eye(20, 30, dtype=np.uint8))
    return tmp_path


def test_a_folder_of_five_bands_trains_and_is_measured(folder):
    source = FolderSource(folder, "", ("sky", "road"), channels=5)
    assert source.inspect(1).sum() == 600
    batch = next(iter(pipeline.training_batches(source, crop=(16, 16), batch_size=2, seed=0)))
    assert batch["image"].shape == (2, 16, 16, 5) and batch["image"].dtype == np.uint16
    everything = np.concatenate([record["image"].reshape(-1, 5) for record in source])
    lines = survey(source, progress=False).table().split("\n")[-2:]
    for line, numbers in zip(lines, (everything.mean(0), everything.std(0)), strict=True):
        _, _, text = line.partition("--config.")
        key, _, value = text.partition("=")
        found = settings.parsed(key, value.strip("'"))
        np.testing.assert_allclose(found, numbers, rtol=1e-4)
    with pytest.raises(InputError, match=r"0\.tif: has 5 bands, and the network sees three; set d"):
        FolderSource(folder, "", ("sky", "road"))[0]
    assert bands.shown(source[0]["image"]).dtype == np.uint8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.channels": 4}, "data.mean = .* is of ImageNet's colours .* give 4 numbers, which"),
        ({"data.mean": (1.0,)}, "data.mean = .* are 1 numbers for 3 bands; give one for each"),
        ({"data.channels": ("a", "a")}, "data.channels = .* names a band twice"),
        ({"data.channels": 0}, "data.channels = 0; it must be a whole number from 1 to 512, or"),
        ({"data.channels": 1, "data.mean": (1.0,), "data.deviation": (0.0,)}, "above 0"),
        (
            {"data.channels": 1, "data.mean": (1.0,), "data.deviation": (1.0,)},
            "augment.jitter = True changes colours in bytes",
        ),
        (
            {
                "data.channels": 1,
                "data.mean": (1.0,),
                "data.deviation": (1.0,),
                "data.dataset": "camvid",
            },
            "data.channels = 1 is for data.dataset = 'folders'",
        ),
    ],
)
def test_settings_that_contradict_are_one_line(changes, words):
    with pytest.raises(InputError, match=words):
        settings.frozen(settings.defaults(), changes)


def test_the_run_reads_what_its_settings_say(folder):
    config = settings.frozen(
        settings.defaults(),
        {
            "data.root": str(folder),
            "data.train_split": "",
            "data.classes": ("sky", "road"),
            "data.channels": ("a", "b", "c", "d", "e"),
            "data.mean": 5 * (1e4,),
            "data.deviation": 5 * (1e4,),
            "augment.jitter": False,
        },
    )
    assert run_inputs.training_source(config)[0]["image"].shape == (20, 30, 5)
