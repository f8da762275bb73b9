"""How fast images become training examples, in images a second and core.

    python scripts/benchmarks/benchmark_input.py  # generated scenes of 2048x1024
    python scripts/benchmarks/benchmark_input.py --dataset cityscapes --root /data/cityscapes

Compares, on the same files in the same run and on one core, the usual order of work (decode all,
resize all, crop, flip; images by OpenCV and labels by Pillow, as mmsegmentation) with this
project's (choose the crop, decode and resize what it needs), from the files in place and as
scripts/prepare.py stores them. Both start from the bytes of the files, in memory. Ours includes
what a source does: sizes compared, label values looked up and checked. Colour jitter and
normalisation are in neither: here they run on the device.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import cv2
import numpy as np
from PIL import Image

from arm_jax.data import images, pipeline, scenes, sources
from arm_jax.data.image_files import ImageFile
from arm_jax.data.labels import Classes, Table
from arm_jax.data.pairs import FileSource
from arm_jax.data.records import encoded
from arm_jax.system import command_line, files, outputs, terminal

SIZE = (1024, 2048)


@command_line.answered
def main() -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("--dataset", default="", choices=("", *sources.DATASETS))
    parser.add_argument("--root", default="")
    parser.add_argument("--split", default="train")
    parser.add_argument("--classes", default="", help="names for folders, separated by commas")
    parser.add_argument("--images", type=int, default=8, help="how many different ones")
    parser.add_argument("--crop", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--draws", type=int, default=8, help="crops of each of them")
    parser.add_argument(
        "--repeat", type=int, default=5, help="how often each crop; the best counts"
    )
    parser.add_argument("--json", default="", help="file for the figures")
    arguments = parser.parse_args()
    if arguments.json:
        outputs.refuse_foreign_file(arguments.json)
    with tempfile.TemporaryDirectory() as folder:
        source = opened(arguments, Path(folder))
        figures = measure(source, tuple(arguments.crop), arguments.draws, arguments.repeat)
        figures |= threaded(source, tuple(arguments.crop))
    for name, value in figures.items():
        print(f"{name:<52} {value:8.2f}")
    if arguments.json:
        files.write_json(arguments.json, figures, indent=2)
    return 0


def opened(arguments: argparse.Namespace, folder: Path) -> sources.Source:
    """The data set asked for, or scenes written as PNGs the way that most tools write them."""
    if arguments.dataset:
        return sources.open_source(
            arguments.dataset,
            root=arguments.root,
            split=arguments.split,
            classes=tuple(name for name in arguments.classes.split(",") if name),
            images=arguments.images,
        )
    for index in terminal.bar("draw scenes", range(arguments.images), unit="scene"):
        pair = scenes.generate("benchmark", index, SIZE)
        for kind, pixels in zip(("images", "labels"), pair, strict=True):
            path = folder / kind / f"{index:03d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    return sources.open_source("folders", root=folder, split="", classes=("street_scenes",))


class Memory:
    """Files in memory, as a tree that a source can read."""

    def __init__(self, files: dict[str, bytes]):
        self._files = files

    def names(self) -> list[str]:
        return list(self._files)

    def read(self, name: str) -> bytes:
        return self._files[name]

    def stamp(self, name: str) -> tuple[int, int]:
        return len(self._files[name]), 0

    def path(self, name: str) -> str:
        return name


def in_memory(
    pictures: list[bytes], labels: list[bytes], classes: Classes, table: Table | None
) -> FileSource:
    """A source of files as arm_jax reads them, without a disk."""
    names = [f"{index:03d}" for index in range(len(pictures))]
    return FileSource(
        Memory(dict(zip(names, pictures, strict=True))),
        Memory(dict(zip(names, labels, strict=True))),
        [(name, name, name) for name in names],
        classes,
        table,
    )


def measure(
    source: sources.Source, crop: tuple[int, int], draws: int, repeat: int
) -> dict[str, float]:
    """Milliseconds and images a second of one core, by way of working."""
    cv2.setNumThreads(1)
    classes = source.classes
    known = [*range(classes.number), classes.ignore]
    table = Table.of({value: value for value in known}, classes)
    pictures, labels, prepared = [], [], []
    for index in range(len(source)):
        record = encoded(source, index)
        data, label = record["image"], np.asarray(record["label"])
        is_file = isinstance(data, ImageFile)
        pictures.append(data.data if is_file else images.encode_png(data))
        file = io.BytesIO()
        Image.fromarray(label).save(file, "PNG")  # with filters, as most tools write them
        labels.append(file.getvalue())
        prepared.append(images.encode_png(label))
    in_place = in_memory(pictures, labels, classes, table)
    stored = in_memory(pictures, prepared, classes, None)
    transform = pipeline.Augment(crop=crop, ignore=classes.ignore)

    def ours(source: FileSource, index: int, rng: np.random.Generator) -> None:
        transform({**source.encoded(index), "index": index}, rng)

    ways: dict[str, Callable[[int, np.random.Generator], object]] = {
        "decode the image": lambda i, rng: images.decode_image(pictures[i], "x"),
        "decode the label": lambda i, rng: images.decode_label(labels[i], "x"),
        "decode the label as prepared": lambda i, rng: images.decode_label(prepared[i], "x"),
        "usual order": lambda i, rng: usual_order(
            pictures[i], labels[i], rng, crop, classes.ignore
        ),
        "ours, files in place": lambda i, rng: ours(in_place, i, rng),
        "ours, prepared": lambda i, rng: ours(stored, i, rng),
    }
    # Ways take turns, and the best of all repetitions of a crop counts, so that another load on the
    # machine falls on all of them, and little.
    best = {name: np.full((draws, len(source)), np.inf) for name in ways}
    for _ in terminal.bar("measure", range(repeat), unit="round"):
        for draw in range(draws):
            for index in range(len(source)):
                for name, way in ways.items():
                    rng = np.random.default_rng([draw, index])
                    start = time.process_time()
                    way(index, rng)
                    taken = time.process_time() - start
                    best[name][draw, index] = min(best[name][draw, index], taken)
    figures = {f"{name}, ms": 1e3 * float(taken.mean()) for name, taken in best.items()}
    usual = best["usual order"].mean()
    for name in ("usual order", "ours, files in place", "ours, prepared"):
        figures[f"{name}, images/s and core"] = 1 / float(best[name].mean())
        figures[f"{name}, times the usual order"] = float(usual / best[name].mean())
    return figures


def usual_order(
    data: bytes, label_data: bytes, rng: np.random.Generator, crop: tuple[int, int], ignore: int
) -> tuple[np.ndarray, np.ndarray]:
    """Decode everything, resize everything, look for a crop, flip and pad, as mmsegmentation."""
    image = images.decode_image(data, "x")
    label = images.decode_label(label_data, "x")
    ratio = rng.uniform(0.5, 2)
    height, width = (int(n * ratio + 0.5) for n in label.shape)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)
    for _ in range(11):
        top = int(rng.integers(max(height - crop[0], 0) + 1))
        left = int(rng.integers(max(width - crop[1], 0) + 1))
        part = label[top : top + crop[0], left : left + crop[1]]
        values, counts = np.unique(part, return_counts=True)
        counts = counts[values != ignore]
        if len(counts) > 1 and counts.max() / counts.sum() < 0.75:
            break
    image = image[top : top + crop[0], left : left + crop[1]]
    if rng.uniform() < 0.5:
        image, part = cv2.flip(image, 1), cv2.flip(part, 1)
    below, right = crop[0] - part.shape[0], crop[1] - part.shape[1]
    image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=0)
    part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=ignore)
    return image, part


def threaded(source: sources.Source, crop: tuple[int, int]) -> dict[str, float]:
    """Images a second of the whole pipeline, batches of 4, by the number of threads."""
    figures = {}
    for threads in (1, 2):
        batches = iter(
            pipeline.training_batches(source, crop=crop, batch_size=4, seed=0, threads=threads)
        )
        next(batches)
        start = time.perf_counter()
        for _ in range(8):
            next(batches)
        figures[f"pipeline, {threads} threads, images/s"] = 32 / (time.perf_counter() - start)
        batches.close()
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
