"""The street itself, cast ray by ray: sky, far ridge, ground, facades, fences and hedges.

Facades and fences are planes parallel to the street. A column of the image meets such a plane at
one depth, so that a facade costs one array operation for each property and no loop over buildings.
"""

from dataclasses import dataclass

import numpy as np

from arm_jax.data.labels import STREET_SCENES
from arm_jax.data.scenes.canvas import Camera, Canvas, sample, stretch
from arm_jax.data.scenes.objects import color, dim

ROAD, PAVEMENT, GRASS, BUILDING, FENCE, VEGETATION, SKY = (
    STREET_SCENES.names.index(name)
    for name in ("road", "pavement", "grass", "building", "fence", "vegetation", "sky")
)
REACH = 95.0  # metres of street that are built
_RIDGE_DEPTH = 220.0


@dataclass(frozen=True)
class Street:
    """The ground plan, metres."""

    middle: float  # x of the road's axis
    road: float  # half the width of the road
    walk: float  # width of a pavement
    verge: float  # width between pavement and facades
    bend: float  # x of the axis grows by bend z^2
    crossing: float  # z of a cross street, far away for none
    green: bool  # verges are grass, else paved

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Street":
        road = rng.uniform(3.2, 6.5)
        crossing = rng.uniform(12, 45) if rng.uniform() < 0.45 else 1e3
        return cls(
            middle=-road * rng.uniform(0.2, 0.55),
            road=road,
            walk=rng.uniform(1.6, 3.6),
            verge=float(rng.uniform(1, 8) * (rng.uniform() < 0.75)),
            bend=rng.uniform(-8e-4, 8e-4),
            crossing=crossing,
            green=bool(rng.uniform() < 0.75),
        )

    def curb(self, side: int) -> float:
        return self.middle + side * self.road

    def facade(self, side: int) -> float:
        return self.middle + side * (self.road + self.walk + self.verge)


