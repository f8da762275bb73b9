"""COCO's run lengths, compressed or not, to pixels.

A decoder of our own rather than pycocotools: that one is compiled C which trusts the counts that a
file states, and one more binary for every platform. Here the counts are summed before anything is
reserved. tests/goldens/make_rle.py compares the two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from arm_jax.data.formats.contract import Size


def decode(rle: Any, size: Size) -> np.ndarray:
    """bool (h, w) of {"size": [h, w], "counts": list or str}.

    Raises ValueError where the size is not the image's, or the runs do not make up exactly its
    pixels.
    """
    stated = tuple(int(side) for side in rle["size"])
    if stated != tuple(size):
        raise ValueError(f"run lengths of {stated[1]}x{stated[0]} pixels in {size[1]}x{size[0]}")
    counts = rle["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else [int(run) for run in counts]
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise ValueError(f"run lengths that make up {sum(runs):,} of {size[0] * size[1]:,} pixels")
    bits = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # runs of 0 and 1 take turns
    return bits.reshape(size[1], size[0]).T


def _uncompressed(text: str) -> Sequence[int]:
    """Numbers of 5 bits a character, the lowest first; from the fourth on differences."""
    runs: list[int] = []
    number = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            raise ValueError("run lengths with a character that means nothing")
        number |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:  # negative
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError("run lengths that are cut off")
    return runs
