"""Sources: what they read, and the one line they say about what they cannot."""

import io
import pickle
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from arm_jax.data import coarsen, headers, images, scenes, sources
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import STREET_SCENES, Table, generic
from arm_jax.data.pairs import FileSource
from arm_jax.data.trees import Folder, Zip
from arm_jax.system.errors import InputError

CLASSES = generic(["a", "b", "c"])


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    """Three pairs: two towns, jpg and png, different sizes."""
    rng = np.random.default_rng(0)
    for name, size in (("x/one.png", (20, 30)), ("x/two.jpg", (20, 30)), ("y/one.png", (16, 8))):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        label = rng.integers(0, 3, size).astype(np.uint8)
        label[0, 0] = 255
        write(tmp_path / "images" / "train" / name, image)
        write((tmp_path / "labels" / "train" / name).with_suffix(".png"), label)
    return tmp_path


def test_folders_are_matched_by_path(root):
    source = FolderSource(root, "train", CLASSES)
    assert isinstance(source, sources.Source)
    assert [source[i]["id"] for i in range(len(source))] == ["x/one", "x/two", "y/one"]
    record = source[2]
    folder = root / "images" / "train" / "y" / "one.png"
    np.testing.assert_array_equal(record["image"], np.asarray(Image.open(folder)))
    np.testing.assert_array_equal(
        record["label"], np.asarray(Image.open(root / "labels" / "train" / "y" / "one.png"))
    )
    assert record["image"].dtype == record["label"].dtype == np.uint8
    np.testing.assert_array_equal(
        source.inspect(2), np.bincount(record["label"].reshape(-1), minlength=256)
    )


def test_folders_without_splits(root):
    everything = FolderSource(root, "", CLASSES)
    assert [everything[i]["id"] for i in range(3)] == ["train/x/one", "train/x/two", "train/y/one"]


def test_sources_can_be_sent_to_a_worker(root, tmp_path):
    for source in (
        FolderSource(root, "train", CLASSES),
        sources.ScenesSource("val", 3, (32, 64)),
        sources.CoarsenedSource(sources.ScenesSource("val", 3, (32, 64)), coarsen.preset("mild")),
    ):
        source[1]
        copy = pickle.loads(pickle.dumps(source))
        np.testing.assert_array_equal(copy[1]["image"], source[1]["image"])
        np.testing.assert_array_equal(copy[1]["label"], source[1]["label"])


def test_a_table_gives_stored_values_their_meaning(root):
    table = Table.of({0: 255, 1: 2, 2: 0, 255: 255}, CLASSES)
    plain, mapped = (
        FolderSource(root, "train", CLASSES),
        FolderSource(root, "train", CLASSES, table=table),
    )
    stored = plain[0]["label"]
    expected = np.select([stored == 1, stored == 2], [2, 0], 255)
    np.testing.assert_array_equal(mapped[0]["label"], expected)
    assert plain.fingerprint() != mapped.fingerprint()


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


def broken(root, kind):
    """Damage the first pair; what the message must say."""
    image = root / "images" / "train" / "x" / "one.png"
    label = root / "labels" / "train" / "x" / "one.png"
    if kind == "values":
        pixels = np.array(Image.open(label))
        pixels[:2] = 7
        write(label, pixels)
        return rf"{label}: label values 7 \(10\.00% of the pixels\) are none of the 3 classes"
    if kind == "rgb":
        write(label, np.zeros((20, 30, 3), np.uint8))
        return rf"{label}: this label is an image of colours.*class index of each pixel"
    if kind == "size":
        write(label, np.zeros((20, 29), np.uint8))
        return rf"{label}: is 29x20 pixels, but its image {image} is 30x20"
    if kind == "truncated label":
        label.write_bytes(label.read_bytes()[:60])
        return rf"{label}: cannot be read"
    if kind == "truncated image":
        image.write_bytes(image.read_bytes()[:-200])
        return rf"{image}: cannot be read"
    if kind == "empty image":
        image.write_bytes(b"")
        return rf"{image}: cannot be read, it is empty"
    if kind == "text":
        image.write_text("no picture")
        return rf"{image}: cannot be read, it is no image in a known format"
    if kind == "wide":
        Image.fromarray(np.full((20, 30), 300, np.uint16)).save(label)
        return rf"{label}: label values from 300 to 300 do not fit a byte"
    if kind == "gone":
        label.unlink()
        return rf"{label}: cannot be read \(No such file"
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "values",
        "rgb",
        "size",
        "truncated label",
        "truncated image",
        "empty image",
        "text",
        "wide",
        "gone",
    ],
)
def test_a_bad_file_is_named_in_one_line(root, kind):
    source = FolderSource(root, "train", CLASSES)
    message = broken(root, kind)
    for read in (source.__getitem__, source.inspect):
        with pytest.raises(InputError, match=message) as caught:
            read(0)
        assert "\n" not in str(caught.value)
    source[1]


def test_values_unknown_to_a_table_are_named(root):
    source = FolderSource(root, "train", CLASSES, table=Table.of({0: 0, 255: 255}, CLASSES))
    with pytest.raises(InputError, match=r"one\.png: label values 1, 2 "):
        source[0]


def test_missing_files_are_named(root):
    (root / "labels" / "train" / "x" / "two.png").unlink()
    with pytest.raises(InputError, match=r"two\.jpg: has no label .*two\.png; add it"):
        FolderSource(root, "train", CLASSES)
    (root / "labels" / "train" / "y" / "one.png").unlink()
    with pytest.raises(InputError, match=r"\(nor have 1 others\)"):
        FolderSource(root, "train", CLASSES)


