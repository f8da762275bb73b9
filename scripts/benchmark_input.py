"""How fast images become training examples, in images a second and core.

    python scripts/benchmark_input.py                          # generated scenes of 2048x1024
    python scripts/benchmark_input.py --dataset cityscapes --root /data/cityscapes

Compares, on the same files in the same run and on one core, the usual order of work (decode all,
resize all, crop, flip) with this project's (decode the label, choose the crop, decode and resize
what it needs), from the files in place and as scripts/prepare.py stores them. Colour jitter and
normalisation are in neither: here they run on the device.
"""

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from arm_jax.data import images, pipeline, scenes, sources
from arm_jax.data.records import encoded

SIZE = (1024, 2048)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="", choices=("", *sources.DATASETS))
    parser.add_argument("--root", default="")
    parser.add_argument("--split", default="train")
    parser.add_argument("--classes", default="", help="names for folders, separated by commas")
    parser.add_argument("--images", type=int, default=8, help="how many different ones")
    parser.add_argument("--crop", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--repeat", type=int, default=8, help="how often each of them")
    parser.add_argument("--json", default="", help="file for the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = opened(arguments, Path(folder))
        figures = measure(source, tuple(arguments.crop), arguments.repeat)
        figures |= threaded(source, tuple(arguments.crop))
    for name, value in figures.items():
        print(f"{name:<52} {value:8.2f}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2))


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
    for index in tqdm(range(arguments.images), "draw scenes", unit="scene", disable=None):
        pair = scenes.generate("benchmark", index, SIZE)
        for kind, pixels in zip(("images", "labels"), pair, strict=True):
            path = folder / kind / f"{index:03d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    return sources.open_source("folders", root=folder, split="", classes=("street_scenes",))


def measure(source: sources.Source, crop: tuple[int, int], repeat: int) -> dict[str, float]:
    """Milliseconds and images a second of one core, by way of working."""
    cv2.setNumThreads(1)
    files = []
    for index in range(len(source)):
        record = encoded(source, index)
        data = record["image"]
        data = data if isinstance(data, bytes) else images.encode_png(data)
        label = io.BytesIO()
        Image.fromarray(record["label"]).save(label, "PNG")
        files.append((data, label.getvalue(), images.encode_png(record["label"])))
    transform = pipeline.Augment(crop=crop, ignore=source.classes.ignore)

    def ours(data: bytes, label: bytes, rng: np.random.Generator) -> None:
        record = {"image": data, "label": images.decode_label(label, "x"), "id": "x", "index": 0}
        transform(record, rng)

    def naive(data: bytes, label: bytes, rng: np.random.Generator) -> None:
        usual_order(data, label, rng, crop, source.classes.ignore)

    ways: dict[str, Callable] = {
        "decode the image": lambda data, label, stored, rng: images.decode_image(data, "x"),
        "decode the label": lambda data, label, stored, rng: images.decode_label(label, "x"),
        "decode the label as prepared": lambda data, label, stored, rng: images.decode_label(
            stored, "x"
        ),
        "usual order": lambda data, label, stored, rng: naive(data, label, rng),
        "ours, files in place": lambda data, label, stored, rng: ours(data, label, rng),
        "ours, prepared": lambda data, label, stored, rng: ours(data, stored, rng),
    }
    # Ways take turns, so that another load on the machine falls on all of them.
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in tqdm(range(repeat + 1), "measure", unit="round", disable=None):
        for place, file in enumerate(files):
            for name, way in ways.items():
                rng = np.random.default_rng([turn, place])
                start = time.process_time()
                way(*file, rng)
                if turn:
                    seconds[name].append(time.process_time() - start)
    figures = {f"{name}, ms": 1e3 * float(np.mean(taken)) for name, taken in seconds.items()}
    usual = np.mean(seconds["usual order"])
    for name in ("usual order", "ours, files in place", "ours, prepared"):
        figures[f"{name}, images/s and core"] = 1 / float(np.mean(seconds[name]))
        figures[f"{name}, times the usual order"] = float(usual / np.mean(seconds[name]))
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
    main()
