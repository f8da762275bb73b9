"""The servers get what the network predicts, under the right names, or nothing at all."""

import io
import zipfile

import numpy as np
import pytest
from evaluation_standins import TinySegmenter, image
from flax import nnx
from PIL import Image

from arm_jax.data import labels
from arm_jax.data.trees import Folder, Zip
from arm_jax.evaluation import inference, server_files
from arm_jax.evaluation.server_files import SERVERS
from arm_jax.system import outputs
from arm_jax.system.errors import InputError

SIZE = (32, 64)


@pytest.fixture(scope="module")
def model():
    return TinySegmenter(num_classes=19, rngs=nnx.Rngs(0))


@pytest.fixture
def cityscapes():
    """The server, of miniature images."""
    return server_files.Server(**{**vars(SERVERS["cityscapes"]), "size": SIZE, "images": 3})


def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture
def root(tmp_path):
    for split, city, frame in (
        ("test", "berlin", 0),
        ("test", "berlin", 1),
        ("test", "bad-honnef", 0),
        ("val", "munster", 0),
    ):
        name = f"{city}_000000_{frame:06d}_leftImg8bit.png"
        write(tmp_path / "leftImg8bit" / split / city / name, image(*SIZE, seed=frame))
    return tmp_path / "leftImg8bit"


def test_cityscapes_gets_label_ids_that_read_back_as_the_prediction(
    model, cityscapes, root, tmp_path
):
    target = tmp_path / "out" / "results.zip"
    remarks = server_files.write_zip(model, Folder(root), target, cityscapes, progress=False)
    assert remarks == ["3 predictions for Cityscapes, checked"]
    with zipfile.ZipFile(target) as archive:
        assert sorted(archive.namelist()) == [
            "bad-honnef_000000_000000_leftImg8bit.png",
            "berlin_000000_000000_leftImg8bit.png",
            "berlin_000000_000001_leftImg8bit.png",
        ]
        stored = Image.open(io.BytesIO(archive.read("berlin_000000_000001_leftImg8bit.png")))
    assert stored.mode == "L"
    predicted = inference.predict(model, image(*SIZE, seed=1))
    np.testing.assert_array_equal(labels.CITYSCAPES_TABLE(np.asarray(stored)), predicted)
    ids = np.array(labels.CITYSCAPES_IDS)[predicted]
    np.testing.assert_array_equal(stored, ids)
    assert {path.name for path in target.parent.iterdir()} == {outputs.JOURNAL, target.name}


def test_images_may_come_from_the_zip_and_missing_ones_are_remarked_on(
    model, cityscapes, root, tmp_path
):
    source = tmp_path / "leftImg8bit_trainvaltest.zip"
    with zipfile.ZipFile(source, "w") as archive:
        for path in sorted((root / "test" / "berlin").iterdir()):
            archive.write(path, path.relative_to(root.parent))
    target = tmp_path / "results.zip"
    remarks = server_files.write_zip(model, Zip(source), target, cityscapes, progress=False)
    assert remarks[0].startswith("2 predictions")
    assert "has 3 images: the server will refuse" in remarks[1]


def test_ade20k_gets_classes_from_one_at_the_size_of_each_image(tmp_path):
    model = TinySegmenter(num_classes=150, rngs=nnx.Rngs(1))
    sizes = [(24, 40), (30, 24)]
    for number, size in enumerate(sizes):
        write(tmp_path / "in" / f"ADE_test_{number:08d}.jpg", image(*size, seed=number))
    target = tmp_path / "results.zip"
    server = SERVERS["ade20k"]
    remarks = server_files.write_zip(model, Folder(tmp_path / "in"), target, server, progress=False)
    assert remarks == ["2 predictions for ADE20K, checked"]
    with zipfile.ZipFile(target) as archive:
        for number, size in enumerate(sizes):
            stored = np.asarray(Image.open(io.BytesIO(archive.read(f"ADE_test_{number:08d}.png"))))
            assert stored.shape == size
            picture = np.asarray(Image.open(tmp_path / "in" / f"ADE_test_{number:08d}.jpg"))
            np.testing.assert_array_equal(stored, inference.predict(model, picture) + 1)


def png(values):
    data = io.BytesIO()
    Image.fromarray(values).save(data, format="PNG")
    return data.getvalue()


GOOD = np.full(SIZE, 7, np.uint8)
NAME = "berlin_000000_000000"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-30], "no whole zip"),
        (lambda data: data.replace(b"IDAT", b"IDOT"), "no whole zip"),
        (
            lambda data: data.replace(
                NAME.encode(), b"another_name_of_file"[: len(NAME)].ljust(len(NAME), b"_")
            ),
            "no whole zip",
        ),
    ],
)
def test_a_damaged_zip_is_refused(cityscapes, tmp_path, damage, message):
    path = tmp_path / "results.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{NAME}.png", png(GOOD))
    digests = {f"{NAME}.png": server_files._digest(cityscapes.table(GOOD))}
    server_files.check_zip(path, cityscapes, digests)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        server_files.check_zip(path, cityscapes, digests)


def test_what_does_not_read_back_gets_no_name(model, cityscapes, root, tmp_path, monkeypatch):
    encode = server_files.encode_png
    monkeypatch.setattr(server_files, "encode_png", lambda stored: encode(np.full_like(stored, 8)))
    target = tmp_path / "results.zip"
    with pytest.raises(InputError, match="does not read back"):
        server_files.write_zip(model, Folder(root), target, cityscapes, progress=False)
    assert not target.exists()
    hidden = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert hidden <= {outputs.JOURNAL}


def test_what_cannot_be_exported_is_named(model, cityscapes, root, tmp_path):
    target = tmp_path / "results.zip"
    with pytest.raises(InputError, match="19 classes but ADE20K has 150"):
        server_files.write_zip(model, Folder(root), target, SERVERS["ade20k"])
    with pytest.raises(InputError, match="pixels, but Cityscapes's images are 2048x1024"):
        server_files.write_zip(model, Folder(root), target, SERVERS["cityscapes"], progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no test image of Cityscapes"):
        server_files.write_zip(model, Folder(tmp_path / "empty"), target, cityscapes)
    write(root / "test" / "copy" / "berlin_000000_000000_leftImg8bit.png", image(*SIZE))
    with pytest.raises(InputError, match="another image of this name"):
        server_files.write_zip(model, Folder(root), target, cityscapes)
    assert not target.exists()
