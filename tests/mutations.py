"""Damaged files by the hundred, from a seed: every reader answers with a line or a value.

python tests/mutations.py --trials 300 --seed 0

Each trial changes a whole file in one of a few ways and hands it to the readers of its kind. It has
failed if anything but an InputError of one line comes back, if it takes more than `SECONDS` of
processor time, or if the process grows by more than `MEGABYTES`.
"""

import argparse
import io
import json
import pickle
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import label_kinds
import numpy as np
from PIL import Image
from safetensors.numpy import save

from arm_jax.data import cityscapes, images
from arm_jax.data.formats import recognise
from arm_jax.data.formats.contract import File, Reading
from arm_jax.data.formats.drawing import DrawnLabel, readable
from arm_jax.data.labels import Meaning, generic
from arm_jax.data.trees import Zip
from arm_jax.system.errors import InputError
from arm_jax.weights import weight_files

HERE = Path(__file__).parent
SECONDS = 5.0
MEGABYTES = 200.0
ADDRESSES = 8 << 30  # bytes that the script may ask for
# Numbers that headers are not prepared for.
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def whole_images() -> dict[str, bytes]:
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


def whole_polygons() -> bytes:
    corners = [[1, 1], [30, 2], [20, 22]]
    things = [
        {"label": "road", "polygon": corners},
        {"label": "cargroup", "polygon": corners[::-1]},
    ]
    return json.dumps({"imgWidth": 36, "imgHeight": 24, "objects": things}).encode()


def whole_labels() -> dict[str, bytes]:
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


def whole_weights() -> dict[str, bytes]:
    found = {p.name: p.read_bytes() for p in sorted((HERE / "goldens").glob("pretrained_*.pth"))}
    state = {f"layer{k}.weight": np.ones((3, k + 1), np.float32) for k in range(4)}
    return {**found, "state.safetensors": save(state, {"output_stride": "8"})}


def whole_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in whole_images().items():
            archive.writestr(f"some/{name}", data)
    return file.getvalue()


