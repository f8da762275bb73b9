"""Regions of one kind: the same classes, of like size, place and colour, decided together."""

from collections.abc import Sequence

import numpy as np

from arm_jax.review.regions import Region

# Differences that count as one unit: a factor of 4 in area, parts of the image, 8-bit colour.
AREA, COLUMN, ROW, COLOR = 4.0, 0.75, 0.3, 50.0


def grouped(regions: Sequence[Region]) -> list[int]:
    """The group of each region, numbered from 0 by its first member.

    In the order given, a region joins the group whose first member has the same kind, given and
    proposed class and is nearest to it, if nearer than 1 in the Euclidean distance of
    (log area / log 4, column / 0.75, row / 0.3, colour / 50); else it begins a group.
    """
    leaders: dict[tuple, list[tuple[int, np.ndarray]]] = {}
    found, number = [], 0
    for region in regions:
        key = (region.kind, region.given, region.proposed)
        place, known = _place(region), leaders.setdefault(key, [])
        distances = [float(np.linalg.norm(place - other)) for _, other in known]
        if distances and min(distances) < 1:
            found.append(known[int(np.argmin(distances))][0])
            continue
        known.append((number, place))
        found.append(number)
        number += 1
    return found


def _place(region: Region) -> np.ndarray:
    """(6,), in units of the distance."""
    column, row = region.center
    size = np.log(max(region.size, 1e-6) ** 2) / np.log(AREA)
    color = np.asarray(region.color) / (COLOR * np.sqrt(3))
    return np.array([size, column / COLUMN, row / ROW, *color])
