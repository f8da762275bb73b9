"""Generated street scenes: textured images with exact labels, by (split, index, size).

They stand in for a benchmark where nothing can be downloaded. A camera drives down a street of
facades, trees, parked and moving cars, people, poles and signs, in changing light, haze and noise.
Colours are shared on purpose between classes (grey houses, roads and skies; green trees and grass;
cars and clothes of any colour), so that texture, shape and place have to be learned.
"""

import hashlib
from functools import lru_cache

import cv2
import numpy as np

from arm_jax.data.scenes import objects
from arm_jax.data.scenes import street as street_parts
from arm_jax.data.scenes.canvas import Camera, Canvas
from arm_jax.data.scenes.street import Street


def generate(
    split: str, index: int, size: tuple[int, int] = (128, 256)
) -> tuple[np.ndarray, np.ndarray]:
    """One scene: image uint8 (h, w, 3) RGB, and label uint8 (h, w) of `labels.STREET_SCENES`.

    The same (split, index) is the same street at any `size`; the same call gives the same bytes.
    """
    digest = hashlib.blake2b(split.encode(), digest_size=8).digest()
    rng = np.random.default_rng([int.from_bytes(digest, "little"), index])
    height, width = size
    camera = Camera(
        focal=height * rng.uniform(0.85, 1.2),
        horizon=height * rng.uniform(0.38, 0.52),
        center=width * rng.uniform(0.36, 0.64),
        height=rng.uniform(1.3, 1.9),
    )
    canvas = Canvas(size, camera)
    street = Street.draw(rng)
    haze = street_parts.paint_sky(canvas, rng)
    street_parts.paint_ground(canvas, rng, street)
    _cast_shadow(canvas, rng, street)
    urban = rng.uniform(0.5, 1.0)
    for side in (-1, 1):
        if rng.uniform() < urban:
            street_parts.paint_facades(canvas, rng, street, side)
        if rng.uniform() < 0.8 and street.verge > 0:
            street_parts.paint_fence(canvas, rng, street, side)
    _plant(canvas, rng, street)
    _drive(canvas, rng, street)
    _walk(canvas, rng, street)
    return _develop(canvas, rng, haze), canvas.label


def _axis(street: Street, z: float) -> float:
    return street.middle + street.bend * min(z, 80) ** 2


def _cast_shadow(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Shadows of houses that lie across the ground, in strips of different lengths."""
    side = int(rng.choice([-1, 1]))
    dark = rng.uniform(0.45, 0.8)
    sunny = rng.uniform() < 0.55
    edges = np.cumsum(rng.uniform(5, 14, 9))
    lengths = rng.uniform(0.0, 1.3, 9) * (street.road + street.walk)
    if not sunny:
        return
    near = 1.0
    start = street.facade(side)
    for far, length in zip(edges, lengths, strict=True):
        ends = [start, start, start - side * length, start - side * (length + 1)]
        strip = canvas.camera.project(np.array(ends), 0.0, np.array([near, far, far, near]))
        canvas.shade(strip, dark, 0.5)
        near = far


def _plant(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Trees and bushes behind the pavements, lamp posts and signs at the kerbs."""
    leafy = rng.uniform(0.1, 0.9)
    spacing = rng.uniform(9, 26)
    for side in (-1, 1):
        z = rng.uniform(3, 14)
        while z < 75:
            if rng.uniform() < leafy:
                x = _axis(street, z) + side * (street.road + street.walk * rng.uniform(0.6, 1.6))
                objects.tree(canvas, rng, x, z, bush=rng.uniform() < 0.3)
            z += rng.uniform(4, 16)
        z = rng.uniform(4, spacing)
        while z < 70:
            if rng.uniform() < 0.75:
                objects.lamp_post(canvas, rng, _axis(street, z) + side * (street.road + 0.45), z)
            z += spacing
        for z in rng.uniform(5, 45, 3):
            if rng.uniform() < 0.62:
                x = _axis(street, z) + side * (street.road + rng.uniform(0.35, 1.0))
                objects.sign(canvas, rng, x, z)


def _drive(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Parked cars at both kerbs, traffic in both directions."""
    busy, parked = rng.uniform(0.1, 0.9), rng.uniform(0.0, 0.9)
    for lane, share in ((-1.0, parked), (1.0, parked), (-0.42, busy), (0.42, busy)):
        at_curb = abs(lane) == 1.0
        z = rng.uniform(3.5, 14) if at_curb else rng.uniform(7, 26)
        while z < 85:
            if rng.uniform() < share and abs(z - street.crossing) > 6.5:
                x = street.road * lane - np.sign(lane) * at_curb * 1.05 + rng.uniform(-0.2, 0.2)
                objects.car(canvas, rng, _axis(street, z) + x, z, toward=lane < 0)
            z += rng.uniform(5.4, 8) if at_curb else rng.uniform(10, 28)


def _walk(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """People on the pavements, alone and in groups, and a few on the road."""
    for _ in range(int(rng.integers(2, 9))):
        side = int(rng.choice([-1, 1]))
        z = 4.5 + 45 * rng.uniform() ** 1.6
        place = street.road + rng.uniform(0.5, 1.0) * street.walk
        if rng.uniform() < 0.15:
            place = rng.uniform(0.2, 0.9) * street.road
        for _ in range(int(rng.integers(1, 4))):
            x = _axis(street, z) + side * place + rng.uniform(-0.5, 0.5)
            objects.pedestrian(canvas, rng, x, z + rng.uniform(-0.4, 0.4))


@lru_cache
def _grain() -> np.ndarray:
    return np.random.default_rng(11).standard_normal(1 << 20, np.float32)


def _develop(canvas: Canvas, rng: np.random.Generator, haze: np.ndarray) -> np.ndarray:
    """Haze with distance, colour of the light, exposure, blur of the lens and noise."""
    image = canvas.image.astype(np.float32)
    clear = np.exp(canvas.depth * np.float32(-1 / rng.uniform(70, 600)))
    clear[np.isinf(canvas.depth)] = 1
    image = haze + (image - haze) * clear[..., None]
    exposure = rng.uniform(0.65, 1.15)
    image *= (exposure * rng.uniform(0.9, 1.1, 3)).astype(np.float32)
    image = (image - 110) * np.float32(rng.uniform(0.8, 1.15)) + 110
    blur = rng.uniform(0.25, 0.75) * len(image) / 256
    image = cv2.GaussianBlur(image, (0, 0), max(blur, 0.3))
    strength = np.float32(rng.uniform(1.5, 8))
    flat, start = image.reshape(-1), int(rng.integers(len(_grain())))
    for first in range(-start, flat.size, len(_grain())):
        part = flat[max(first, 0) : first + len(_grain())]
        part += strength * _grain()[max(-first, 0) :][: len(part)]
    return np.clip(image, 0, 255).astype(np.uint8)
