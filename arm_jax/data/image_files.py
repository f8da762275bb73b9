"""Images and labels in files that are decoded when, and as far as, they are asked for.

So a crop of a prepared PNG does not cost the rows below it, and what is only copied is not decoded.
"""

import numpy as np

from arm_jax.data import headers, images
from arm_jax.data.labels import Meaning


class ImageFile:
    """An image in a file, decoded when, and as far as, it is asked for.

    Args:
      data: the file.
      name: what to call it in a message.
      turn, channels: as for `images.decode_image`.

    Raises InputError, here or later, for what `probe_image` and `decode_image` of `images` refuse.
    """

    def __init__(self, data: bytes, name: str, *, turn: bool = True, channels: int = 0):
        self.shape = images.probe_image(data, name, turn=turn)
        self.data = data  # the file
        self._name, self._turn, self.channels = name, turn, channels

    @property
    def bits(self) -> int:
        """Of a band, where the file's header states it, else 8."""
        return headers.read(self.data, self._name).bits

    @property
    def is_turned(self) -> bool:
        """Whether the pixels lie otherwise than in the file."""
        return self._turn and headers.read(self.data, self._name).orientation > 1

    def part(self, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
        """As `images.decode_image`, all of it or the box (top, left, height, width)."""
        return images.decode_image(
            self.data, self._name, box, turn=self._turn, channels=self.channels
        )


class LabelFile:
    """The label in a file, decoded when, and as far down as, it is asked for.

    Args:
      data: the file.
      name: what to call it in a message.
      meaning: of the stored values; None where they are label values already.
      turn: as for `images.decode_label`.

    Raises InputError, here or later, for what `images.decode_label` and `meaning` refuse.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        meaning: Meaning | None = None,
        *,
        turn: bool = True,
    ):
        self.shape = images.probe_image(data, name, turn=turn)
        self._data, self._name, self._meaning, self._turn = data, name, meaning, turn
        self._decoded: np.ndarray | None = None

    def upper(self, rows: int) -> np.ndarray:
        """uint8 (at least that many rows, w)."""
        if self._decoded is None or rows > len(self._decoded):
            # A second request is for all rows: a third would decode the upper ones once more.
            some = rows if self._decoded is None else None
            label = images.decode_label(self._data, self._name, some, turn=self._turn)
            self._decoded = label if self._meaning is None else self._meaning(label, self._name)
        return self._decoded

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        """All of it, so that np.asarray takes a label whether it was decoded or not.

        Checked to its end: what is written to other files must not be damaged.
        """
        images.verify_image(self._data, self._name)
        return self.upper(self.shape[0])


def file_bytes(image: np.ndarray | ImageFile) -> bytes:
    """An image of `records.encoded` as a file: its own bytes, or a PNG of its pixels."""
    return images.encode_png(image) if isinstance(image, np.ndarray) else image.data
