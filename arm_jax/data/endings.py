"""Names of label files that go on behind the image's name: a.jpg with a_mask.png, a.jpg.json."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from arm_jax.data import images
from arm_jax.data.formats import keys, recognise

# How a name may go on before its suffix, the preferred first: those of labels, and of images.
ENDINGS = (
    *("labelTrainIds", "mask", "masks", "gt", "label", "labels", "seg", "L", "labelIds"),
    "polygons",
)
_LABEL = re.compile(rf"(?:[_.-]gt(?:Fine|Coarse))?[_.-]({'|'.join(ENDINGS)})$", re.IGNORECASE)
_IMAGE = re.compile(r"[_.-](?:leftImg8bit|image|img|sat|rgb)$", re.IGNORECASE)
Ranked = dict[str, list[tuple[int, str]]]


class LabelNames:
    """The label files of a folder by what is left of their names.

    Args:
      names: of all files in it.
      beside: the stems of the images that lie in the same folder; None where labels are apart.
    """

    def __init__(self, names: Iterable[str], beside: set[str] | None):
        self.names: set[str] = set()
        # By stem: rank and name of every label, whose name goes on or not.
        self._exact: Ranked = {}
        self._short: Ranked = {}
        suffixes = recognise.suffixes()
        for name in names:
            path = Path(name)
            suffix = path.suffix.lower()
            if suffix not in suffixes or path.name in keys.READERS:
                continue
            stem = stem_of(name)
            if Path(stem).suffix.lower() in images.SUFFIXES:  # a.jpg.json
                stem = stem[: -len(Path(stem).suffix)]
            rank = suffixes.index(suffix)
            ending = _LABEL.search(stem)
            if beside is None or suffix not in images.SUFFIXES:
                self._keep(self._exact, stem, rank, name)
            if ending and (beside is None or stem[: ending.start()] in beside):
                order = [e.lower() for e in ENDINGS].index(ending[1].lower())
                self._keep(self._short, stem[: ending.start()], 100 * order + rank, name)

    def _keep(
        self, found: dict[str, list[tuple[int, str]]], stem: str, rank: int, name: str
    ) -> None:
        self.names.add(name)
        found.setdefault(stem, []).append((rank, name))

    def of(self, image: str) -> list[str]:
        """The labels of an image by its id, the preferred first."""
        ending = _IMAGE.search(image)
        stems = [image, image[: ending.start()]] if ending else [image]
        labels = (
            name
            for found in (self._exact, self._short)
            for stem in stems
            for _, name in sorted(found.get(stem, ()))
        )
        return list(dict.fromkeys(labels))


def are_rivals(label: str, other: str) -> bool:
    """Whether only the suffixes of two labels of one image differ, and both hold pixels or none."""
    both = is_image(label) == is_image(other)
    return both and stem_of(label) == stem_of(other)


def stem_of(name: str) -> str:
    """Without the suffix, in composed characters (NFC)."""
    return unicodedata.normalize("NFC", name[: len(name) - len(Path(name).suffix)])


def stems_of(names: Iterable[str]) -> set[str]:
    """Of images that a label may lie beside, with their own ending and without it."""
    found = {stem_of(name) for name in names if is_image(name)}
    return found | {_IMAGE.sub("", stem) for stem in found}


def is_image(name: str) -> bool:
    """By its suffix."""
    return Path(name).suffix.lower() in images.SUFFIXES
