"""Cityscapes, ADE20K and CamVid from miniature trees in exactly their official layouts."""

import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import official_trees
import pytest
from official_trees import CITIES, SIZE, annotation, save
from PIL import Image

from arm_jax.data import check, cityscapes, prepare, sources
from arm_jax.data.labels import ADE20K, CAMVID, CITYSCAPES, CITYSCAPES_IDS
from arm_jax.system.errors import InputError

city_root, city_zips = official_trees.city_root, official_trees.city_zips
ade_root = official_trees.ade_root


def expected_label(root, kind, split, frame):
    """From the JSON, by the way around label ids and the official table."""
    city = frame.split("_")[0]
    file = root / kind / split / city / f"{frame}_{kind}_polygons.json"
    ids = cityscapes.draw_polygons(file.read_bytes(), "x")
    label = np.full(SIZE, 255, np.uint8)
    for index, value in enumerate(CITYSCAPES_IDS):
        label[ids == value] = index
    return label


@pytest.mark.parametrize(
    ("split", "labels", "number"),
    [
        ("train", "fine", 4),
        ("train", "coarse", 4),
        ("val", "fine", 2),
        ("test", "fine", 2),
        ("train_extra", "coarse", 1),
        ("train+val", "fine", 6),
        ("train+train_extra", "coarse", 5),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_cityscapes_splits(city_root, city_zips, split, labels, number, packed):
    root = city_zips if packed else city_root
    source = sources.open_source("cityscapes", root=root, split=split, labels=labels)
    assert len(source) == number and source.classes == CITYSCAPES
    kind = {"fine": "gtFine", "coarse": "gtCoarse"}[labels]
    for index in range(number):
        record = source[index]
        city, frame = record["id"].split("/")
        where = next(s for s in split.split("+") if city in CITIES[s])
        image = city_root / "leftImg8bit" / where / city / f"{frame}_leftImg8bit.png"
        np.testing.assert_array_equal(record["image"], np.asarray(Image.open(image)))
        np.testing.assert_array_equal(
            record["label"], expected_label(city_root, kind, where, frame)
        )
    assert "troisdorf/troisdorf_000000_000073" not in [source[i]["id"] for i in range(number)]


def test_polygons_are_drawn_as_the_label_ids_are(city_root):
    """Groups as their object, deleted ones and licence plates not at all, later over earlier."""
    polygons, ids = annotation(np.random.default_rng(5))
    drawn = cityscapes.draw_polygons(json.dumps(polygons).encode(), "x")
    np.testing.assert_array_equal(drawn, ids)
    assert drawn[14, 10] == 26 and drawn[19, 10] == 26 and drawn[10, 51] == 18


def test_all_label_names_have_their_id():
    assert len(cityscapes.IDS) == 35
    for name, value in zip(CITYSCAPES.names, CITYSCAPES_IDS, strict=True):
        assert cityscapes.IDS[name] == value
    assert cityscapes.IDS["trailer"] == 30 and cityscapes.IDS["license plate"] == -1


def test_cityscapes_passes_the_check_and_goes_to_workers(city_zips):
    source = sources.open_source("cityscapes", root=city_zips, split="train", labels="coarse")
    result = check.check(source, progress=False)
    assert result.records == 4 and sum(result.pixels) + result.ignored == 4 * 32 * 64
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[3]["label"], source[3]["label"])


def test_cityscapes_mistakes_are_named(city_root, city_zips, tmp_path):
    def opened(root, **options):
        return sources.open_source("cityscapes", root=root, **options)

    with pytest.raises(InputError, match="split 'training' is none of Cityscapes"):
        opened(city_root, split="training")
    with pytest.raises(InputError, match=r"no folder gtFine/train_extra; .* gtFine_trainvaltest"):
        opened(city_root, split="train_extra")
    (tmp_path / "gtCoarse.zip").write_bytes((city_zips / "gtCoarse.zip").read_bytes())
    with pytest.raises(
        InputError,
        match=r"no folder leftImg8bit/train, nor have gtCoarse\.zip; .* leftImg8bit_trainvaltest",
    ):
        opened(tmp_path)
    (tmp_path / "leftImg8bit_trainvaltest.zip").write_bytes(b"half a download")
    with pytest.raises(InputError, match=r"leftImg8bit_trainvaltest\.zip: is no whole zip"):
        opened(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder or zip"):
        opened(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["objects"][0].update(label="lava"), "label 'lava'"),
        (lambda content: content.pop("imgWidth"), "label 'imgWidth'"),
        (lambda content: content["objects"][0].update(polygon=[[1, 2]]), "cannot be drawn"),
    ],
)
def test_bad_polygons_are_named(change, message):
    content, _ = annotation(np.random.default_rng(0))
    change(content)
    with pytest.raises(InputError, match=message):
        cityscapes.draw_polygons(json.dumps(content).encode(), "x.json")
    with pytest.raises(InputError, match=r"x\.json: its polygons cannot be drawn"):
        cityscapes.draw_polygons(b"{", "x.json")


