"""Coarse labels from fine ones: what a person in a hurry would have drawn around the same objects.

Class by class and component by component: small and thin ones are left out, or now and then drawn
closely, as people do with poles and signs; the others are eroded by a margin that varies along the
outline (or now and then drawn too large). Each is reduced to a polygon with few, unsteady vertices,
and painted, large components first. What no polygon covers is ignored. Whole components can be
given a wrong class: confident noise, set apart from the rest.

The margins are in the manner of a hand-drawn outline; published recipes erode to a share of the
area or dilate and simplify instance masks. Here the settings are fitted to the distance-to-boundary
profile of real coarse labels, which `arm_jax.data.agreement` measures.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.system.errors import InputError

# Polygons are found on labels of at most this height, and drawn at full size.
_WORKING_HEIGHT = 512


@dataclass(frozen=True)
class Coarsening:
    """How coarse. Lengths are fractions of the image height, areas of the image area."""

    smallest: float  # components of a smaller area are minor
    thinnest: float  # so are those whose largest inscribed circle has a smaller radius
    omit: float  # chance that any other is left out
    margin: float  # median distance that an outline keeps from the true edge
    spread: float  # standard deviation of log(margin) from component to component
    wobble: float  # and along one outline
    deepest: float  # most of a component's inscribed radius that the margin may take
    tolerance: float  # largest deviation of the polygon from the margin's outline
    jitter: float  # standard deviation of the vertices
    swallow: float  # holes of a smaller area are drawn over
    expand: float  # chance that the margin lies outside of the true edge
    minor: float = 0.0  # chance that a minor component is drawn at all
    speck: float = 0.0  # minor components of a smaller area are never drawn
    hug: float = 0.0  # most of a minor component's inscribed radius that the margin may take
    wrong_share: float = 0.0  # chance that a component gets a wrong class

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value < 0:
                raise InputError(f"coarsening {field.name} = {value} is negative; use 0 or more")
        for name in ("omit", "expand", "wrong_share", "deepest", "minor", "hug"):
            if getattr(self, name) > 1:
                raise InputError(f"coarsening {name} = {getattr(self, name)}; use at most 1")


@dataclass(frozen=True)
class Blocks:
    """Labels on the innermost share of every component, as in "Tree Energy Loss" (CVPR 2022).

    That paper publishes label files and no generator; here a component keeps its pixels farthest
    from its edge. All of these labels are right, unless `wrong_share` asks for others.
    """

    share: float  # of each component's pixels
    wrong_share: float = 0.0  # chance that a component gets a wrong class

    def __post_init__(self) -> None:
        for name in ("share", "wrong_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"blocks {name} = {getattr(self, name)}; use 0 to 1")


_MEDIUM = Coarsening(
    smallest=8e-4,
    thinnest=0.008,
    omit=0.06,
    margin=0.031,
    spread=0.6,
    wobble=0.4,
    deepest=0.69,
    tolerance=0.008,
    jitter=0.004,
    swallow=1e-3,
    expand=0.11,
)

# Share of the pixels that keep a label, and share of right ones among these, on CamVid's training
# labels (docs/data.md has the command): mild 74.0 and 98.49 %, medium 65.4 and 95.29 %, hard
# 43.9 and 91.62 %, cityscapes 61.7 and 99.71 %.
PRESETS: dict[str, Coarsening | Blocks] = {
    "mild": Coarsening(
        smallest=2e-4,
        thinnest=0.004,
        omit=0.0,
        margin=0.021,
        spread=0.5,
        wobble=0.3,
        deepest=0.44,
        tolerance=0.003,
        jitter=0.002,
        swallow=2e-4,
        expand=0.05,
    ),
    "medium": _MEDIUM,
    # Drawn over the edges as often as not: 81.7 and 87.7 % on CamVid.
    "sloppy": dataclasses.replace(_MEDIUM, expand=0.5),
    "hard": Coarsening(
        smallest=2e-3,
        thinnest=0.015,
        omit=0.25,
        margin=0.05,
        spread=0.7,
        wobble=0.5,
        deepest=0.9,
        tolerance=0.015,
        jitter=0.01,
        swallow=4e-3,
        expand=0.1,
    ),
    # Fitted by random search, over labels of CamVid, to a Cityscapes frame that has fine and coarse
    # labels (`agreement.REFERENCE`): its distance profile, coverage, and recall by class.
    "cityscapes": Coarsening(
        smallest=2.8e-3,
        thinnest=0.025,
        omit=0.074,
        margin=0.0244,
        spread=0.5,
        wobble=0.79,
        deepest=0.99,
        tolerance=0.004,
        jitter=9e-4,
        swallow=2.9e-4,
        expand=0.0042,
        minor=0.4,
        speck=2.5e-4,
        hug=0.3,
    ),
    # The three settings of the Tree Energy Loss experiments.
    "block10": Blocks(0.1),
    "block20": Blocks(0.2),
    "block50": Blocks(0.5),
}


def preset(name: str, wrong_share: float = 0.0) -> Coarsening | Blocks:
    """The preset of that name with its fraction of wrong components replaced."""
    if name not in PRESETS:
        raise InputError(f"coarsening {name!r} is unknown; choose from {', '.join(PRESETS)}")
    return dataclasses.replace(PRESETS[name], wrong_share=wrong_share)


def coarsen(
    label: np.ndarray, classes: Classes, settings: Coarsening | Blocks, *, seed: int, name: str
) -> np.ndarray:
    """uint8 (h, w) fine label -> uint8 (h, w) coarse label; the same for the same seed and name.

    `wrong_share` draws from its own random numbers: it changes no outline, and a component that is
    wrong at one fraction has the same wrong class at every larger one.
    """
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    entropy = [seed, int.from_bytes(digest, "little")]
    class_rng = np.random.default_rng([*entropy, 1])

    def given(value: int) -> int:
        """The class that a component of class `value` is given."""
        chance, wrong = class_rng.uniform(), int(class_rng.integers(classes.number - 1))
        return value if chance >= settings.wrong_share else wrong if wrong < value else wrong + 1

    coarse = np.full(label.shape, classes.ignore, np.uint8)
    if isinstance(settings, Blocks):
        for value, mask, (left, top) in _components(label, classes, smallest=1):
            part = coarse[top : top + mask.shape[0], left : left + mask.shape[1]]
            part[_innermost(mask, settings.share)] = given(value)
        return coarse

    shape_rng = np.random.default_rng([*entropy, 0])
    step = -(-label.shape[0] // _WORKING_HEIGHT)
    small = np.ascontiguousarray(label[::step, ::step])
    drawn = []
    smallest = settings.speck if settings.minor else settings.smallest
    for value, mask, corner in _components(small, classes, smallest * small.size):
        area = int(mask.sum())
        polygons = _outline(mask, small.shape, corner, settings, shape_rng)
        drawn.append((area, given(value), polygons))
    for _, value, polygons in sorted(drawn, key=lambda item: -item[0]):
        if polygons:
            vertices = [np.rint(p * step + (step - 1) / 2).astype(np.int32) for p in polygons]
            cv2.fillPoly(coarse, vertices, value)
    return coarse


def _innermost(mask: np.ndarray, share: float) -> np.ndarray:
    """The deepest pixels of a 0/1 mask, the fraction `share` of it; bool."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    number = round(share * int(mask.sum()))
    order = np.argsort(-depth, axis=None, kind="stable")
    chosen = np.zeros(mask.size, bool)
    chosen[order[:number]] = True
    return chosen.reshape(mask.shape)


