"""Sources made from other sources, and one that draws its records itself."""

import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from arm_jax.data import coarsen, scenes
from arm_jax.data.labels import STREET_SCENES
from arm_jax.data.records import Source, about, encoded, fingerprint, image, inspect, named


class ScenesSource:
    """Street scenes drawn anew at every access, with fine labels; see `arm_jax.data.scenes`."""

    classes = STREET_SCENES
    trusted = True  # nothing that a check could find

    def __init__(self, split: str, number: int, size: tuple[int, int] = (128, 256)):
        self._split, self._number, self._size = split, number, (size[0], size[1])

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = int(index)
        if not 0 <= index < self._number:
            raise IndexError(f"scene {index} of {self._number}")
        drawn, label = scenes.generate(self._split, index, self._size)
        return {"image": drawn, "label": label, "id": f"{self._split}_{index:06d}"}

    def fingerprint(self) -> str:
        """Changes with what is drawn."""
        return f"scenes {self._split} {self._number} {self._size}"


class JoinedSource:
    """The records of several sources with the same classes, one source after the other."""

    def __init__(self, sources: Sequence[Source]):
        self.classes = sources[0].classes
        self._sources = tuple(sources)
        self._ends = list(accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, place = self._find(index)
        return source[place]

    def encoded(self, index: int) -> dict[str, Any]:
        """The record, its images as files if the source has them."""
        return encoded(*self._find(index))

    def named(self, index: int) -> tuple[str, str]:
        """The id, and where the image lies on the disk, or ""."""
        return named(*self._find(index))

    def image(self, index: int) -> Any:
        """The image alone, as a file if the source has one."""
        return image(*self._find(index))

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by label value, int64 (256,)."""
        return inspect(*self._find(index))

    def fingerprint(self) -> str:
        """Changes when one of the sources does; "" when one cannot detect it."""
        parts = [fingerprint(source) for source in self._sources]
        return " + ".join(parts) if all(parts) else ""

    def about(self) -> list[str]:
        """What the sources found, each line once."""
        return list(dict.fromkeys(line for source in self._sources for line in about(source)))

    def _find(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._sources[number], index - (self._ends[number] - len(self._sources[number]))


class FirstSource:
    """The first N records of another source."""

    def __init__(self, source: Source, number: int):
        self.classes = source.classes
        self.trusted = getattr(source, "trusted", False)
        self._source, self._number = source, min(number, len(source))

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[self._checked(index)]

    def encoded(self, index: int) -> dict[str, Any]:
        """The record, its images as files if the source has them."""
        return encoded(self._source, self._checked(index))

    def about(self) -> list[str]:
        """What the source underneath found."""
        return about(self._source)

    def image(self, index: int) -> Any:
        """The image alone, as a file if the source has one."""
        return image(self._source, self._checked(index))

    def _checked(self, index: int) -> int:
        if not 0 <= index < self._number:
            raise IndexError(f"record {index} of {self._number}")
        return index

    def named(self, index: int) -> tuple[str, str]:
        """The id, and where the image lies on the disk, or ""."""
        return named(self._source, self._checked(index))

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by label value, int64 (256,)."""
        return inspect(self._source, index)

    def fingerprint(self) -> str:
        """That of the source underneath, and the number."""
        return f"{self._number} of {fingerprint(self._source)}" if fingerprint(self._source) else ""


class WithoutFold:
    """The records of another source but for one fold: those of number `fold` modulo `folds`."""

    def __init__(self, source: Source, fold: int, folds: int):
        self.classes = source.classes
        self.trusted = getattr(source, "trusted", False)
        self._source, self._fold, self._folds = source, fold, folds
        self._kept = [index for index in range(len(source)) if index % folds != fold]

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[self._kept[index]]

    def encoded(self, index: int) -> dict[str, Any]:
        """The record, its images as files if the source has them."""
        return encoded(self._source, self._kept[index])

    def image(self, index: int) -> Any:
        """The image alone, as a file if the source has one."""
        return image(self._source, self._kept[index])

    def named(self, index: int) -> tuple[str, str]:
        """The id, and where the image lies on the disk, or ""."""
        return named(self._source, self._kept[index])

    def about(self) -> list[str]:
        """What the source underneath found."""
        return about(self._source)

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by label value, int64 (256,)."""
        return inspect(self._source, self._kept[index])

    def fingerprint(self) -> str:
        """That of the source underneath, and the fold."""
        below = fingerprint(self._source)
        return f"without {self._fold} of {self._folds} of {below}" if below else ""


class CoarsenedSource:
    """Another source's records with their labels made coarse, the same at every access.

    Making one takes ten times as long as the rest of a training example, so they are kept,
    compressed, up to `KEPT_BYTES` of memory; those beyond that are made again.
    """

    KEPT_BYTES = 512 * 2**20

    def __init__(
        self, source: Source, settings: coarsen.Coarsening | coarsen.Blocks, seed: int = 0
    ):
        self.classes = source.classes
        self._kept: dict[int, tuple[tuple[int, ...], str, bytes]] = {}
        self._bytes = 0
        self.trusted = getattr(source, "trusted", False)
        self._source, self._settings, self._seed = source, settings, seed

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._coarsened(index, self._source[index])

    def encoded(self, index: int) -> dict[str, Any]:
        """The record, its images as files if the source has them."""
        return self._coarsened(index, encoded(self._source, index))

    def about(self) -> list[str]:
        """What the source underneath found."""
        return about(self._source)

    def image(self, index: int) -> Any:
        """The image alone, as a file if the source has one."""
        return image(self._source, index)

    def _coarsened(self, index: int, record: dict[str, Any]) -> dict[str, Any]:
        if kept := self._kept.get(index):
            shape, kind, data = kept
            label = np.frombuffer(zlib.decompress(data), kind).reshape(shape).copy()
            return {**record, "label": label}
        label = coarsen.coarsen(
            np.asarray(record["label"]),
            self.classes,
            self._settings,
            seed=self._seed,
            name=record["id"],
        )
        data = zlib.compress(label.tobytes(), 1)
        if self._bytes + len(data) <= self.KEPT_BYTES:
            self._kept[index] = (label.shape, label.dtype.str, data)
            self._bytes += len(data)
        return {**record, "label": label}

    def named(self, index: int) -> tuple[str, str]:
        """The id, and where the image lies on the disk, or ""."""
        return named(self._source, index)

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by value of the label underneath, where the mistakes would be."""
        return inspect(self._source, index)

    def fingerprint(self) -> str:
        """That of the source underneath: coarsening adds no mistakes to find."""
        return fingerprint(self._source)


class UnlabelledSource:
    """The images of another source, whose labels are hidden."""

    def __init__(self, source: Source):
        self.classes = source.classes
        self.trusted = getattr(source, "trusted", False)
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._hidden(self._source[index])

    def encoded(self, index: int) -> dict[str, Any]:
        """The record, its image as a file if the source has one."""
        return self._hidden(encoded(self._source, index))

    def image(self, index: int) -> Any:
        """The image alone, as a file if the source has one."""
        return image(self._source, index)

    def named(self, index: int) -> tuple[str, str]:
        """The id, and where the image lies on the disk, or ""."""
        return named(self._source, index)

    def fingerprint(self) -> str:
        """That of the source underneath, marked."""
        below = fingerprint(self._source)
        return f"images of {below}" if below else ""

    def _hidden(self, record: dict[str, Any]) -> dict[str, Any]:
        shape = record["label"].shape
        return {**record, "label": np.full(shape, self.classes.ignore, np.uint8)}
