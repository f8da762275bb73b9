"""Where a trained network is unsure (Fig. 4): low-variance pixels painted on images, and maps.

    python scripts/low_confidence.py --workdir runs/demo --images 4
    python scripts/low_confidence.py --workdir runs/demo --checkpoint best --input photographs/ \\
        --output runs/demo/unsure

Runs on images spread over the evaluation split, or at those of a folder. Writes to --output one
figure of all, low_confidence.png, and for each image two images of its full size:
painted/NAME.png, with the least sure tenth of all images' pixels in green, and intensity/NAME.png,
brighter where the network is less sure. With --threshold the pixels of a confidence v below it are
painted instead: v is the variance of the class likelihoods, scaled to [-1, 1]; at 0 it is half of
what certainty would give. Where there are labels, it also prints how many of the painted pixels lie
near a class boundary, beside how many of all pixels do.

Settings are those of the run; overrides as for arm_jax.main are such as --config.data.root=DIR.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import jax.numpy as jnp
import numpy as np

from arm_jax import arm
from arm_jax.data import bands, colors, records
from arm_jax.data.chosen import find
from arm_jax.data.sources import Source
from arm_jax.evaluation import boundary, inference
from arm_jax.evaluation.predictions import read_image
from arm_jax.networks import Segmenter
from arm_jax.reporting import maps
from arm_jax.run import arguments as shared
from arm_jax.run import inputs, mirror
from arm_jax.system import command_line, names, outputs, terminal
from arm_jax.system.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREEN = (0, 255, 0)
PAINTED = 0.1  # share of the pixels, where no threshold is given
NEAR = 1 / 64  # of the image's height: how far a boundary reaches
COLUMNS = 4  # of the figure


@dataclass(frozen=True)
class Seen:
    """An image, its confidence map (h, w) in [-1, 1], and its label where there is one."""

    name: str
    image: np.ndarray
    confidence: np.ndarray
    label: np.ndarray | None

    def painted(self, threshold: float) -> np.ndarray:
        """The image with the pixels below the threshold in green, uint8 RGB."""
        return np.where(
            (self.confidence < threshold)[..., None], np.array(GREEN, np.uint8), self.image
        )

    def intensity(self) -> np.ndarray:
        """Black where the network is certain, white where all classes are equally likely."""
        return maps.heat(-self.confidence, -1, 1, "gray")


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    shared.add_run(parser)
    parser.add_argument("--input", type=Path, help="a folder of images, unlabelled")
    parser.add_argument(
        "--output", type=names.local, help="where to; WORKDIR/low_confidence if none"
    )
    parser.add_argument("--images", type=int, default=4, help="how many")
    parser.add_argument("--threshold", type=float, help="of v, from -1 to 1")
    arguments, overrides = command_line.parse(parser, argv)
    output = arguments.output or arguments.workdir / "low_confidence"
    if arguments.images < 1:
        raise InputError(f"--images = {arguments.images}; it must be at least 1")
    run = shared.run_of(arguments, overrides)
    mirror.fetch(output, below=True)
    outputs.claim(output, "low_confidence")
    if arguments.input is None:
        source = inputs.evaluation_source(run.experiment.config, run.classes)
        found = from_source(run.model, source, arguments.images)
    else:
        found = from_folder(run.model, arguments.input, output, arguments.images)
    seen = list(found)
    threshold = arguments.threshold
    if threshold is None:
        threshold = float(
            np.quantile(np.concatenate([one.confidence.ravel() for one in seen]), PAINTED)
        )
    for one in seen:
        maps = {"painted": one.painted(threshold), "intensity": one.intensity()}
        for kind, drawn in maps.items():
            colors.write_image(names.below(output / kind, f"{one.name}.png"), drawn)
    title = f"{arguments.workdir.name}, step {run.step:,}: v < {threshold:.3g}"
    from arm_jax.reporting import pictures  # matplotlib with it

    pictures.save(figure(seen, threshold, title), output / "low_confidence.png")
    mirror.finish(output)
    terminal.say(summary(seen, threshold, run.classes.ignore))
    terminal.say(f"images are in {output}")
    return 0


def from_source(model: Segmenter, source: Source, number: int) -> Iterator[Seen]:
    """Records spread over a split."""
    for index in records.spread(len(source), number):
        record = source[index]
        image = record["image"]
        yield Seen(record["id"], bands.shown(image), confidence(model, image), record["label"])


def from_folder(model: Segmenter, folder: Path, output: Path, number: int) -> Iterator[Seen]:
    """Images spread over a folder and its subfolders, but for those in `output`."""
    found = find(folder, output)
    for index in records.spread(len(found.paths), number):
        path = found.paths[index]
        image = read_image(found.root / path, bands=model.bands)
        yield Seen(str(path.with_suffix("")), bands.shown(image), confidence(model, image), None)


def confidence(model: Segmenter, image: np.ndarray) -> np.ndarray:
    """The confidence of every pixel, float32 (h, w)."""
    return np.asarray(arm.confidence(jnp.asarray(inference.class_scores(model, image))))


def figure(seen: Sequence[Seen], threshold: float, title: str) -> "Figure":
    """Painted images above their intensity maps, as in Fig. 4."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(seen))
    lines = -(-len(seen) // columns)
    height, width = seen[0].image.shape[:2]
    panel = 3.2
    size = (panel * columns, 2 * lines * panel * height / width + 0.25 * lines + 0.35)
    drawn = Figure(figsize=size, layout="constrained")
    panels = drawn.subplots(2 * lines, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for number, one in enumerate(seen):
        line, column = divmod(number, columns)
        share = 100 * np.mean(one.confidence < threshold)
        panels[2 * line, column].imshow(one.painted(threshold))
        panels[2 * line, column].set_title(f"{one.name}: {share:.1f} %", fontsize=8)
        panels[2 * line + 1, column].imshow(one.intensity())
    drawn.suptitle(title, fontsize=10)
    return drawn


def summary(seen: Sequence[Seen], threshold: float, ignore: int) -> str:
    """How many pixels are painted and, with labels, how many of them are near a boundary."""
    low = np.concatenate([(one.confidence < threshold).ravel() for one in seen])
    line = f"{100 * low.mean():.2f} % of the pixels of {len(seen)} images have v < {threshold:.3g}"
    counts = np.zeros((2, 2), np.int64)  # painted or not, near a boundary or not
    for one in seen:
        if one.label is not None:
            width = max(round(NEAR * len(one.label)), 1)
            near = boundary.near_boundaries(one.label, width, ignore) != ignore
            valid = one.label != ignore
            np.add.at(counts, ((one.confidence < threshold)[valid].astype(int), near[valid] * 1), 1)
    if not counts[1].sum():
        return line
    return (
        f"{line}; {100 * counts[1, 1] / counts[1].sum():.1f} % of those with a label lie within"
        f" 1/{1 / NEAR:.0f} of the image's height of a class boundary, where"
        f" {100 * counts[:, 1].sum() / counts.sum():.1f} % of all labelled pixels lie"
    )


if __name__ == "__main__":
    sys.exit(main())