def test_missing_and_empty_folders_are_named(root, tmp_path):
    with pytest.raises(InputError, match="nowhere/images: no such folder"):
        FolderSource(tmp_path / "nowhere", "", CLASSES)
    with pytest.raises(InputError, match=r"images/val: no such folder; it has train: name one"):
        FolderSource(root, "val", CLASSES)
    (root / "images" / "val").mkdir()
    (root / "labels" / "val").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        FolderSource(root, "val", CLASSES)


def test_two_images_of_one_name_are_refused(root):
    write(root / "images" / "train" / "x" / "one.bmp", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(InputError, match="has the same name as"):
        FolderSource(root, "train", CLASSES)


def test_fingerprint_follows_the_files(root):
    before = FolderSource(root, "train", CLASSES).fingerprint()
    assert FolderSource(root, "train", CLASSES).fingerprint() == before
    write(root / "labels" / "train" / "x" / "one.png", np.zeros((20, 30), np.uint8))
    edited = FolderSource(root, "train", CLASSES).fingerprint()
    assert edited != before
    assert FolderSource(root, "train", generic(["a", "b", "c", "d"])).fingerprint() != edited


def test_a_zip_reads_like_its_folder(root, tmp_path_factory):
    archive = tmp_path_factory.mktemp("zips") / "all.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for path in sorted(root.rglob("*.*g")):
            writer.write(path, path.relative_to(root))
        writer.writestr("images/.DS_Store", b"x")
    pairs = [("x/two", "images/train/x/two.jpg", "labels/train/x/two.png")]
    assert Zip(archive).names() == Folder(root).names()
    source = pickle.loads(pickle.dumps(FileSource(Zip(archive), Zip(archive), pairs, CLASSES)))
    expected = FolderSource(root, "train", CLASSES)[1]
    np.testing.assert_array_equal(source[0]["image"], expected["image"])
    np.testing.assert_array_equal(source[0]["label"], expected["label"])
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(InputError, match=r"all\.zip: is no whole zip"):
        Zip(archive).names()


def test_scenes_and_their_simulated_coarse_labels():
    fine = sources.open_source("scenes", split="val", images=4, size=(64, 128))
    coarse = sources.open_source("scenes", split="val", images=4, size=(64, 128), labels="coarse")
    assert len(fine) == 4 and fine.classes == STREET_SCENES
    image, label = scenes.generate("val", 2, (64, 128))
    np.testing.assert_array_equal(fine[2]["image"], image)
    np.testing.assert_array_equal(fine[2]["label"], label)
    expected = coarsen.coarsen(
        label, STREET_SCENES, coarsen.PRESETS["medium"], seed=0, name="val_000002"
    )
    np.testing.assert_array_equal(coarse[2]["label"], expected)
    np.testing.assert_array_equal(coarse[2]["image"], image)
    with pytest.raises(IndexError):
        fine[4]


def test_joined_sources_count_on():
    parts = [
        sources.ScenesSource(split, number, (32, 64)) for split, number in (("a", 2), ("b", 3))
    ]
    joined = sources.JoinedSource(parts)
    assert len(joined) == 5
    assert [joined[i]["id"] for i in range(5)] == [
        *("a_000000", "a_000001"),
        *("b_000000", "b_000001", "b_000002"),
    ]
    assert sources.inspect(joined, 4).sum() == 32 * 64
    with pytest.raises(IndexError):
        joined[5]


def test_open_source_reads_folders(root):
    source = sources.open_source(
        "folders", root=root, split="train", classes=("a", "b", "c"), images=2
    )
    assert len(source) == 2 and source.classes == CLASSES
    assert source[1]["id"] == "x/two"
    with pytest.raises(IndexError):
        source[2]
    shifted = sources.open_source(
        "folders", root=root, classes=("a", "b", "c"), values={0: 1, 1: 2, 2: 0, 255: 255}
    )
    label = source[0]["label"]
    np.testing.assert_array_equal(
        shifted[0]["label"], np.where(label == 255, 255, (label.astype(int) + 1) % 3)
    )
    pairs = ((0, 1), (1, 2), (2, 0), (255, 255))
    same = sources.open_source("folders", root=root, classes=("a", "b", "c"), values=pairs)
    np.testing.assert_array_equal(same[0]["label"], shifted[0]["label"])
    named = sources.open_source("folders", root=root, classes=("cityscapes",))
    assert named.classes.names[0] == "road"
    coarse = sources.open_source(
        "folders", root=root, classes=("a", "b", "c"), coarsening="hard", wrong_share=0.2
    )
    assert (coarse[0]["label"] == 255).mean() > (label == 255).mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "imagenet"}, "dataset 'imagenet' is not known; choose one of folders"),
        ({"dataset": "scenes", "labels": "rough"}, "labels = 'rough'"),
        ({"dataset": "scenes", "coarsening": "rough"}, "coarsening 'rough' is unknown"),
        ({"dataset": "scenes", "wrong_share": 0.1}, "wrong_share = 0.1 has no effect"),
        ({"dataset": "folders", "root": "x"}, "x/images: no such folder; the data root must"),
        ({"dataset": "ade20k", "root": "x", "labels": "coarse"}, "ade20k has fine labels only"),
        ({"dataset": "street_scenes"}, "street_scenes is not at .*data.street_scenes"),
        ({"dataset": "folders", "root": "gs://b/x"}, "data.root gs://b/x is an address"),
    ],
)
def test_open_source_refuses_what_means_nothing(arguments, message):
    with pytest.raises(InputError, match=message):
        sources.open_source(**arguments)


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
