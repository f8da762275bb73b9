"""A small whole file of each kind that is read, for tests that damage them; names to contents."""

import io
import json
import tempfile
import zipfile
from pathlib import Path

import label_kinds
import numpy as np
from PIL import Image
from safetensors.numpy import save

HERE = Path(__file__).parent


def images() -> dict[str, bytes]:
    """A small image of each format that is read, and of each way to store pixels in it."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 36, 3), np.uint8)
    pixels[6:18, 8:30] = 90
    exif = Image.Exif()
    exif[274] = 6
    ways = {
        "rgb.png": (pixels, {}),
        "grey.png": (pixels[..., 0] // 64, {}),
        "deep.png": (pixels[..., 0].astype(np.uint16) * 200, {}),
        "turned.png": (pixels, {"exif": exif}),
        "photo.jpg": (pixels, {"exif": exif, "quality": 80}),
        "progressive.jpg": (pixels, {"progressive": True}),
        "rgb.bmp": (pixels, {}),
        "grey.gif": (pixels[..., 0], {}),
        "raw.tif": (pixels, {"exif": exif}),
        "lzw.tif": (pixels, {"compression": "tiff_lzw"}),
        "deflate.tif": (pixels[..., 0], {"compression": "tiff_adobe_deflate"}),
        "lossy.webp": (pixels, {"exif": exif}),
        "lossless.webp": (pixels, {"lossless": True}),
        "rgb.ppm": (pixels, {}),
        "grey.pgm": (pixels[..., 0], {}),
    }
    kinds = {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM", "pgm": "PPM"}
    found = {}
    for name, (array, options) in ways.items():
        ending = name.rpartition(".")[2]
        file = io.BytesIO()
        Image.fromarray(array).save(file, kinds.get(ending, ending.upper()), **options)
        found[name] = file.getvalue()
    palette = Image.fromarray(pixels).quantize(7)
    file = io.BytesIO()
    palette.save(file, "PNG", bits=4)
    return {**found, "palette.png": file.getvalue()}


def polygons() -> dict[str, bytes]:
    """Cityscapes' polygons."""
    corners = [[1, 1], [30, 2], [20, 22]]
    things = [
        {"label": "road", "polygon": corners},
        {"label": "cargroup", "polygon": corners[::-1]},
    ]
    content = {"imgWidth": 36, "imgHeight": 24, "objects": things}
    return {"a.json": json.dumps(content).encode()}


def labels() -> dict[str, bytes]:
    """Outlines in each format of `arm_jax.data.formats`."""
    kinds = {
        "labelme.json": (label_kinds.labelme, "images/train/a.json"),
        "cityscapes.json": (label_kinds.cityscapes, "gtFine/train/town/a_gtFine_polygons.json"),
        "yolo.txt": (label_kinds.yolo, "train/labels/a.txt"),
        "via.json": (label_kinds.via, "images/train/via_project.json"),
        "coco.json": (label_kinds.coco, "annotations.json"),
        "runs.json": (label_kinds.coco_compressed, "annotations.json"),
    }
    found = {}
    for name, (write, file) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            write(folder)
            found[name] = Path(folder, file).read_bytes()
    return found


def weights() -> dict[str, bytes]:
    """PyTorch's files and a .safetensors file."""
    found = {p.name: p.read_bytes() for p in sorted((HERE / "goldens").glob("pretrained_*.pth"))}
    state = {f"layer{k}.weight": np.ones((3, k + 1), np.float32) for k in range(4)}
    return {**found, "state.safetensors": save(state, {"output_stride": "8"})}


def zips() -> dict[str, bytes]:
    """A zip of all the images."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in images().items():
            archive.writestr(f"some/{name}", data)
    return {"a.zip": file.getvalue()}
