"""How soon ARM reaches the theorem's optimum: the Hölder ratio within the first tenth of a run.

    python scripts/experiments/arm_start.py configs/grid.py:arm configs/demo.py --steps 200,1000 \
        --seeds 0,1,2 --config.arm.lr_multiplier=auto

Trains the first tenth of each run and prints the ratio there: of the running mean, which is what
runs log; of the last ten batches alone; and what the running mean of an ARM would be that was at
the optimum of each batch from the first step on. The third is below 1 where L(v) changes quickly:
the mean of weights that were right for different L(v) is not right for the mean of these. CONFIG
may also be cells or fields: images that are drawn here in two styles with nothing of a street,
binary (cells under a microscope) and of six classes (fields from above), with outlines as sloppy as
people draw them.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import numpy as np

from arm_jax import experiment as experiments
from arm_jax import settings, theorem
from arm_jax.data import check, colors, labels
from arm_jax.run import configs, inputs
from arm_jax.system import command_line, sharding
from arm_jax.training.step import compile_step

IMAGES = 60  # of a drawn set
LAST = 10  # batches at the end whose weights are judged together


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="a config, cells or fields")
    parser.add_argument("--steps", default="200,1000", help="T of the runs")
    parser.add_argument("--seeds", default="0")
    arguments, overrides = command_line.parse(parser, argv)
    print("| config | T | seed | logged at T / 10 | last batches | at each optimum |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in arguments.configs:
        for steps in map(int, arguments.steps.split(",")):
            for seed in map(int, arguments.seeds.split(",")):
                with tempfile.TemporaryDirectory() as folder:
                    config = _config(name, Path(folder), overrides)
                    changes = {"steps": steps, "seed": seed, "arm.kind": "learned"}
                    ratios = start(settings.frozen(config, changes))
                row = name, steps, seed, *(f"{ratio:.4f}" for ratio in ratios)
                print("|", " | ".join(map(str, row)), "|", flush=True)
    return 0


def start(config: settings.FrozenConfigDict) -> tuple[float, float, float]:
    """Train the first tenth of a run.

    Returns:
      The Hölder ratio of the running mean, that of the `LAST` batches, and that of the running mean
      of weights that are each batch's `theorem.closed_form`.
    """
    source = inputs.training_source(config)
    experiment = experiments.build(config, source.classes)
    mesh = sharding.make_mesh(jax.local_devices()[:1])
    pixels: tuple[int, ...] = ()
    if config.loss.class_weights == "balanced":
        pixels = check.pixels(source, check.check(source, name="training", cache=None))
    graphdef, state = experiment.create_state(experiment.fetch_pretrained())
    state = sharding.replicate(mesh, state)
    step = compile_step(mesh, graphdef, experiment.transformation, experiment.method(mesh, pixels))
    batches = iter(experiment.batches(source))
    histograms = []
    before = best = theorem.empty()
    try:
        for _ in range(config.steps // 10):
            batch = next(batches)
            state, _ = step(state, sharding.shard_batch(mesh, batch))
            now = jax.device_get(state.histogram)
            # What `theorem.blend` added: this batch alone.
            histograms.append(jax.tree.map(lambda new, old: new - 0.99 * old, now, before))
            before = now
            optimum = theorem.closed_form(histograms[-1], config.arm.p) * histograms[-1].pixels
            best = theorem.blend(best, histograms[-1]._replace(weight=optimum))
    finally:
        batches.close()
    p = config.arm.p
    return _ratio([before], p), _ratio(histograms[-LAST:], p), _ratio([best], p)


def _ratio(histograms: Sequence[theorem.Histogram], p: float) -> float:
    total = jax.tree.map(lambda *parts: np.maximum(sum(parts), 0.0), *histograms)
    return float(theorem.holder_ratio(total, p))


def _config(name: str, folder: Path, overrides: Sequence[str]) -> settings.FrozenConfigDict:
    if name not in STYLES:
        return configs.load(name, overrides=overrides)
    draw, names = STYLES[name]
    for number in range(IMAGES):
        image, label = draw(np.random.default_rng(number))
        split = "val" if number >= IMAGES - 4 else "train"
        for kind, pixels in (("images", image), ("labels", label)):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
            path = folder / kind / split / f"{number:03}.png"
            if kind == "images":
                colors.write_image(path, pixels)
            else:
                colors.write_label(path, pixels, labels.generic(names))
    changes = {"data.dataset": "folders", "data.root": str(folder), "data.classes": tuple(names)}
    return settings.frozen(configs.load("configs/grid.py:arm", overrides=overrides), changes)


def _cells(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Round, dim cells on a noisy ground; an outline is an ellipse beside each."""
    size = (128, 256)
    image = np.full(size, rng.uniform(20, 60), np.float32)
    label = np.zeros(size, np.uint8)
    for _ in range(rng.integers(10, 40)):
        center = (rng.uniform(0, size[1]), rng.uniform(0, size[0]))
        axes, angle = rng.uniform(4, 12, 2), rng.uniform(0, 180)
        cell = np.zeros(size, np.float32)
        cv2.ellipse(cell, (center, tuple(2 * axes), angle), float(rng.uniform(25, 120)), -1)
        image = np.maximum(image, image + cv2.GaussianBlur(cell, (0, 0), 1.5))
        drawn = (center[0] + rng.normal(0, 1.5), center[1] + rng.normal(0, 1.5))
        cv2.ellipse(label, (drawn, tuple(2 * axes * rng.uniform(0.8, 1.2)), angle), 1, -1)
    image = np.clip(image + rng.normal(0, 12, size), 0, 255).astype(np.uint8)
    return image[..., None].repeat(3, 2), label


def _fields(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Polygons of crops, earth, water, wood and roofs; borders of labels are smoothed and moved."""
    size, number = (128, 256), int(rng.integers(12, 30))
    y, x = np.mgrid[: size[0], : size[1]]
    places = rng.uniform((0, 0), size, (number, 2))
    nearest = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in places], 0)
    kinds = rng.integers(0, 6, number)
    truth = kinds[nearest].astype(np.uint8)
    hues = np.array(
        [(90, 140, 60), (150, 150, 70), (130, 100, 70), (40, 70, 110), (35, 80, 40), (160, 90, 80)]
    )
    image = hues[truth] + rng.normal(0, 14, (number, 3))[nearest]
    stripes = np.sin((x * np.cos(nearest) + y * np.sin(nearest)) / 1.7)
    image += (12 * stripes * np.isin(truth, (0, 1)))[..., None] + rng.normal(0, 12, (*size, 3))
    wave = [cv2.GaussianBlur(rng.normal(0, 1, size).astype(np.float32), (0, 0), 12) for _ in "yx"]
    moved = [axis + 60 * w for axis, w in zip((y, x), wave, strict=True)]
    label = cv2.remap(
        truth, moved[1].astype(np.float32), moved[0].astype(np.float32), cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.clip(image, 0, 255).astype(np.uint8), label


STYLES = {
    "cells": (_cells, ("ground", "cell")),
    "fields": (_fields, ("crop", "ripe crop", "earth", "water", "wood", "roof")),
}

if __name__ == "__main__":
    sys.exit(main())
