"""How a second set of labels differs from a first: coverage, agreement, and both by distance.

Used to judge coarse labels beside fine ones. Distances are to the nearest edge in the fine label,
in pixels of an image 1024 high, so that data sets of different size can be compared.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from arm_jax.data.labels import Classes

EDGES = (0, 2, 4, 8, 16, 32, 64, 128)  # lower ends of the distance intervals
_REFERENCE_HEIGHT = 1024

# For comparison: a frame of Cityscapes that has both, aachen_000000_000019.
REFERENCE = """\
for comparison, one frame of Cityscapes: fine labels on 93.9% of the pixels, coarse on 57.1%; equal
where both are given: 99.7%
distance to a fine edge      0-2     2-4     4-8    8-16   16-32   32-64  64-128    >128
labelled coarsely           0.07    0.11    0.16    0.27    0.50    0.72    0.85    0.96
wrong among these          0.190   0.100   0.025   0.009   0.001   0.000   0.000   0.000"""
# Share of its fine pixels that are labelled right in that frame, by class.
REFERENCE_RECALL = {
    "road": 0.80,
    "building": 0.47,
    "car": 0.39,
    "traffic sign": 0.30,
    "pole": 0.25,
    "sidewalk": 0.0,
    "person": 0.0,
}
# What other data sets call these classes.
_ALIASES = {"sign": "traffic sign", "pavement": "sidewalk", "pedestrian": "person"}


def edge_distance(label: np.ndarray) -> np.ndarray:
    """float32 (h, w): distance of each pixel's centre to the nearest edge of its label, in pixels.

    0.5 beside an edge; infinite where the label has none.
    """
    edge = np.zeros(label.shape, bool)
    across, down = label[:, 1:] != label[:, :-1], label[1:] != label[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    if not edge.any():
        return np.full(label.shape, np.inf, np.float32)
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5) + 0.5


@dataclass
class Agreement:
    """Pixel counts over pairs of labels; add() pairs or merge() counts made elsewhere.

    `counts[interval, fine, coarse]` are pixels by distance interval and by both labels, where the
    index `classes.number` stands for the ignore value.
    """

    classes: Classes
    counts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        number = self.classes.number + 1
        self.counts = np.zeros((len(EDGES), number, number), np.int64)

    def add(self, fine: np.ndarray, coarse: np.ndarray) -> None:
        """Count one pair of uint8 (h, w) labels."""
        number = self.classes.number + 1
        scale = _REFERENCE_HEIGHT / fine.shape[0]
        interval = np.searchsorted(EDGES, edge_distance(fine) * scale, side="right") - 1
        pair = [np.minimum(x, self.classes.number).astype(np.int64) for x in (fine, coarse)]
        index = (interval * number + pair[0]) * number + pair[1]
        self.counts += np.bincount(index.reshape(-1), minlength=self.counts.size).reshape(
            self.counts.shape
        )

    def merge(self, other: "Agreement") -> None:
        self.counts += other.counts

    def _labelled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """By interval: pixels with a fine label, those also with a coarse one, and those equal."""
        both = self.counts[:, :-1, :-1]
        return self.counts[:, :-1].sum((1, 2)), both.sum((1, 2)), np.trace(both, axis1=1, axis2=2)

    @property
    def fine_coverage(self) -> float:
        """Share of all pixels with a fine label; nan where none were counted."""
        return _share(self.counts[:, :-1], self.counts)

    @property
    def coverage(self) -> float:
        """Share of all pixels with a coarse label; nan where none were counted."""
        return _share(self.counts[:, :, :-1], self.counts)

    @property
    def agreement(self) -> float:
        """Share of equal labels where both are given; nan where that is nowhere."""
        _, both, equal = self._labelled()
        return _share(equal, both)

    @property
    def labelled_by_distance(self) -> np.ndarray:
        """(8,) chance that a pixel with a fine label has a coarse one; nan for empty intervals."""
        fine, both, _ = self._labelled()
        return np.divide(both, fine, out=np.full(len(EDGES), np.nan), where=fine > 0)

    @property
    def wrong_by_distance(self) -> np.ndarray:
        """(8,) share of wrong labels where both are given; nan for empty intervals."""
        _, both, equal = self._labelled()
        return np.divide(both - equal, both, out=np.full(len(EDGES), np.nan), where=both > 0)

    @property
    def recall(self) -> np.ndarray:
        """(classes,) share of each class's fine pixels that have its coarse label; nan if none."""
        counts = self.counts.sum(0)
        fine = counts[:-1].sum(1)
        return np.divide(np.diag(counts)[:-1], fine, out=np.full(len(fine), np.nan), where=fine > 0)

    def table(self) -> str:
        """All of it as lines of text."""
        ends = [*(str(e) for e in EDGES[1:]), ""]
        heads = [f"{a}-{b}" if b else f">{a}" for a, b in zip(EDGES, ends, strict=True)]
        lines = [
            f"fine labels on {self.fine_coverage:.1%} of the pixels, coarse on "
            f"{self.coverage:.1%}; equal where both are given: {self.agreement:.2%}",
            "distance to a fine edge " + "".join(f"{head:>8}" for head in heads),
            "labelled coarsely       " + "".join(f"{x:8.2f}" for x in self.labelled_by_distance),
            "wrong among these       " + "".join(f"{x:8.3f}" for x in self.wrong_by_distance),
            "labelled right by class (in brackets: in one frame of Cityscapes): "
            + ", ".join(
                f"{name} {x:.2f}{_in_reference(name)}"
                for name, x in zip(self.classes.names, self.recall, strict=True)
                if not np.isnan(x)
            ),
        ]
        return "\n".join(lines)


def _in_reference(name: str) -> str:
    known = REFERENCE_RECALL.get(_ALIASES.get(name, name))
    return "" if known is None else f" ({known:.2f})"


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """nan of nothing."""
    return float(part.sum() / whole.sum()) if whole.sum() else float("nan")