def changed(data: bytes, rng: random.Random) -> bytes:
    """The file with one to three random changes."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(max(len(content), 1))
        early = rng.randrange(min(len(content), 64) or 1)  # where headers are
        way = rng.randrange(9)
        if way == 0:
            del content[place:]
        elif way == 1:
            content[place : place + 1] = bytes([rng.randrange(256)])
        elif way == 2:
            for _ in range(8):
                at = rng.randrange(max(len(content), 1))
                content[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 3:
            form = rng.choice(("<H", ">H", "<I", ">I"))
            number = rng.choice(NUMBERS) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
            content[early : early + struct.calcsize(form)] = struct.pack(form, number)
        elif way == 4:
            del content[place : place + rng.randrange(1, 40)]
        elif way == 5:
            content[place:place] = content[early : early + rng.randrange(1, 200)]
        elif way == 6:
            content[place:place] = rng.randbytes(rng.randrange(1, 40))
        elif way == 7:
            content[early] ^= 1 << rng.randrange(8) if content else 0
        else:
            content += rng.randbytes(rng.randrange(1, 5000))
        if not content:
            break
    return bytes(content)


def changed_json(data: bytes, rng: random.Random) -> bytes:
    """As `changed`, or a value of the JSON replaced by one of another kind."""
    if rng.random() < 0.4 or data[:1] != b"{":
        return changed(data, rng)
    odd: list[Any] = [
        None,
        True,
        -1,
        0,
        10**9,
        10**400,
        1e308,
        float("nan"),
        "x",
        "9",
        [],
        {},
        [[]],
        [1, 2, 3],
    ]
    content = json.loads(data)
    target, steps = content, rng.randrange(8)
    while True:  # down to somewhere
        keys = list(target) if isinstance(target, dict) else range(len(target))
        key = rng.choice(keys)
        inner = target[key]
        if steps == 0 or not isinstance(inner, dict | list) or not inner:
            break
        target, steps = inner, steps - 1
    if isinstance(inner, list) and rng.random() < 0.5:
        odd = [[1e300, 0], [-1e9, 1e9], [0], "ab", None, [[], 1], inner * 3]
    target[key] = rng.choice(odd)
    return json.dumps(content).encode()


def changed_pickle(data: bytes, rng: random.Random) -> bytes:
    """As `changed`, or changes inside the pickle of a zip, whose checksums are made anew."""
    if not zipfile.is_zipfile(io.BytesIO(data)) or rng.random() < 0.3:
        return changed(data, rng)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                content = _changed_opcodes(content, rng)
            new.writestr(name, content)
    return file.getvalue()


def _changed_opcodes(content: bytes, rng: random.Random) -> bytes:
    opcodes = [
        value
        for name, value in vars(pickle).items()
        if name.isupper() and isinstance(value, bytes) and len(value) == 1
    ]
    pickled = bytearray(content)
    for _ in range(rng.choice((1, 2, 4))):
        place = rng.randrange(2, len(pickled))
        if rng.random() < 0.5:
            pickled[place : place + 1] = rng.choice(opcodes)
        else:
            pickled[place:place] = rng.choice(opcodes) + rng.randbytes(rng.choice((0, 1, 4)))
    return bytes(pickled)


def read_image(data: bytes, folder: Path) -> None:
    image = images.decode_image(data, "x")
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def read_part(data: bytes, folder: Path) -> None:
    height, width = images.ImageFile(data, "x").shape
    part = images.decode_image(data, "x", (0, 0, min(height, 9), min(width, 9)))
    assert part.dtype == np.uint8 and part.ndim == 3


def read_label(data: bytes, folder: Path) -> None:
    label = images.decode_label(data, "x")
    assert label.dtype == np.uint8 and label.ndim == 2


def read_upper_label(data: bytes, folder: Path) -> None:
    file = images.LabelFile(data, "x")
    assert file.upper(min(5, file.shape[0])).dtype == np.uint8


def verify(data: bytes, folder: Path) -> None:
    assert min(images.verify_image(data, "x")) > 0


def read_polygons(data: bytes, folder: Path) -> None:
    assert cityscapes.draw_polygons(data, "x").dtype == np.uint8


def read_outlines(data: bytes, folder: Path) -> None:
    """As what its beginning says: the label of each image that it has one for."""
    classes = generic(label_kinds.NAMES)
    reading = Reading(classes, Meaning(classes))
    file = File(data, "the label", ".json" if data[:1] == b"{" else ".txt")
    several = recognise.collected(file) if file.suffix == ".json" else None
    reads = several[1].drawings.values() if several else ()
    drawings = [readable("the label", read, label_kinds.SIZE) for read in reads]
    labels = [DrawnLabel(drawing, label_kinds.SIZE, reading, "x label") for drawing in drawings]
    for label in labels or [recognise.opened(file, label_kinds.SIZE, reading)]:
        if label.shape == label_kinds.SIZE:  # which `FileSource` compares
            assert np.asarray(label).dtype == np.uint8


def read_weights(data: bytes, folder: Path) -> None:
    for name in ("x.pth", "x.safetensors"):
        path = folder / name
        path.write_bytes(data)
        try:
            found = weight_files.read(path)
            assert all(isinstance(value, np.ndarray) for value in found.values())
            weight_files.metadata(path)
        except InputError as error:
            last = error
        else:
            return
    raise last


def read_zip(data: bytes, folder: Path) -> None:
    (folder / "x.zip").write_bytes(data)
    tree = Zip(folder / "x.zip")
    for name in tree.names():
        tree.stamp(name)
        tree.read(name)


@dataclass(frozen=True)
class Trial:
    """One changed file and the reader that it is for."""

    title: str
    data: bytes
    read: Callable[[bytes, Path], None]


def trials(kind: str, number: int, seed: int) -> Iterator[Trial]:
    """`number` trials of images, polygons, labels, weights or zips, the same for the same seed."""
    rng = random.Random(f"{kind} {seed}")
    corpus: dict[str, dict[str, bytes]] = {
        "images": whole_images(),
        "polygons": {"a.json": whole_polygons()},
        "labels": whole_labels(),
        "weights": whole_weights(),
        "zips": {"a.zip": whole_zip()},
    }
    readers = {
        "images": (read_image, read_part, read_label, read_upper_label, verify),
        "polygons": (read_polygons,),
        "labels": (read_outlines,),
        "weights": (read_weights,),
        "zips": (read_zip,),
    }[kind]
    ways = {"polygons": changed_json, "labels": changed_json, "weights": changed_pickle}
    change = ways.get(kind, changed)
    names = list(corpus[kind])
    for index in range(number):
        name = names[index % len(names)]
        data = change(corpus[kind][name], rng)
        for reader in readers:
            yield Trial(f"{kind} {seed}/{index} {name} {reader.__name__}", data, reader)


def fault(trial: Trial, folder: Path) -> tuple[str, bool]:
    """What is wrong with the answer, "" if nothing; and whether the file was refused."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    refused, wrong = False, ""
    try:
        trial.read(trial.data, folder)
    except InputError as error:
        refused = True
        if "\n" in str(error) or not 10 < len(str(error)) < 1000:
            wrong = f"no line: {str(error)[:200]!r}"
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if seconds > SECONDS:
        wrong = wrong or f"{seconds:.1f} s"
    if grown > MEGABYTES:
        wrong = wrong or f"{grown:.0f} MB"
    return wrong, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="images,polygons,labels,weights,zips")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))  # never the whole machine's
    counts: Counter[str] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.kinds.split(","):
            for trial in trials(kind, arguments.trials, arguments.seed):
                wrong, refused = fault(trial, Path(folder))
                counts[f"{kind} {'failed' if wrong else 'refused' if refused else 'read'}"] += 1
                if wrong:
                    failed += 1
                    print(f"{trial.title}: {wrong}")
    print(", ".join(f"{name}: {number}" for name, number in sorted(counts.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
