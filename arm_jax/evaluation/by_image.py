"""The figures of each image of a split by itself, collected while the split is evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arm_jax.evaluation import metrics
from arm_jax.evaluation.labelled import Example

# Of a record's id, what is kept: 25 words of 8 bytes, 216 bytes an image with its two figures.
NAME_BYTES = 200


@dataclass(frozen=True)
class ByImage:
    """Each image by itself, in the order of the source; see `metrics.of_images`.

    Attributes:
      names: the ids of the records.
      mIoU, aAcc: in percent; nan where no pixel is labelled.
    """

    names: tuple[str, ...]
    mIoU: np.ndarray
    aAcc: np.ndarray


class Collector:
    """Figures and names as int64 words, which `processes.total` can add up.

    What another process has is 0 here, and adding 0 to the bits of a number or a name changes
    nothing.

    Attributes:
      words: int64 (n, 2 + NAME_BYTES / 8).
    """

    def __init__(self, images: int):
        self.words = np.zeros((images, 2 + NAME_BYTES // 8), np.int64)

    def add(self, batch: Sequence[Example], counts: np.ndarray) -> None:
        """Take the images of a batch; `counts` are those of `metrics.of_images`, (b, 3, C)."""
        figures = np.stack(metrics.of_images(counts), axis=-1)
        for example, pair in zip(batch, figures, strict=True):
            name = example.name.encode(errors="surrogateescape")[:NAME_BYTES]
            self.words[example.index, :2] = pair.view(np.int64)
            self.words[example.index, 2:].view(np.uint8)[: len(name)] = np.frombuffer(
                name, np.uint8
            )

    @staticmethod
    def finished(words: np.ndarray) -> ByImage:
        """What the words of all processes, added up, hold."""
        figures = np.ascontiguousarray(words[:, :2]).view(np.float64)
        names = (bytes(row).rstrip(b"\0") for row in np.ascontiguousarray(words[:, 2:]))
        return ByImage(
            tuple(name.decode(errors="surrogateescape") for name in names),
            mIoU=figures[:, 0],
            aAcc=figures[:, 1],
        )
