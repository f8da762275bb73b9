"""The images of README.md and docs/gallery.md, from a run of `make demo`.

python docs/figures/make_gallery.py runs/demo docs/figures

strip.png: an image, its coarse label, prediction and weight map, and the learned W(v); gallery.png:
the best, median and worst image of the held-out scenes; weight.png: W(v) beside the theorem's;
coarse.png: a scene's fine label and what each preset of `data.coarsen` makes of it.
"""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import arm_jax
from arm_jax import theorem
from arm_jax.data import coarsen
from arm_jax.data.colors import overlay
from arm_jax.reporting import curves, pictures
from arm_jax.reporting.maps import heat
from arm_jax.run import page
from arm_jax.system import sharding

PRESETS = ("mild", "medium", "sloppy", "hard", "cityscapes")


def main(run_folder: str, out: str) -> None:
    run = arm_jax.load(run_folder)
    found = page.Page(page.of(run), sharding.make_mesh())
    groups = page.ranked(found.evaluated.by_image.mIoU)
    best, median, worst = (found.draw(indices) for _, indices in groups)
    samples = [best[0], best[1], median[0], worst[0]]
    title = f"step {run.step}, mIoU {run.scores['mIoU']:.1f} %"
    save(pictures.contact_sheet(samples, run.classes, title), Path(out, "gallery.png"), 1600)
    histogram = run.state.histogram
    save(curves.weight_and_loss(histogram), Path(out, "weight.png"), 700)
    save(strip(best[0], run.classes, histogram), Path(out, "strip.png"), 1600)
    save(coarse(best[0], run.classes), Path(out, "coarse.png"), 1300)


def strip(sample, classes, histogram) -> Figure:
    """One line: image, coarse label, prediction, weight, W(v)."""
    figure = Figure(figsize=(14.6, 1.85), layout="constrained")
    figure.get_layout_engine().set(wspace=0.01, w_pad=0.02)
    axes = figure.subplots(1, 5, width_ratios=(2, 2, 2, 2, 1.4))
    limit = float(np.nanpercentile(sample.weight, 99.5))
    panels = {
        "image": sample.image,
        "coarse label": labelled(sample, sample.coarse, classes),
        "prediction": labelled(sample, sample.prediction, classes),
        f"weight, 0 to {limit:.1f} (grey: no label)": heat(sample.weight, 0.0, limit, "magma"),
    }
    for one, (name, panel) in zip(axes, panels.items(), strict=False):
        one.imshow(panel)
        one.set_title(name, fontsize=10, pad=3)
        one.axis("off")
    pixels = np.asarray(histogram.pixels, np.float64)
    enough = pixels / pixels.sum() >= curves.LEAST_SHARE
    v = np.asarray(theorem.bin_centers(len(pixels)))[enough]
    learned = np.asarray(theorem.mean_weight(histogram))[enough]
    closed = np.asarray(theorem.closed_form(histogram))[enough]
    axes[4].plot(v, learned, color=curves.BLUE, lw=2, label="learned")
    axes[4].plot(v, closed, color=curves.ORANGE, lw=1.4, ls="--", label="theorem")
    axes[4].set_title("weight W(v), by confidence v", fontsize=10, pad=3)
    axes[4].set_ylim(bottom=0)
    axes[4].set_xlim(-1, 1)
    axes[4].set_xticks((-1, 0, 1))
    axes[4].tick_params(labelsize=7.5, length=2)
    axes[4].legend(frameon=False, fontsize=7.5)
    axes[4].spines[["top", "right"]].set_visible(False)
    return figure


def coarse(sample, classes) -> Figure:
    """The fine label and the coarse labels of all presets."""
    figure = Figure(figsize=(11, 4.0), layout="constrained")
    panels = {"fine label": sample.label}
    for name in PRESETS:
        panels[name] = coarsen.coarsen(
            sample.label, classes, coarsen.preset(name), seed=0, name=sample.name
        )
    for one, (name, label) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        one.imshow(labelled(sample, label, classes))
        one.set_title(name, fontsize=10, pad=3)
        one.axis("off")
    return figure


def labelled(sample, label, classes) -> np.ndarray:
    """uint8 (h, w, 3): the colours of a label over a pale image."""
    grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    pale = cv2.addWeighted(grey, 0.35, np.full_like(grey, 255), 0.65, 0)
    return overlay(pale, label, classes, opacity=0.85)


def save(figure: Figure, path: Path, width: int) -> None:
    """Write a small PNG of 256 colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    image = Image.open(buffer).convert("RGB")
    image = image.resize((width, width * image.height // image.width), Image.Resampling.LANCZOS)
    image.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
