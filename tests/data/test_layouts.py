"""Layouts of files as values: VOC's lists, folders by other names, patterns that are refused."""

import numpy as np
import pytest
from official_trees import save
from PIL import Image

from arm_jax.data import sources
from arm_jax.data.labels import VOC
from arm_jax.data.layouts import Files, Layout
from arm_jax.system.errors import InputError

LABELLED = {"train": ("a", "b"), "val": ("c",)}


@pytest.fixture
def voc_root(tmp_path):
    """Two lists of labelled images, and two images without a label, one of them in a list."""
    rng = np.random.default_rng(0)
    lists = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in LABELLED.items():
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    (lists / "test.txt").write_text("d\n")
    for name in ("a", "b", "c", "d", "e"):
        image = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
        save(tmp_path / "VOC2012" / "JPEGImages" / f"{name}.jpg", image)
        if name in "abc":
            label = Image.fromarray(rng.choice([0, 7, 20, 255], (12, 16)).astype(np.uint8), "L")
            label.putpalette(list(np.arange(768) % 256))
            file = tmp_path / "VOC2012" / "SegmentationClass" / f"{name}.png"
            file.parent.mkdir(exist_ok=True)
            label.save(file)
    return tmp_path


def test_voc_reads_what_its_lists_name(voc_root):
    for root in (voc_root, voc_root / "VOC2012"):
        for split in ("train", "val", "train+val"):
            source = sources.open_source("voc", root=root, split=split)
            ids = [source[index]["id"] for index in range(len(source))]
            assert ids == [name for part in split.split("+") for name in LABELLED[part]]
    assert source.classes == VOC and source.classes.number == 21
    stored = np.asarray(Image.open(voc_root / "VOC2012" / "SegmentationClass" / "c.png"))
    np.testing.assert_array_equal(source[2]["label"], stored)
    everything = sources.open_source("voc", root=voc_root, split="")
    assert [everything[index]["id"] for index in range(len(everything))] == ["a", "b", "c"]


def test_voc_mistakes_are_named(voc_root):
    def opened(split="train", **options):
        return sources.open_source("voc", **{"root": voc_root, "split": split, **options})

    with pytest.raises(InputError, match="split 'trainval' is none of PASCAL VOC; choose from te"):
        opened("trainval")
    with pytest.raises(InputError, match=r"JPEGImages/d\.jpg: has no label .*/d\.png; add it"):
        opened("test")
    with pytest.raises(InputError, match="voc has fine labels only; simulate coarse ones"):
        opened(labels="coarse")
    lists = voc_root / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("c\nz\n")
    with pytest.raises(InputError, match=r"JPEGImages/z: no such image, though the list"):
        opened("val")
    (lists / "val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val\.txt: names no image; write one id a line"):
        opened("val")
    with pytest.raises(InputError, match=r"no folder .*ImageSets/Segmentation; PASCAL VOC is read"):
        opened(root=voc_root / "VOC2012" / "JPEGImages")


def test_own_folders_may_have_other_names(tmp_path):
    save(tmp_path / "photos" / "train" / "x.png", np.zeros((4, 5, 3), np.uint8))
    save(tmp_path / "masks" / "train" / "x.png", np.ones((4, 5), np.uint8))
    options = {"root": tmp_path, "classes": ("a", "b"), "image_folder": "photos"}
    source = sources.open_source("folders", **options, label_folder="masks")
    assert len(source) == 1 and (source[0]["label"] == 1).all()
    with pytest.raises(InputError, match=r"labels: no such folder; .* data\.label_folder name"):
        sources.open_source("folders", **options)


@pytest.mark.parametrize("pattern", ["images/{split}", "images/*/*", "images/a*"])
def test_a_pattern_of_another_form_is_refused(pattern):
    with pytest.raises(InputError, match="write it as FOLDER"):
        Files(pattern, {"fine": ("labels/*.png",)})
    with pytest.raises(InputError, match="all must name one folder"):
        Files("images/*", {"fine": ("labels/*.png", "polygons/*.json")})
    with pytest.raises(InputError, match="lacks hint"):
        Layout(title="x", classes=VOC, table=None, files=(), splits={})