def _components(
    label: np.ndarray, classes: Classes, smallest: float
) -> Iterator[tuple[int, np.ndarray, tuple[int, int]]]:
    """Class, 0/1 mask in its bounding box, and the box's corner, of components large enough."""
    present = np.flatnonzero(np.bincount(label.reshape(-1), minlength=256)[: classes.number])
    for value in present:
        number, index, stats, _ = cv2.connectedComponentsWithStats(
            (label == value).astype(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        for k in range(1, number):
            left, top, width, height, area = (int(s) for s in stats[k])
            if area >= smallest:
                box = index[top : top + height, left : left + width]
                yield int(value), (box == k).astype(np.uint8), (left, top)


def _outline(
    mask: np.ndarray,
    shape: tuple[int, int],
    corner: tuple[int, int],
    settings: Coarsening,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """The polygons, float (n, 2) as (column, row), drawn for one component; none if left out.

    How many random numbers are drawn does not depend on the outcome.
    """
    height = shape[0]
    left, top = corner
    margin = settings.margin * height * np.exp(settings.spread * rng.standard_normal())
    chance, direction = rng.uniform(size=2)
    outward = direction < settings.expand
    waves = rng.standard_normal((6, 6), np.float32)
    vertex_rng = np.random.default_rng(rng.integers(1 << 62))

    tolerance, jitter = settings.tolerance * height, settings.jitter * height
    minor = mask.sum() < settings.smallest * shape[0] * shape[1]
    # The edge of the image is no edge of the object.
    reach = int(np.ceil(margin * 2)) + 2 if outward else 1
    outside = (
        min(top, reach),
        min(shape[0] - top - mask.shape[0], reach),
        min(left, reach),
        min(shape[1] - left - mask.shape[1], reach),
    )
    mask = cv2.copyMakeBorder(mask, *outside, cv2.BORDER_CONSTANT, value=0)
    offset = np.array([left - outside[2], top - outside[0]])
    mask = _fill_holes(mask, settings.swallow * shape[0] * shape[1])
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    radius = float(inside.max()) if (mask == 0).any() else float(max(shape))
    minor = minor or radius < settings.thinnest * height
    if chance < (1 - settings.minor if minor else settings.omit):
        return []
    margin = min(margin, (settings.hug if minor else settings.deepest) * radius)
    if minor:
        # Or nothing would be left of them.
        tolerance, jitter = min(tolerance, radius / 2), min(jitter, radius / 4)
    field = cv2.resize(waves, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    field = margin * np.exp(settings.wobble * field)
    if outward:
        region = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3) <= field
    else:
        region = (mask > 0) & (inside > np.minimum(field, 0.95 * radius))
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    polygons = []
    for contour in contours:
        polygon = cv2.approxPolyDP(contour, tolerance, True)[:, 0]
        polygon = polygon + vertex_rng.normal(scale=jitter, size=polygon.shape)
        if len(polygon) > 2:
            polygons.append(polygon + offset)
    return polygons


def _fill_holes(mask: np.ndarray, largest: float) -> np.ndarray:
    """Holes of at most `largest` pixels are filled."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
        if parent >= 0 and cv2.contourArea(contour) <= largest:
            cv2.fillPoly(mask, [contour], 1)
    return mask
