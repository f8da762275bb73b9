"""A folder of anything that is an image becomes index PNGs and overlays, whole or not at all."""

import csv
import os

import jax
import numpy as np
import pytest
from evaluation_standins import TinySegmenter, classes, image
from flax import nnx
from hostile_images import huge, no_files
from PIL import Image

from arm_jax import arm
from arm_jax.data import chosen
from arm_jax.data.labels import generic
from arm_jax.evaluation import inference, predict
from arm_jax.evaluation.predictions import read_image
from arm_jax.evaluation.protocol import Protocol
from arm_jax.system import locks, outputs, sharding
from arm_jax.system.errors import InputError

CLASSES = generic(("road", "car", "tree", "sky", "pole"))


@pytest.fixture(scope="module")
def model():
    return TinySegmenter(num_classes=5, rngs=nnx.Rngs(0))


def run(model, source, target, **options):
    return predict.predict_images(model, source, target, CLASSES, **({"progress": False} | options))


def files(folder):
    """But for hidden ones."""
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(str(path) for path in found if not path.name.startswith("."))


@pytest.fixture
def folder(tmp_path):
    """Two sizes, three formats, a subfolder, a hidden file and something that is no image."""
    source = tmp_path / "in"
    (source / "night").mkdir(parents=True)
    Image.fromarray(image(24, 32, 1)).save(source / "a.png")
    Image.fromarray(image(40, 28, 2)).save(source / "night" / "b.BMP")
    Image.fromarray(image(24, 32, 3)[..., 0]).save(source / "grey.png")
    (source / "notes.txt").write_text("no image")
    (source / ".hidden.png").write_text("no image either")
    return source


def test_labels_are_indices_in_a_palette_and_overlays_have_the_images_size(model, folder, tmp_path):
    target = tmp_path / "out"
    assert run(model, folder, target) == 3
    assert files(target) == [
        "labels/a.png",
        "labels/grey.png",
        "labels/night/b.png",
        "overlays/a.jpg",
        "overlays/grey.jpg",
        "overlays/night/b.jpg",
        "predictions.csv",
    ]
    for name, picture in (("a", image(24, 32, 1)), ("night/b", image(40, 28, 2))):
        label = Image.open(target / "labels" / f"{name}.png")
        assert label.mode == "P"
        np.testing.assert_array_equal(label, inference.predict(model, picture))
        np.testing.assert_array_equal(
            label.convert("RGB"), np.array(CLASSES.colors, np.uint8)[np.asarray(label)]
        )
        assert Image.open(target / "overlays" / f"{name}.jpg").size == label.size


def test_a_second_run_replaces_and_does_not_read_its_own_output(model, folder):
    target = folder / "predictions"
    run(model, folder, target)
    first = files(target)
    old = (target / "labels" / "a.png").read_bytes()
    Image.fromarray(image(24, 32, 9)).save(folder / "a.png")
    assert run(model, folder, target) == 3
    assert files(target) == first
    assert (target / "labels" / "a.png").read_bytes() != old
    # A label corrected by hand is no longer the command's.
    (target / "labels" / "grey.png").write_text("corrected")
    with pytest.raises(InputError, match=r"labels/grey\.png is there already .* changed since"):
        run(model, folder, target)
    assert (target / "labels" / "grey.png").read_text() == "corrected"


def test_a_list_may_have_a_mark_and_names_that_are_no_text(model, folder, tmp_path):
    """As Windows' editor saves it, and as Linux allows them."""
    name = os.fsdecode(b"\xe91.png")
    (folder / "grey.png").rename(folder / name)
    listed = tmp_path / "some.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + os.fsencode(f"{folder}/a.png\r\n{folder / name}\r\n"))
    assert run(model, listed, tmp_path / "out") == 2
    table = (tmp_path / "out" / "predictions.csv").read_bytes().splitlines()
    assert {line.partition(b".")[0] for line in table[1:]} == {b"a", b"\xe91"}
    listed.write_text(f"{folder}/a.png", encoding="utf-16")
    with pytest.raises(InputError, match=r"some\.txt: is no list of images in UTF-8; save it as"):
        run(model, listed, tmp_path / "out")


def test_what_another_run_predicted_into_the_same_folder_is_not_read(model, folder):
    for target in (folder / "of one", folder / "of another"):
        assert run(model, folder, target) == 3


