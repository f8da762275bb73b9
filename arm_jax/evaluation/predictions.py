"""The labels of images that somebody reads: a batch in work at a time, the next ones read ahead."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from arm_jax.data.images import decode_image, refuse_damaged
from arm_jax.evaluation import inference
from arm_jax.evaluation.batching import grouped
from arm_jax.evaluation.passes import Prepared, placed, views
from arm_jax.evaluation.protocol import Protocol
from arm_jax.networks import RGB, Bands, Segmenter
from arm_jax.system import files, sharding
from arm_jax.system.errors import InputError
from arm_jax.system.parallel import ordered

# Images read ahead of the devices, images that may wait for others of their size, and results that
# may wait to be written.
READ_AHEAD = 8
MOST_WAITING = 32
UNWRITTEN = 4


@dataclass(frozen=True)
class Prediction:
    """One labelled image; the device may still be at work on it.

    Attributes:
      name: of the image.
      image: uint8 (h, w, 3).
      batch: labels of its batch, then the confidence and the probabilities if they were asked for.
      number: its place in the batch.
    """

    name: Path
    image: np.ndarray
    batch: tuple[jax.Array, ...]
    number: int

    def label(self) -> np.ndarray:
        """uint8 (h, w) class indices; waits for the device."""
        return self._map(0)

    def confidence(self) -> np.ndarray:
        """float32 (h, w), v in [-1, 1]."""
        return self._map(1)

    def probabilities(self) -> np.ndarray:
        """float16 (h, w, classes)."""
        return self._map(2)

    def _map(self, which: int) -> np.ndarray:
        height, width = self.image.shape[:2]
        return np.asarray(self.batch[which])[self.number, :height, :width]


def predictions(
    model: Segmenter,
    read: Callable[[Path], np.ndarray],
    names: Sequence[Path],
    *,
    protocol: Protocol,
    batch_size: int = 1,
    mesh: Mesh | None = None,
    threads: int = 4,
    on_error: Callable[[Path, InputError], None] | None = None,
    beside: str = "",
) -> Iterator[Prediction]:
    """Label images, reading ahead; in order of their names but for images of different sizes.

    Args:
      model: in evaluation mode.
      read: uint8 (h, w, 3) of a name; called in threads; may raise InputError.
      names: of the images.
      protocol: how to run on an image.
      batch_size: images in work at a time, over all devices.
      mesh: devices of this process; by default the first one.
      threads: that read.
      on_error: called with the name and what `read` raised; by default that is raised.
      beside: "confidence", or "probabilities" for these as well; "" for labels alone.
    """
    mesh = sharding.one_device() if mesh is None else mesh
    sharding.local_batch_size(batch_size, mesh)
    network = placed(model, mesh)

    def prepared(name: Path) -> tuple[Path, InputError] | tuple[Path, np.ndarray, Prepared]:
        try:
            image = read(name)
        except InputError as error:
            return name, error
        return name, image, views(image, protocol)

    def readable() -> Iterator[tuple[Path, np.ndarray, Prepared]]:
        number = READ_AHEAD + batch_size
        for one in ordered(prepared, names, threads, threads=True, ahead=number):
            if len(one) == 3:
                yield one
            elif on_error is None:
                raise one[1]
            else:
                on_error(*one)

    most = max(MOST_WAITING, batch_size)
    for batch in grouped(readable(), lambda one: one[2].group, batch_size, most):
        full = [one[2] for one in batch] + [batch[0][2]] * (batch_size - len(batch))
        found: tuple[jax.Array, ...]
        if beside == "probabilities":
            found = inference.probabilities(network, full, protocol)
        elif beside:
            found = inference.labels(network, full, protocol, beside="confidence")
        else:
            found = (inference.labels(network, full, protocol),)
        for number, (name, image, _) in enumerate(batch):
            yield Prediction(name, image, found, number)


def read_image(path: Path, turn: bool = True, bands: Bands = RGB) -> np.ndarray:
    """The bands of a file, turned as its EXIF orientation asks if `turn`.

    Returns uint8 (h, w, 3) RGB, or uint16 (h, w, bands). Raises InputError when it cannot be read,
    is damaged, or has others.
    """
    channels = bands.number if bands.stored else 0
    data = files.read_bytes(path)
    refuse_damaged(data, str(path))
    return decode_image(data, str(path), turn=turn, channels=channels)