def test_wrong_label_ids_are_named(city_root, tmp_path):
    source = sources.open_source("cityscapes", root=city_root, split="val")
    path = (
        city_root / "gtFine" / "val" / "frankfurt" / "frankfurt_000000_000019_gtFine_labelIds.png"
    )
    before = path.read_bytes()
    ids = np.array(Image.open(path))
    ids[0, :2] = 40
    save(path, ids)
    try:
        with pytest.raises(InputError, match=r"000019_gtFine_labelIds\.png: label values 40 "):
            check.check(source, progress=False)
    finally:
        path.write_bytes(before)


def test_ade20k(ade_root, tmp_path):
    top = ade_root / "ADEChallengeData2016"
    archive = tmp_path / "ADEChallengeData2016.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for path in sorted(top.rglob("*.*")):
            writer.write(path, path.relative_to(ade_root))
    for root in (top, ade_root, tmp_path, archive):
        train = sources.open_source("ade20k", root=root, split="train")
        both = sources.open_source("ade20k", root=root, split="train+val")
        assert (len(train), len(both)) == (3, 5) and train.classes == ADE20K
        for index in range(3):
            record = train[index]
            stored = np.asarray(
                Image.open(top / "annotations" / "training" / f"{record['id']}.png")
            ).astype(int)
            np.testing.assert_array_equal(record["label"], np.where(stored == 0, 255, stored - 1))
            assert record["image"].shape == (*stored.shape, 3)
        assert (train[0]["image"][..., 0] == train[0]["image"][..., 2]).all()
    check.check(both, progress=False)
    with pytest.raises(InputError, match="split 'test' is none of ADE20K"):
        sources.open_source("ade20k", root=top, split="test")


def test_camvid_in_both_layouts(tmp_path):
    rng = np.random.default_rng(2)
    for split in ("train", "val", "test"):
        image = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
        label = rng.integers(0, 12, (12, 16)).astype(np.uint8)
        save(tmp_path / "segnet" / split / "frame.png", image)
        save(tmp_path / "segnet" / f"{split}annot" / "frame.png", label)
        save(tmp_path / "own" / "images" / split / "frame.png", image)
        save(
            tmp_path / "own" / "labels" / split / "frame.png",
            np.where(label == 11, 255, label).astype(np.uint8),
        )
        a, b = (
            sources.open_source("camvid", root=tmp_path / layout, split=split)
            for layout in ("segnet", "own")
        )
        assert a.classes == CAMVID and len(a) == 1
        np.testing.assert_array_equal(a[0]["label"], b[0]["label"])
        np.testing.assert_array_equal(a[0]["image"], b[0]["image"])
        assert (a[0]["label"] == 255).any() and 11 not in a[0]["label"]
    assert len(sources.open_source("camvid", root=tmp_path / "own", split="train+val")) == 2
    for layout in ("segnet", "own"):
        packed = shutil.make_archive(
            str(tmp_path / f"{layout}_zip" / "all"), "zip", tmp_path / layout
        )
        for root in (packed, tmp_path / f"{layout}_zip"):
            zipped = sources.open_source("camvid", root=root, split="test")
            np.testing.assert_array_equal(zipped[0]["label"], a[0]["label"])
    with pytest.raises(InputError, match="CamVid is read as train/ and trainannot/"):
        sources.open_source("camvid", root=tmp_path)