@pytest.mark.parametrize("way", ["root", "labels", "link", "link below", "a link to it inside"])
def test_a_data_set_is_never_written_into(model, folder, tmp_path, way):
    root = tmp_path / "data"
    (root / "labels" / "night").mkdir(parents=True)
    folder.rename(root / "images")
    for name in ("a", "grey", "night/b"):
        (root / "labels" / f"{name}.png").write_text("truth")
    target, message = {
        "root": (root, "data holds images, which predict did not write"),
        "labels": (root / "labels", "labels holds a.png"),
        "link": (tmp_path / "link", "link holds images"),
        "link below": (tmp_path / "link" / "labels", "labels holds a.png"),
        "a link to it inside": (tmp_path / "out", "labels/a.png is there already"),
    }[way]
    (tmp_path / "link").symlink_to(root)
    if way == "a link to it inside":
        outputs.claim(target, "predict")
        (target / "labels").symlink_to(root / "labels")
    with pytest.raises(InputError, match=message):
        run(model, root / "images", target)
    assert {path.read_text() for path in (root / "labels").rglob("*.png")} == {"truth"}
    assert sorted(p.name for p in root.iterdir()) == ["images", "labels"]


def test_two_at_once_are_refused(model, folder, tmp_path):
    outputs.claim(tmp_path / "out", "predict")
    with locks.held(tmp_path / "out"), pytest.raises(InputError, match="is in use by process"):
        run(model, folder, tmp_path / "out")


def test_the_protocol_is_used(model, folder, tmp_path):
    how = Protocol(multiple=32, flip=True)
    run(model, folder, tmp_path / "out", protocol=how)
    label = Image.open(tmp_path / "out" / "labels" / "a.png")
    np.testing.assert_array_equal(label, inference.predict(model, image(24, 32, 1), how))


