"""Sources: what they read, and the one line about what they cannot."""

import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from arm_jax.data import coarsen, scenes, sources
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
        ({"dataset": "folders", "root": "hdfs://b/x"}, "data.root hdfs://b/x has the scheme"),
        ({"dataset": "street_scenes", "root": "gs://bucket/x"}, "written there before it is read"),
    ],
)
def test_open_source_refuses_what_means_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the checkout has data/street_scenes after `make demo`
    with pytest.raises(InputError, match=message):
        sources.open_source(**arguments)


def test_a_simulated_label_is_made_once_and_stays_the_same_beyond_the_memory(monkeypatch):
    scenes = sources.ScenesSource("val", 3, (32, 64))
    source = sources.CoarsenedSource(scenes, coarsen.preset("mild"))
    first = [source[index]["label"] for index in range(3)]
    made = []
    usual = coarsen.coarsen
    monkeypatch.setattr(coarsen, "coarsen", lambda *x, **y: made.append(1) or usual(*x, **y))
    again = [source.encoded(index)["label"] for index in range(3)]
    assert not made
    again[0][:] = 0  # a caller's own copy
    np.testing.assert_array_equal(source[0]["label"], first[0])
    small = sources.CoarsenedSource(scenes, coarsen.preset("mild"))
    small.KEPT_BYTES = 1
    for _ in range(2):
        for index in range(3):
            np.testing.assert_array_equal(small[index]["label"], first[index])
    assert len(made) == 6