def test_a_zip_cut_inside_is_named(city_root, tmp_path):
    """The directory of the archive is whole, an entry is not."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(city_root.rglob("*.*")):
            archive.write(path, path.relative_to(city_root))
    data = bytearray(packed.getvalue())
    name = b"frankfurt_000000_000019_leftImg8bit.png"
    start = data.index(name) + len(name) + 200
    data[start : start + 40] = bytes(40)
    (tmp_path / "all.zip").write_bytes(data)
    source = sources.open_source("cityscapes", root=tmp_path, split="val")
    with pytest.raises(InputError, match=r"all\.zip:.*000019_leftImg8bit\.png: cannot be read"):
        source[0]
    source[1]


def test_a_prepared_cityscapes_equals_the_files(city_zips, tmp_path):
    folder = prepare.ensure("cityscapes", tmp_path, source=city_zips, progress=False)
    for split in ("train", "val", "train+val"):
        for labels in ("fine", "coarse"):
            written = sources.open_source("prepared", root=folder, split=split, labels=labels)
            files = sources.open_source("cityscapes", root=city_zips, split=split, labels=labels)
            assert len(written) == len(files) and written.classes == files.classes
            for index in range(len(files)):
                a, b = written[index], files[index]
                assert a["id"] == b["id"]
                np.testing.assert_array_equal(a["image"], b["image"])
                np.testing.assert_array_equal(a["label"], b["label"])
    extra = prepare.ensure("cityscapes", tmp_path, config="extra", source=city_zips, progress=False)
    assert len(sources.TfdsSource(extra, "train_extra", "coarse")) == 1
    with pytest.raises(InputError, match="has no 'fine' labels; choose from coarse"):
        sources.TfdsSource(extra, "train_extra", "fine")


def test_a_prepared_ade20k_keeps_the_jpegs(ade_root, tmp_path):
    folder = prepare.ensure("ade20k", tmp_path, source=ade_root, progress=False)
    written = sources.open_source("prepared", root=folder, split="train+val")
    files = sources.open_source("ade20k", root=ade_root, split="train+val")
    for index in range(5):
        np.testing.assert_array_equal(written[index]["image"], files[index]["image"])
        np.testing.assert_array_equal(written[index]["label"], files[index]["label"])


def test_preparing_stops_at_bad_files_and_completes_when_they_are_mended(city_root, tmp_path):
    path = (
        city_root / "gtFine" / "val" / "frankfurt" / "frankfurt_000000_000019_gtFine_labelIds.png"
    )
    before = path.read_bytes()
    path.write_bytes(before[:50])
    try:
        with pytest.raises(
            InputError, match=r"000019_gtFine_labelIds\.png: cannot be read"
        ) as caught:
            prepare.ensure("cityscapes", tmp_path, config="fine", source=city_root, progress=False)
        assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(before)
    folder = prepare.ensure("cityscapes", tmp_path, config="fine", source=city_root, progress=False)
    assert len(sources.TfdsSource(folder, "train")) == 4


def test_preparing_needs_the_files(tmp_path):
    with pytest.raises(InputError, match="name it by --source"):
        prepare.ensure("camvid", tmp_path, progress=False)
    with pytest.raises(InputError, match="name it by --source"):
        prepare.ensure("camvid", tmp_path, source=tmp_path / "nowhere", progress=False)
    with pytest.raises(InputError, match=r"no folder leftImg8bit/train"):
        prepare.ensure("cityscapes", tmp_path, source=tmp_path, progress=False)


def test_no_tensorflow_is_needed_to_prepare(ade_root, tmp_path):
    code = """
import sys
from arm_jax.data import prepare
prepare.ensure("ade20k", sys.argv[1], source=sys.argv[2], progress=False)
assert "tensorflow" not in sys.modules
"""
    command = [sys.executable, "-c", code, str(tmp_path), str(ade_root)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
