"""Decisions to corrected labels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.review import masks
from arm_jax.review.files import Decision
from arm_jax.review.masks import Rings
from arm_jax.review.regions import APART, MISTAKES
from arm_jax.system.errors import InputError

Shape = tuple[int, Rings]  # a class and the region that is to have it


def planned(
    decisions: Sequence[Decision], classes: Classes, images: Mapping[str, int]
) -> tuple[dict[int, list[Shape]], dict[int, int]]:
    """What accepted decisions change.

    Args:
      decisions: as from `files.read_decisions`; rejected ones change nothing.
      classes: of the labels.
      images: id -> index, of the source that the labels are from.

    Returns:
      Index of an image -> the regions to paint, lowest score first so that a surer one is painted
      over it; and index of an image -> index of the image whose label it is to have, which then
      gets no regions.

    Raises:
      InputError: an image, a class or a kind is unknown.
    """
    shapes: dict[int, list[Shape]] = {}
    labels: dict[int, int] = {}

    def index(name: str) -> int:
        if name not in images:
            raise InputError(
                f"decision on {name!r}: there is no such image; decide on a review of these images"
            )
        return images[name]

    for one in sorted(decisions, key=lambda one: one.score):
        if not one.accepted or one.kind == "empty":
            continue
        if one.kind == "swapped":
            labels[index(one.image)] = index(one.other)
        elif one.kind in MISTAKES + APART:
            if one.proposed not in classes.names:
                raise InputError(
                    f"decision on {one.image!r}: the class {one.proposed!r} is none of"
                    f" {', '.join(classes.names)}; correct the column proposed"
                )
            shape = classes.names.index(one.proposed), one.rings
            shapes.setdefault(index(one.image), []).append(shape)
        else:
            raise InputError(f"decision on {one.image!r}: kind = {one.kind!r} is unknown")
    return {key: value for key, value in shapes.items() if key not in labels}, labels


def unchanged(made: Mapping[int, Mapping[str, str]], digest: Callable[[int], str]) -> None:
    """Check that decisions are applied to the labels that they were made on.

    Args:
      made: index of an image -> what was decided on it, in words -> digest of the label that it
        was decided on; "" for a file that no review wrote.
      digest: from the index of an image to that of its label as it is now.

    Raises:
      InputError: a label is another one.
    """
    for number, digests in made.items():
        now = digest(number)
        for what, then in digests.items():
            if then not in ("", now):
                raise InputError(
                    f"{what}: was made on another label of this image ({then}, and the label is"
                    f" {now}); name the run that was reviewed, or review this one"
                )


def painted(label: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """A copy of a uint8 (h, w) label with the regions in their classes, the last one on top."""
    found = label.copy()
    for value, rings in shapes:
        found[masks.filled(rings, label.shape)] = value
    return found


def changed(old: np.ndarray, new: np.ndarray, number: int) -> np.ndarray:
    """int64 (C + 1, C + 1): pixels that changed, by class before and after; C is no label."""
    differ = old != new
    before, after = (np.minimum(label[differ], number).astype(np.int64) for label in (old, new))
    pairs = before * (number + 1) + after
    return np.bincount(pairs, minlength=(number + 1) ** 2).reshape(number + 1, number + 1)


def table(matrix: np.ndarray, name: Callable[[int], str]) -> str:
    """The pairs of classes of `changed`, one a line, most pixels first."""
    pairs = [(int(matrix[a, b]), int(a), int(b)) for a, b in zip(*np.nonzero(matrix), strict=True)]
    pairs.sort(reverse=True)
    return "\n".join(f"  {count:>12,} px  {name(a)} -> {name(b)}" for count, a, b in pairs)
