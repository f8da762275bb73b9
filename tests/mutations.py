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
import whole_files

from arm_jax.data import cityscapes, images
from arm_jax.data.formats import recognise
from arm_jax.data.formats.contract import File, Reading
from arm_jax.data.formats.drawing import DrawnLabel, readable
from arm_jax.data.image_files import ImageFile, LabelFile
from arm_jax.data.labels import Meaning, generic
from arm_jax.data.trees import Zip
from arm_jax.system.errors import InputError
from arm_jax.weights import weight_files

SECONDS = 5.0
MEGABYTES = 200.0
ADDRESSES = 8 << 30  # bytes that the script may ask for
# Numbers that headers are not prepared for.
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


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
    height, width = ImageFile(data, "x").shape
    part = images.decode_image(data, "x", (0, 0, min(height, 9), min(width, 9)))
    assert part.dtype == np.uint8 and part.ndim == 3


def read_label(data: bytes, folder: Path) -> None:
    label = images.decode_label(data, "x")
    assert label.dtype == np.uint8 and label.ndim == 2


def read_upper_label(data: bytes, folder: Path) -> None:
    file = LabelFile(data, "x")
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
        "images": whole_files.images(),
        "polygons": whole_files.polygons(),
        "labels": whole_files.labels(),
        "weights": whole_files.weights(),
        "zips": whole_files.zips(),
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