def paint_sky(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Sky over the whole canvas, a ridge of trees or houses at the horizon; the haze's colour."""
    height, width = canvas.label.shape
    horizon = canvas.camera.horizon
    kind = rng.uniform()
    if kind < 0.5:
        top = color(rng, saturation=(0.25, 0.7), value=(0.55, 0.95), hue=(0.54, 0.62))
    elif kind < 0.85:
        top = color(rng, saturation=(0, 0.08), value=(0.5, 0.95), hue=(0.5, 0.65))
    else:
        top = color(rng, saturation=(0.15, 0.45), value=(0.5, 0.9), hue=(0.02, 0.12))
    haze = np.clip(np.array(top, np.float32) * 0.45 + 255 * rng.uniform(0.4, 0.52), 0, 250)
    fall = np.clip(np.arange(height, dtype=np.float32) / horizon, 0, 1)[:, None, None] ** 1.3
    clouds = stretch("cloud", (height, width), 130 / height, rng.uniform(size=2))
    cover = np.clip((clouds - rng.uniform(-0.2, 0.5)) * rng.uniform(0.6, 2), 0, 1)[..., None]
    sky = np.array(top, np.float32) * (1 - fall) + haze * fall
    cloud = haze * 0.35 + rng.uniform(0.45, 0.63) * 255
    canvas.image[:] = np.minimum(sky + (cloud - sky) * cover * 0.8, 255)
    canvas.label[:] = SKY

    ridge_is_green = rng.uniform() < 0.6
    steps = np.arange(width) / height * (60 if ridge_is_green else 26) + rng.uniform() * 256
    profile = sample("cloud" if ridge_is_green else "fine", steps, np.full(1, rng.uniform() * 256))
    tall = (rng.uniform(0.02, 0.1) + profile * rng.uniform(0.02, 0.05)) * height
    rows = np.arange(height)[:, None]
    ridge = (rows > horizon - np.maximum(tall, 0)[None, :]) & (rows < horizon + 1)
    if ridge_is_green:
        tint, label = color(rng, (0.2, 0.5), (0.25, 0.5), (0.22, 0.4)), VEGETATION
        texture = stretch("leaf", (height, width), 160 / height, rng.uniform(size=2))
    else:
        tint, label = color(rng, (0, 0.25), (0.35, 0.7)), BUILDING
        texture = stretch("fine", (height, width), 90 / height, rng.uniform(size=2))
    colors = np.array(tint, np.float32) * (1 + 0.3 * texture[ridge])[:, None]
    canvas.image[ridge] = np.clip(colors, 0, 255)
    canvas.label[ridge] = label
    canvas.depth[ridge] = _RIDGE_DEPTH
    return haze


def paint_ground(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Road with markings, pavements of slabs behind a kerb, grass; all by position on the plane."""
    camera = canvas.camera
    height, width = canvas.label.shape
    first = min(max(int(np.ceil(camera.horizon + 0.5)), 0), height)
    rows = np.arange(first, height, dtype=np.float32)
    z = camera.height * camera.focal / (rows - camera.horizon)[:, None]
    x = (np.arange(width, dtype=np.float32)[None, :] - camera.center) * (z / camera.focal)
    across = x - street.middle - np.float32(street.bend) * np.minimum(z, 80) ** 2
    away = np.abs(across)
    in_crossing = np.abs(z - street.crossing) < 4.5

    label = np.full(x.shape, GRASS if street.green else PAVEMENT, np.uint8)
    label[away < street.road + street.walk] = PAVEMENT
    label[(away < street.road) | in_crossing] = ROAD

    # Texture fades where it would be finer than the pixels.
    sharp = np.minimum(1.0, camera.focal / (z * z) * 0.35)
    grain = sample("fine", x * 24, z * 24) * sharp
    patches = sample("cloud", x * 9 + 40, z * 5)
    tints = np.zeros((3, 3), np.float32)
    tints[ROAD] = color(rng, saturation=(0, 0.12), value=(0.25, 0.5))
    tints[PAVEMENT] = color(rng, saturation=(0, 0.25), value=(0.35, 0.7), hue=(0.02, 0.14))
    tints[GRASS] = color(rng, saturation=(0.3, 0.7), value=(0.3, 0.6), hue=(0.15, 0.32))
    rough = np.array([0.16, 0.1, 0.5], np.float32)
    uneven = np.array([0.12, 0.1, 0.25], np.float32)
    light = 1 + rough[label] * grain + uneven[label] * patches

    slab = rng.uniform(0.45, 1.1)
    seams = ((x % slab) < 0.07 * slab) | ((z % slab) < np.maximum(0.07 * slab, z * 0.01))
    light -= 0.3 * (seams & (label == PAVEMENT)) * sharp
    curb = (away >= street.road) & (away < street.road + 0.22) & (label == PAVEMENT)
    light += 0.25 * curb

    worn = rng.uniform(0.35, 1.0)
    dash, gap = rng.uniform(1.5, 4), rng.uniform(2, 5)
    broad = np.maximum(0.07, z / camera.focal * 0.4)
    marks = (away < broad) & (z % (dash + gap) < dash)
    if rng.uniform() < 0.6:
        marks |= np.abs(away - street.road + 0.35) < broad
    marks &= ~in_crossing
    if rng.uniform() < 0.7:
        marks |= (np.abs(z - street.crossing + 6.5) < 1.5) & (across % 1.1 < 0.55)
    marks &= (label == ROAD) & (away < street.road)
    light = light[..., None] * tints[label]
    light[marks] += worn * (225 - light[marks]) * (0.8 + 0.2 * patches[marks])[:, None]

    canvas.image[first:] = np.clip(light, 0, 255)
    canvas.label[first:] = label
    canvas.depth[first:] = z


def _columns(camera: Camera, width: int, x: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth at which each column meets the plane at `x`, inf where never; offset of the column."""
    offset = (np.arange(width, dtype=np.float32) - camera.center) / camera.focal
    facing = offset * np.sign(x) > 1e-4
    depth = np.where(facing, np.float32(x) / np.where(facing, offset, 1), np.inf)
    return depth.astype(np.float32), offset


def paint_facades(canvas: Canvas, rng: np.random.Generator, street: Street, side: int) -> None:
    """A row of buildings with gaps between them, on one side (-1 or 1) of the street."""
    camera = canvas.camera
    height, width = canvas.label.shape
    plane = street.facade(side)
    count = 16
    lengths, gaps = rng.uniform(6, 20, count), rng.uniform(1.5, 9, count)
    gaps *= rng.uniform(size=count) < rng.uniform(0.1, 0.8)
    starts = np.cumsum(lengths + gaps) - lengths - rng.uniform(0, 14) - 4
    ends = starts + lengths
    heights = rng.uniform(4, rng.uniform(7, 24), count)
    hue = rng.uniform(size=2)
    tints = np.array(
        [
            color(rng, (0.0, 0.38), (0.3, 0.92), sorted((hue[k % 2], rng.uniform(0.02, 0.15))))
            for k in range(count)
        ],
        np.float32,
    )
    glass = np.array([color(rng, (0.05, 0.4), (0.08, 0.45), (0.5, 0.68)) for _ in range(count)])
    floors, pitches = rng.uniform(2.6, 3.6, count), rng.uniform(1.3, 3.4, count)
    windows = rng.uniform(0.3, 0.72, (2, count))
    brick = rng.uniform(size=count) < 0.4
    lit = rng.uniform(0.72, 1.0) if rng.uniform() < 0.5 else rng.uniform(1.0, 1.12)
    standing = (starts < REACH) & (np.abs(starts + lengths / 2 - street.crossing) > lengths / 2 + 5)

    z_plane, offset = _columns(camera, width, plane)
    index = np.searchsorted(ends, z_plane)
    inside = index < count
    index = np.minimum(index, count - 1)
    # A column that passes the plane in a gap meets the front of the next house, if it is wide.
    front = z_plane < starts[index]
    z = np.where(front, starts[index], z_plane).astype(np.float32)
    lateral = np.abs(offset * z)
    hit = inside & standing[index] & (z > 1.0) & (~front | (lateral < abs(plane) + 11))
    columns = np.flatnonzero(hit)
    if not len(columns):
        return
    index, front, z = index[hit], front[hit], z[hit]
    along = np.where(front, lateral[hit], z).astype(np.float32)
    tall, floor, pitch, window = (
        values.astype(np.float32)[..., index] for values in (heights, floors, pitches, windows)
    )

    last = int(np.clip(camera.horizon + camera.height * camera.focal / z.min() + 1, 0, height))
    rows = np.arange(last, dtype=np.float32)[:, None]
    up = camera.height - (rows - camera.horizon) * (z / camera.focal)[None, :]
    mask = (up >= 0) & (up < tall)
    story = up / floor
    bay = along / pitch
    in_story, in_bay = story % 1, bay % 1
    low, high = 0.5 - window / 2, 0.5 + window / 2
    opening = (in_bay > low[0]) & (in_bay < high[0]) & (in_story > low[1]) & (in_story < high[1])
    # The ground floor is shop fronts or a plain wall, the top ends in a cornice.
    opening &= (up < tall - 0.7) & ((story > 1) | (index % 3 > 0))
    shop = (story < 0.8) & (story > 0.12) & (index % 3 == 0) & (bay % 0.5 > 0.06)
    fading = np.exp(-z / 70)

    shade = np.where(front, 0.78, lit).astype(np.float32)
    light = shade * (1 + 0.1 * sample("cloud", along * 14 + index * 37, up * 14))
    courses = (up % 0.3 < 0.06) | ((along + (up // 0.3 % 2) * 0.3) % 0.6 < 0.07)
    light -= 0.22 * (courses & brick[index]) * np.minimum(1, 8 / z)
    light += 0.16 * ((up > tall - 0.5) | (np.abs(in_story - 0.02) < 0.04)) * fading
    colors = light[..., None] * tints[index]
    panes = glass[index] * (0.8 + 0.5 * sample("fine", bay // 1 * 31, story // 1 * 17)[..., None])
    share = ((opening | shop) * (0.55 + 0.45 * fading)).astype(np.float32)[..., None]
    colors += (panes - colors) * share

    visible = mask & (canvas.depth[:last, columns] > z)
    for target, value in (
        (canvas.image, np.clip(colors, 0, 255).astype(np.uint8)),
        (canvas.label, np.full(mask.shape, BUILDING, np.uint8)),
        (canvas.depth, np.broadcast_to(z, mask.shape)),
    ):
        part = target[:last, columns]
        part[visible] = value[visible]
        target[:last, columns] = part


def paint_fence(canvas: Canvas, rng: np.random.Generator, street: Street, side: int) -> None:
    """A fence of bars, a board wall (both `fence`) or a hedge between pavement and facade."""
    camera = canvas.camera
    height, width = canvas.label.shape
    tall = rng.uniform(0.9, 2.1)
    start = rng.uniform(2, 22)
    stop = start + rng.uniform(6, 40)
    hedge, boards = rng.uniform() < 0.25, rng.uniform() < 0.4
    hue = (0.2, 0.36) if hedge else (0.02, 0.6)
    tint = color(rng, (0.3, 0.6) if hedge else (0.0, 0.4), (0.2, 0.5 if hedge else 0.8), hue)
    pitch = rng.uniform(0.18, 0.35)
    x = street.curb(side) + side * (street.walk + min(0.4, street.verge))
    z, _ = _columns(camera, width, x)
    columns = np.flatnonzero((z > start) & (z < stop) & (np.abs(z - street.crossing) > 7))
    if not len(columns):
        return
    z = z[columns].astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    up = camera.height - (rows - camera.horizon) * (z / camera.focal)[None, :]
    ragged = 0.12 * sample("cloud", z * 12, up * 0) if hedge else 0.0
    visible = (up >= 0) & (up < tall + ragged) & (canvas.depth[:, columns] > z)
    behind = canvas.image[:, columns].astype(np.float32)
    if hedge:
        light = 1 + 0.6 * sample("leaf", z * 12, up * 12)
        colors = light[..., None] * np.array(tint, np.float32)
    else:
        bars = (z % pitch < pitch * 0.42) | (np.abs(up - 0.3) < 0.06) | (np.abs(up - tall) < 0.12)
        gaps = behind * 0.7 if not boards else np.array(dim(tint, 0.6), np.float32)
        colors = np.where(bars[..., None], np.array(tint, np.float32), gaps)
    part = canvas.image[:, columns]
    part[visible] = np.clip(colors, 0, 255)[visible]
    canvas.image[:, columns] = part
    label = canvas.label[:, columns]
    label[visible] = VEGETATION if hedge else FENCE
    canvas.label[:, columns] = label
    depth = canvas.depth[:, columns]
    depth[visible] = np.broadcast_to(z, depth.shape)[visible]
    canvas.depth[:, columns] = depth