def test_an_unreadable_image_is_named_and_the_others_are_done(model, folder, tmp_path, capfd):
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(image(64, 96, 5)).save(folder / "hurt.jpg", quality=95)
    jpeg = (folder / "hurt.jpg").read_bytes()
    (folder / "hurt.jpg").write_bytes(jpeg[: len(jpeg) // 2] + jpeg[-2:])
    with pytest.raises(InputError, match=r"2 of 5 images could not be read, first .*cut\.png"):
        run(model, folder, tmp_path / "out", progress=True)
    assert len(files(tmp_path / "out")) == 7  # with the table
    printed = capfd.readouterr()
    assert printed.out.startswith(f"skipped: {folder / 'cut.png'}: cannot be read")
    assert f"skipped: {folder / 'hurt.jpg'}: is damaged (" in printed.out
    assert not printed.err  # no bar, as this is no terminal, and nothing of libjpeg's own


def test_hostile_files_among_the_images_are_skipped_by_name(model, folder, tmp_path, capsys):
    names = no_files(folder)
    for kind, data in huge().items():
        (folder / f"huge {kind}.{kind}").write_bytes(data)
        names.append(f"huge {kind}.{kind}")
    with pytest.raises(InputError, match=rf"^{len(names)} of {len(names) + 3} images could not"):
        run(model, folder, tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split(": ")[1] for line in lines) == sorted(str(folder / n) for n in names)
    assert len(files(tmp_path / "out")) == 7  # with the table


def test_a_linked_folder_of_images_is_labelled_and_a_turned_photograph_upright(model, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "elsewhere").mkdir()
    Image.fromarray(image(24, 32, 1)).save(tmp_path / "elsewhere" / "a.png", exif=exif)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "linked again").symlink_to(tmp_path / "in")
    upright = np.ascontiguousarray(np.rot90(image(24, 32, 1), 3))
    for orientation, seen in (("exif", upright), ("stored", image(24, 32, 1))):
        assert run(model, tmp_path / "in", tmp_path / orientation, orientation=orientation) == 1
        label = Image.open(tmp_path / orientation / "labels" / "linked" / "a.png")
        np.testing.assert_array_equal(label, inference.predict(model, seen))
        overlay = Image.open(tmp_path / orientation / "overlays" / "linked" / "a.jpg")
        assert overlay.size == label.size and not overlay.getexif()


def test_what_cannot_be_predicted_is_named(model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        run(model, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="no such file or folder"):
        run(model, tmp_path / "missing", tmp_path / "out")
    for name in ("a.png", "a.bmp"):
        Image.fromarray(image(8, 8)).save(tmp_path / "empty" / name)
    with pytest.raises(InputError, match=r"a\.bmp and a\.png would have the same output"):
        run(model, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="5 classes but 4 names"):
        predict.predict_images(model, tmp_path, tmp_path, classes(4))
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_stops_with_one_line(model, folder, tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        run(model, folder, tmp_path / "out")


def test_many_sizes_earn_a_hint(model, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(predict, "MANY_SIZES", 2)
    for number, size in enumerate(((24, 32), (24, 70))):
        Image.fromarray(image(*size)).save(tmp_path / f"{number}.png")
    run(model, tmp_path, tmp_path / "out", progress=True)
    assert "many different sizes" in "".join(capfd.readouterr())
    run(model, tmp_path, tmp_path / "out", progress=True, protocol=Protocol(multiple=32))
    assert "many different sizes" not in "".join(capfd.readouterr())


def test_eight_devices_label_as_one_does(model, folder, tmp_path):
    for number in range(9):
        Image.fromarray(image(24, 32, number)).save(folder / f"more_{number}.png")
    run(model, folder, tmp_path / "one")
    run(model, folder, tmp_path / "eight", batch_size=8, mesh=sharding.make_mesh())
    assert files(tmp_path / "eight") == files(tmp_path / "one")
    for name in files(tmp_path / "one" / "labels"):
        np.testing.assert_array_equal(
            Image.open(tmp_path / "one" / "labels" / name),
            Image.open(tmp_path / "eight" / "labels" / name),
        )


def test_maps_of_confidence_and_probabilities(model, folder, tmp_path):
    run(model, folder, tmp_path / "out", maps=("confidence", "probabilities"))
    for name in ("a", "night/b"):
        pixels = read_image(next(folder.glob(f"{name}.*")))
        scores = inference.class_scores(model, pixels)
        stored = Image.open(tmp_path / "out" / "confidence" / f"{name}.png")
        assert stored.mode == "I;16"
        v = 2 * np.asarray(stored, np.float64) / 65535 - 1
        np.testing.assert_allclose(v, arm.confidence(scores), atol=2e-5)
        with np.load(tmp_path / "out" / "probabilities" / f"{name}.npz") as file:
            assert tuple(file["classes"]) == CLASSES.names
            found = file["probabilities"]
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, jax.nn.softmax(scores), atol=1e-3)
        label = np.asarray(Image.open(tmp_path / "out" / "labels" / f"{name}.png"))
        np.testing.assert_array_equal(label, inference.predict(model, pixels))


def test_the_table_begins_with_the_least_sure_image(model, folder, tmp_path):
    run(model, folder, tmp_path / "out", threshold=-0.5)
    with open(tmp_path / "out" / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list((tmp_path / "out" / "labels").rglob("*.png")))
    means = [float(row["mean confidence"]) for row in rows]
    assert means == sorted(means)
    for row in rows:
        pixels = read_image(folder / row["image"])
        v = np.asarray(arm.confidence(inference.class_scores(model, pixels)))
        assert float(row["mean confidence"]) == pytest.approx(v.mean(), abs=1e-4)
        assert float(row["% with v < -0.5"]) == pytest.approx(100 * (v < -0.5).mean(), abs=0.01)
        present = np.unique(inference.predict(model, pixels))
        assert row["classes"].split() == [CLASSES.names[k] for k in present]


def test_a_file_a_pattern_and_a_list_name_images(folder, tmp_path):
    (folder / "list.txt").write_text(f"a.png\n\n{folder / 'night' / 'b.BMP'}\n")
    for given, root, names in (
        (folder / "a.png", folder, ["a.png"]),
        (f"{folder}/**/*", folder, ["a.png", "grey.png", "night/b.BMP"]),
        (f"{folder}/nigh?/*", folder / "night", ["b.BMP"]),
        (folder / "list.txt", folder, ["a.png", "night/b.BMP"]),
    ):
        found = chosen.find(given)
        assert found.root == root
        assert [path.as_posix() for path in found.paths] == names
    for given, words in (
        (f"{folder}/*.xyz", "names no image"),
        (tmp_path / "out" / "labels.csv", "no such file or folder; give an image, a folder"),
        (__file__, r"ends in none of .*\.txt; give an image"),
    ):
        with pytest.raises(InputError, match=words):
            chosen.find(given)
    (folder / "list.txt").write_text("a.png\nmissing.png\n")
    with pytest.raises(InputError, match=r"list\.txt, line [12]: .*is no file; correct or remove"):
        chosen.find(folder / "list.txt")
