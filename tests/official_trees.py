"""Miniature trees in exactly the official layouts of Cityscapes and ADE20K, as fixtures."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

SIZE = (32, 64)
CITIES = {
    "train": ("aachen", "ulm"),
    "val": ("frankfurt",),
    "test": ("berlin",),
    "train_extra": ("troisdorf",),
}


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def annotation(rng):
    """Polygons with all that the official ones have, and the label ids they mean."""
    height, width = SIZE
    objects = [
        {"label": "road", "polygon": [[0, 16], [63, 16], [63, 31], [0, 31]]},
        {"label": "sky", "polygon": [[0, 0], [63, 0], [63, 8], [0, 8]]},
        {"label": "cargroup", "polygon": [[5, 12], [20, 12], [20, 22], [5, 22]]},
        {"label": "license plate", "polygon": [[8, 18], [12, 18], [12, 20], [8, 20]]},
        {"label": "person", "deleted": 1, "polygon": [[30, 5], [40, 5], [40, 25]]},
        {"label": "polegroup", "polygon": [[50, 0], [52, 0], [52, 30], [50, 30]]},
    ]
    left = int(rng.integers(22, 40))
    objects.append({"label": "bicycle", "polygon": [[left, 20], [left + 8, 20], [left, 28]]})
    ids = Image.new("L", (width, height), 0)
    painter = ImageDraw.Draw(ids)
    for item, value in zip(objects, (7, 23, 26, None, None, 18, 33), strict=True):
        if value is not None:
            painter.polygon([tuple(p) for p in item["polygon"]], fill=value)
    return {"imgHeight": height, "imgWidth": width, "objects": objects}, np.array(ids)


@pytest.fixture(scope="module")
def city_root(tmp_path_factory):
    """All splits; of the coarse labels some only as polygons."""
    root = tmp_path_factory.mktemp("cityscapes")
    rng = np.random.default_rng(0)
    for split, cities in CITIES.items():
        for city in cities:
            for number in (19, 73):
                frame = f"{city}_000000_{number:06d}"
                image = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
                save(root / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png", image)
                for kind in ("gtFine", "gtCoarse"):
                    absent = "train_extra" if kind == "gtFine" else "test"
                    if split == absent:
                        continue
                    polygons, ids = annotation(rng)
                    start = root / kind / split / city / f"{frame}_{kind}"
                    if kind == "gtFine" or city != "ulm":
                        save(Path(f"{start}_labelIds.png"), ids)
                    start.parent.mkdir(parents=True, exist_ok=True)
                    Path(f"{start}_polygons.json").write_text(json.dumps(polygons))
                    save(Path(f"{start}_color.png"), np.zeros((*SIZE, 4), np.uint8))
                    save(Path(f"{start}_instanceIds.png"), ids.astype(np.uint16) * 1000)
    return root


@pytest.fixture(scope="module")
def city_zips(city_root, tmp_path_factory):
    """The same as the four official packages."""
    folder = tmp_path_factory.mktemp("zips")
    packages = {
        "leftImg8bit_trainvaltest.zip": ("leftImg8bit", ("train", "val", "test")),
        "leftImg8bit_trainextra.zip": ("leftImg8bit", ("train_extra",)),
        "gtFine_trainvaltest.zip": ("gtFine", ("train", "val", "test")),
        "gtCoarse.zip": ("gtCoarse", ("train", "train_extra", "val")),
    }
    for package, (kind, splits) in packages.items():
        with zipfile.ZipFile(folder / package, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README", "text")
            archive.writestr("license.txt", "text")
            for split in splits:
                for path in sorted((city_root / kind / split).rglob("*.*")):
                    archive.write(path, path.relative_to(city_root))
    return folder


@pytest.fixture(scope="module")
def ade_root(tmp_path_factory):
    """Odd sizes, a grey and a CMYK image."""
    root = tmp_path_factory.mktemp("ade")
    rng = np.random.default_rng(1)
    top = root / "ADEChallengeData2016"
    for split, folder, number in (("train", "training", 3), ("val", "validation", 2)):
        for index in range(number):
            size = (20 + 7 * index, 33 - 5 * index)
            name = f"ADE_{split}_{index + 1:08d}"
            picture = Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8))
            picture = picture.convert(("L", "CMYK", "RGB")[index])
            file = top / "images" / folder / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file, quality=95)
            label = rng.integers(0, 151, size).astype(np.uint8)
            save(top / "annotations" / folder / f"{name}.png", label)
    (top / "sceneCategories.txt").write_text("x")
    return root
