"""A miniature of Cityscapes, as a folder and as its official zips."""

import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (32, 64)
# Corners as (x, y).
THINGS = (
    ("road", [[0, 16], [63, 16], [63, 31], [0, 31]]),
    ("sky", [[0, 0], [63, 0], [63, 8], [0, 8]]),
    ("cargroup", [[5, 12], [20, 12], [20, 22], [5, 22]]),
    ("license plate", [[8, 18], [12, 18], [12, 20]]),
)


def make(root: Path) -> None:
    """Three training images, with fine and coarse labels as polygons."""
    rng = np.random.default_rng(2)
    things = [{"label": label, "polygon": corners} for label, corners in THINGS]
    polygons = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": things}
    for number in range(3):
        frame = f"ulm_000000_{number:06d}"
        image = root / "leftImg8bit" / "train" / "ulm" / f"{frame}_leftImg8bit.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(image)
        for kind in ("gtFine", "gtCoarse"):
            folder = root / kind / "train" / "ulm"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{frame}_{kind}_polygons.json").write_text(json.dumps(polygons))
            ids = Image.fromarray(np.full(SIZE, 7, np.uint8))
            if number != 1:  # which is drawn from its polygons
                ids.save(folder / f"{frame}_{kind}_labelIds.png")


def zipped(root: Path, folder: Path) -> None:
    """The tree of `make` as packages."""
    folder.mkdir(parents=True)
    packages = {
        "leftImg8bit_trainvaltest.zip": "leftImg8bit",
        "gtFine_trainvaltest.zip": "gtFine",
        "gtCoarse.zip": "gtCoarse",
    }
    for package, kind in packages.items():
        with zipfile.ZipFile(folder / package, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((root / kind).rglob("*.*")):
                archive.write(path, path.relative_to(root))
