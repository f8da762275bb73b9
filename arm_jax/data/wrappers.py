"""Sources made from other sources, and one that draws its records itself."""

import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from arm_jax.data import coarsen, scenes
from arm_jax.data.labels import STREET_SCENES
from arm_jax.data.records import (
    Source,
    about,
    encoded,
    fingerprint,
    image,
    inspect,
    named,
    palettes,
)


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


class Wrapper:
    """A source made from another: what it does not change is the other's.

    `_find` names the record that one is made from, `_changed` makes it.
    """

    def __init__(self, source: Source):
        self.classes = source.classes
        self.trusted = getattr(source, "trusted", False)
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, place = self._find(index)
        return self._changed(index, source[place])

    def encoded(self, index: int) -> dict[str, Any]:
        """The record, its images as files if the source has them."""
        return self._changed(index, encoded(*self._find(index)))

    def image(self, index: int) -> Any:
        """The image alone, as a file if the source has one."""
        return image(*self._find(index))

    def named(self, index: int) -> tuple[str, str]:
        """The id, and where the image lies on the disk, or ""."""
        return named(*self._find(index))

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by value of the label underneath, int64 (256,)."""
        return inspect(*self._find(index))

    def about(self) -> list[str]:
        """What the source underneath found."""
        return about(self._source)

    def palettes(self) -> list[tuple[str, bytes]]:
        """Those of the source underneath."""
        return palettes(self._source)

    def fingerprint(self) -> str:
        """That of the source underneath."""
        return fingerprint(self._source)

    def _find(self, index: int) -> tuple[Source, int]:
        return self._source, index

    def _changed(self, index: int, record: dict[str, Any]) -> dict[str, Any]:
        return record


class JoinedSource(Wrapper):
    """The records of several sources with the same classes, one source after the other."""

    def __init__(self, sources: Sequence[Source]):
        super().__init__(sources[0])
        self.trusted = False
        self._sources = tuple(sources)
        self._ends = list(accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def fingerprint(self) -> str:
        """Changes when one of the sources does; "" when one cannot detect it."""
        parts = [fingerprint(source) for source in self._sources]
        return " + ".join(parts) if all(parts) else ""

    def about(self) -> list[str]:
        """What the sources found, each line once."""
        return list(dict.fromkeys(line for source in self._sources for line in about(source)))

    def palettes(self) -> list[tuple[str, bytes]]:
        """Those of all sources."""
        return [one for source in self._sources for one in palettes(source)]

    def _find(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._sources[number], index - (self._ends[number] - len(self._sources[number]))


class FirstSource(Wrapper):
    """The first N records of another source."""

    def __init__(self, source: Source, number: int):
        super().__init__(source)
        self._number = min(number, len(source))

    def __len__(self) -> int:
        return self._number

    def fingerprint(self) -> str:
        """That of the source underneath, and the number."""
        below = super().fingerprint()
        return f"{self._number} of {below}" if below else ""

    def _find(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < self._number:
            raise IndexError(f"record {index} of {self._number}")
        return self._source, index


class WithoutFold(Wrapper):
    """The records of another source but for one fold: those of number `fold` modulo `folds`."""

    def __init__(self, source: Source, fold: int, folds: int):
        super().__init__(source)
        self._fold, self._folds = fold, folds
        self._kept = [index for index in range(len(source)) if index % folds != fold]

    def __len__(self) -> int:
        return len(self._kept)

    def fingerprint(self) -> str:
        """That of the source underneath, and the fold."""
        below = super().fingerprint()
        return f"without {self._fold} of {self._folds} of {below}" if below else ""

    def _find(self, index: int) -> tuple[Source, int]:
        return self._source, self._kept[index]


class CoarsenedSource(Wrapper):
    """Another source's records with their labels made coarse, the same at every access.

    Making one takes ten times as long as the rest of a training example, so they are kept,
    compressed, up to `KEPT_BYTES` of memory; those beyond that are made again. `inspect` and
    `fingerprint` are of the labels underneath: coarsening adds no mistakes to find.
    """

    KEPT_BYTES = 512 * 2**20

    def __init__(
        self, source: Source, settings: coarsen.Coarsening | coarsen.Blocks, seed: int = 0
    ):
        super().__init__(source)
        self._kept: dict[int, tuple[tuple[int, ...], str, bytes]] = {}
        self._bytes = 0
        self._settings, self._seed = settings, seed

    def _changed(self, index: int, record: dict[str, Any]) -> dict[str, Any]:
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


class UnlabelledSource(Wrapper):
    """The images of another source, whose labels are hidden."""

    def inspect(self, index: int) -> np.ndarray:
        """Pixels by label value, int64 (256,): all are ignored."""
        return np.bincount(self[index]["label"].reshape(-1), minlength=256)

    def about(self) -> list[str]:
        """No line: whatever the labels are, they are hidden."""
        return []

    def palettes(self) -> list[tuple[str, bytes]]:
        """None."""
        return []

    def fingerprint(self) -> str:
        """That of the source underneath, marked."""
        below = super().fingerprint()
        return f"images of {below}" if below else ""

    def _changed(self, index: int, record: dict[str, Any]) -> dict[str, Any]:
        hidden = np.full(record["label"].shape, self.classes.ignore, np.uint8)
        return {**record, "label": hidden}
