"""The layers of an image for the slider of a page, from its labels to the weight map."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.reporting import maps, pages
from arm_jax.reporting.pages.tables import figure
from arm_jax.reporting.samples import Sample
from arm_jax.system.errors import printable

# Errors inside of regions, and those near a class boundary.
INSIDE, AT_BOUNDARY = (214, 39, 40), (245, 166, 35)


@dataclass(frozen=True)
class Shown:
    """An image to show, with a line of figures under its name."""

    sample: Sample
    words: str = ""


@dataclass(frozen=True)
class Card:
    """What a page draws of an image."""

    name: str
    words: str
    layers: list[pages.Layer]

    def number(self, name: str) -> int:
        """The place of a layer, 0 if there is none of that name."""
        names = [layer.name for layer in self.layers]
        return names.index(name) if name in names else 0


@dataclass(frozen=True)
class Ramp:
    """The legend of a map of numbers: its colours from `low` to `high`."""

    name: str
    picture: pages.Picture
    low: str
    high: str


@dataclass(frozen=True)
class Legend:
    """What the colours mean: of the classes that occur, of errors, of the maps."""

    classes: list[tuple[str, tuple[int, int, int]]]
    errors: list[tuple[str, tuple[int, int, int]]]
    ramps: list[Ramp]


@dataclass(frozen=True)
class Drawing:
    """Images on one page, which share their scales and their legend.

    Attributes:
      classes: of labels and predictions.
      samples: all of them.
      width: how near a class boundary an error is one of the boundary, in pixels.
    """

    classes: Classes
    samples: Sequence[Sample]
    width: int

    def card(self, shown: Shown) -> Card:
        """The layers of one image."""
        sample = shown.sample
        name = printable(sample.name)
        layers = [pages.Layer("image", pages.photo(sample.image, f"{name}: image"))]

        def over(title: str, pixels: np.ndarray, words: str) -> None:
            layers.append(pages.Layer(title, pages.drawing(pixels, f"{name}: {words}"), over=True))

        def heat(title: str, values: np.ndarray, low: float, high: float, colors: str) -> None:
            mean = figure(float(np.nanmean(values)) if np.isfinite(values).any() else None)
            pixels = maps.heat(values, low, high, colors)
            words = f"{name}: {title}, {mean} on average"
            layers.append(pages.Layer(title, pages.photo(pixels, words)))

        if sample.coarse is not None:
            over("coarse", self._colored(sample.coarse), "the kind of label trained on")
        if sample.label is not None:
            over("label", self._colored(sample.label), "label")
        if sample.prediction is not None:
            over("prediction", self._colored(sample.prediction), "prediction")
        if sample.label is not None and sample.prediction is not None:
            over("errors", self._errors(sample), "where prediction and label differ")
        if sample.confidence is not None:
            heat("confidence", sample.confidence, -1, 1, "viridis")
        if sample.weight is not None:
            heat("weight", sample.weight, 0, self._most_weight, "magma")
        return Card(name, shown.words, layers)

    @property
    def legend(self) -> Legend:
        present: set[int] = set()
        for sample in self.samples:
            for label in (sample.label, sample.coarse, sample.prediction):
                present.update([] if label is None else np.unique(label).tolist())
        errors = [
            (f"error within {self.width} px of a class boundary", AT_BOUNDARY),
            ("other error", INSIDE),
        ]
        ramps = []
        if any(sample.confidence is not None for sample in self.samples):
            ramps.append(_ramp("confidence v", "viridis", "\u22121", "1"))
        if any(sample.weight is not None for sample in self.samples):
            top = figure(self._most_weight, 1)
            ramps.append(_ramp("relative weight", "magma", "0", top))
        known = sorted(value for value in present if value < self.classes.number)
        shown = [(self.classes.names[value], self.classes.colors[value]) for value in known]
        return Legend(shown, errors if self.samples else [], ramps)

    @cached_property
    def _most_weight(self) -> float:
        """A round number that all but the highest weights stay under."""
        weights = [s.weight[np.isfinite(s.weight)] for s in self.samples if s.weight is not None]
        return nice_limit(np.concatenate([[1.0], *weights]))

    def _colored(self, label: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 4); what is no class is transparent."""
        opaque = np.where(label < self.classes.number, 255, 0).astype(np.uint8)
        return np.dstack([np.where(opaque[..., None], self.classes.palette[label], 0), opaque])

    def _errors(self, sample: Sample) -> np.ndarray:
        """uint8 (h, w, 4): errors near a boundary, other errors; the rest is transparent."""
        assert sample.label is not None
        wrong = (sample.label < self.classes.number) & (sample.label != sample.prediction)
        near = np.zeros_like(wrong) if sample.near is None else sample.near
        colors = np.where(near[..., None], AT_BOUNDARY, INSIDE)
        image = np.dstack([colors, np.full(wrong.shape, 255)])
        return np.where(wrong[..., None], image, 0).astype(np.uint8)


def nice_limit(values: np.ndarray) -> float:
    """The lowest of 1, 2, 4, 6, 8, 10, 20, ... that 99 % of the values stay under."""
    top = max(float(np.quantile(values, 0.99)), 1e-3)
    unit = 10.0 ** np.floor(np.log10(top))
    return float(unit * min(step for step in (1, 2, 4, 6, 8, 10) if step * unit >= top))


def _ramp(name: str, colors: str, low: str, high: str) -> Ramp:
    words = f"{name} from {low} to {high}"
    return Ramp(name, pages.drawing(maps.ramp(colors), words), low, high)
