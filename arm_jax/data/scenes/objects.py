"""What stands in a generated street: cars, pedestrians, trees, lamp posts, signs.

Each function paints one object at ground position (x, z) metres and draws its style from `rng`;
how much it draws does not depend on the size of the image.
"""

import colorsys

import numpy as np

from arm_jax.data.labels import STREET_SCENES
from arm_jax.data.scenes.canvas import Canvas, stretch

POLE, SIGN, CAR, PEDESTRIAN, VEGETATION = (
    STREET_SCENES.names.index(name) for name in ("pole", "sign", "car", "pedestrian", "vegetation")
)
_CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 13)[:-1]) for f in (np.cos, np.sin)], -1)
_GLASS = (38, 46, 54)


def color(rng: np.random.Generator, saturation=(0.0, 1.0), value=(0.2, 0.95), hue=(0.0, 1.0)):
    """A random RGB colour within the given ranges of hue, saturation and value."""
    drawn = (rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))
    return tuple(int(255 * c) for c in colorsys.hsv_to_rgb(*drawn))


def dim(rgb, factor: float):
    return tuple(min(255, int(c * factor)) for c in rgb)


def car(canvas: Canvas, rng: np.random.Generator, x: float, z: float, toward: bool) -> None:
    """A car, van or bus seen from behind, or from the front when it drives toward the camera."""
    camera = canvas.camera
    paint = color(rng, saturation=(0, 0.9), value=(0.12, 0.95))
    kind = rng.uniform()
    width, length, waist, top, hood, trunk = 1.78, 4.2, 0.86, 1.46, 0.3, 0.1
    if kind > 0.78:
        width, length, waist, top, hood, trunk = 1.95, 5.0, 1.15, 2.15, 0.12, 0.02
    if kind > 0.92:
        width, length, waist, top, hood, trunk = 2.5, 9.0, 1.35, 3.0, 0.0, 0.0
    if toward:
        hood, trunk = trunk, hood
    spread = rng.uniform(0.92, 1.08)
    half, length = width * spread / 2, length * spread
    left, right, near, far, low = x - half, x + half, z, z + length, 0.22
    glass_near, glass_far = near + trunk * length, far - hood * length
    left_roof, right_roof = left + 0.12, right - 0.12
    ground = camera.project([left, right, right, left], [0] * 4, [near, near, far, far])
    canvas.shade(ground, 0.45, near)

    parts: list = []

    def panel(xs, ys, zs, rgb):
        parts.append((camera.project(xs, ys, zs), rgb))

    def upright(x0, x1, y0, y1, rgb):
        panel([x0, x1, x1, x0], [y0, y0, y1, y1], near, rgb)

    if abs(x) > half:
        # The flank that faces the camera.
        inner, roof = (left, left_roof) if x > 0 else (right, right_roof)
        panel(inner, [low, low, waist, waist], [near, far, far, near], dim(paint, 0.7))
        panel(
            [inner, inner, roof, roof],
            [waist, waist, top, top],
            [glass_near, glass_far, glass_far - 0.5, glass_near + 0.3],
            dim(_GLASS, 0.8),
        )
        for axle in (near + 0.19 * length, far - 0.19 * length):
            wheel = 0.31 * _CIRCLE
            panel(inner, 0.31 + wheel[:, 1], axle + wheel[:, 0], (18, 18, 18))
    panel([left, right, right, left], waist, [near, near, far, far], dim(paint, 1.15))
    slope = [glass_near, glass_near, glass_near + 0.3, glass_near + 0.3]
    panel([left, right, right_roof, left_roof], [waist, waist, top, top], slope, paint)
    panel(
        [left + 0.14, right - 0.14, right_roof - 0.08, left_roof + 0.08],
        [waist + 0.04, waist + 0.04, top - 0.12, top - 0.12],
        slope,
        _GLASS,
    )
    upright(left, right, low, waist, paint)
    upright(left, right, low, 0.42, dim(paint, 0.6))
    lamp = (235, 232, 205) if toward else (170, 22, 26)
    for outer, inward in ((left, 1), (right, -1)):
        upright(outer, outer + inward * 0.36, 0.58, 0.76, lamp)
        upright(outer + inward * 0.04, outer + inward * 0.26, 0, 0.26, (15, 15, 15))
    upright(x - 0.26, x + 0.26, 0.46, 0.57, (225, 225, 220))
    canvas.polygons(parts, CAR, near)


def pedestrian(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A walking person of 1.5 to 1.95 m, in clothes of any colour."""
    tall = rng.uniform(1.5, 1.95)
    jacket = color(rng, saturation=(0, 0.9), value=(0.1, 0.9))
    trousers = color(rng, saturation=(0, 0.6), value=(0.08, 0.6))
    skin = color(rng, saturation=(0.25, 0.6), value=(0.35, 0.92), hue=(0.03, 0.1))
    stride, swing = rng.uniform(0.04, 0.26), rng.uniform(0.1, 0.24)
    broad = rng.uniform(0.19, 0.26)
    scale = canvas.camera.focal / max(z, 0.5)
    foot = canvas.camera.project(x, 0.0, z)

    def place(points):
        return foot + np.asarray(points) * (scale * tall, -scale * tall)

    def limb(start, end, thick):
        (x0, y0), (x1, y1) = start, end
        return place([(x0 - thick, y0), (x0 + thick, y0), (x1 + thick, y1), (x1 - thick, y1)])

    canvas.shade(foot + _CIRCLE * (0.4 * scale, 0.07 * scale), 0.6, z)
    hips, neck = 0.48, 0.84
    parts = [
        (limb((0.04, hips), (stride / 2, 0.0), 0.045), trousers),
        (limb((-0.04, hips), (-stride / 2, 0.0), 0.045), dim(trousers, 0.8)),
        (limb((broad / 2, neck - 0.03), (swing, 0.46), 0.03), dim(jacket, 0.75)),
        (limb((-broad / 2, neck - 0.03), (-swing, 0.46), 0.03), dim(jacket, 0.75)),
        (
            place([(-broad / 2, neck), (broad / 2, neck), (0.1, hips - 0.03), (-0.1, hips - 0.03)]),
            jacket,
        ),
        (place(np.array([0, 0.92]) + _CIRCLE * (0.055, 0.07)), skin),
    ]
    if rng.uniform() < 0.3:
        bag = rng.uniform(-0.2, 0.2)
        parts += [(limb((bag, 0.46), (bag, 0.28), 0.07), color(rng))]
    canvas.polygons(parts, PEDESTRIAN, z)


def tree(canvas: Canvas, rng: np.random.Generator, x: float, z: float, bush: bool = False) -> None:
    """A tree, or a bush without a visible trunk: leafy lobes with a ragged outline."""
    camera = canvas.camera
    height = rng.uniform(0.8, 2.0) if bush else rng.uniform(4.5, 9.5)
    spread = height * (rng.uniform(0.6, 0.9) if bush else rng.uniform(0.26, 0.42))
    autumn = rng.uniform() < 0.12
    hue = (0.06, 0.14) if autumn else (0.19, 0.37)
    green = np.array(color(rng, saturation=(0.25, 0.7), value=(0.22, 0.55), hue=hue), np.float32)
    bark = color(rng, saturation=(0.15, 0.45), value=(0.18, 0.4), hue=(0.05, 0.1))
    lobes = rng.uniform(-1, 1, (6, 2))
    offset = rng.uniform(size=2)
    thick = 0.022 * height
    crown = height * 0.5 if bush else height * rng.uniform(0.6, 0.7)

    if not bush:
        trunk = camera.project(
            [x - thick, x + thick, x + thick * 0.7, x - thick * 0.7],
            [0, 0, crown, crown],
            [z] * 4,
        )
        canvas.polygons([(trunk, bark)], VEGETATION, z)
    scale = camera.focal / z
    middle = camera.project(x, crown, z)[0]
    radius = np.array([spread, height - crown]) * scale
    window = canvas.window(middle + np.array([-1.35, 1.35])[:, None] * radius)
    if window is None:
        return
    rows = (np.arange(window[0].start, window[0].stop, dtype=np.float32) - middle[1]) / radius[1]
    columns = (np.arange(window[1].start, window[1].stop, dtype=np.float32) - middle[0]) / radius[0]
    inside = np.full((len(rows), len(columns)), -np.inf, np.float32)
    for across, down in lobes * 0.62:
        distance = (rows - down)[:, None] ** 2 + (columns - across)[None, :] ** 2
        np.maximum(inside, 0.42 - distance, out=inside)
    # Leaves keep their size in metres, but never get finer than the pixels.
    leaves = stretch("leaf", inside.shape, max(0.5, min(14 / scale, 1.0)), offset)
    light = 1.0 + 0.45 * leaves - 0.22 * rows[:, None]
    colors = np.clip(green * light[..., None], 0, 255).astype(np.uint8)
    canvas.put(window, colors, inside + 0.16 * leaves > 0, VEGETATION, z)


def _post(canvas: Canvas, x: float, z: float, height: float, width: float, rgb) -> None:
    lit = dim(rgb, 1.3)
    parts = [
        (canvas.camera.project([x - w, x + w, x + w, x - w], [0, 0, height, height], [z] * 4), tint)
        for w, tint in ((width / 2, rgb), (width / 6, lit))
    ]
    canvas.polygons(parts, POLE, z)


def lamp_post(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A street lamp with an arm over the road."""
    rgb = color(rng, saturation=(0, 0.25), value=(0.15, 0.65))
    height, width = rng.uniform(5, 8.5), rng.uniform(0.12, 0.2)
    reach = -np.sign(x) * rng.uniform(0.8, 2.0)
    _post(canvas, x, z, height, width, rgb)
    arm = [x, x + reach, x + reach, x]
    head = [x + reach * 0.7, x + reach * 1.2, x + reach * 1.2, x + reach * 0.7]
    top = [height - 0.1, height + 0.1, height + 0.2, height]
    canvas.polygons(
        [
            (canvas.camera.project(arm, top, [z] * 4), rgb),
            (
                canvas.camera.project(
                    head, [height, height + 0.05, height + 0.3, height + 0.25], [z] * 4
                ),
                dim(rgb, 1.5),
            ),
        ],
        POLE,
        z,
    )


def sign(canvas: Canvas, rng: np.random.Generator, x: float, z: float) -> None:
    """A traffic sign or a traffic light, each on its pole."""
    rgb = color(rng, saturation=(0, 0.15), value=(0.3, 0.7))
    height = rng.uniform(2.3, 3.1)
    radius = rng.uniform(0.34, 0.5)
    kind = int(rng.integers(5))
    _post(canvas, x, z, height, 0.1, rgb)
    middle = canvas.camera.project(x, height, z)
    scale = canvas.camera.focal / z
    if kind == 4:
        box = np.array([(-0.2, -0.5), (0.2, -0.5), (0.2, 0.5), (-0.2, 0.5)])
        parts = [(middle + box * scale, (24, 26, 24))]
        lit = int(rng.integers(3))
        for k, lamp in enumerate([(230, 50, 40), (240, 180, 50), (60, 220, 120)]):
            disc = middle + (_CIRCLE * 0.12 + (0, -0.31 + 0.31 * k)) * scale
            parts.append((disc, lamp if k == lit else dim(lamp, 0.3)))
        canvas.polygons(parts, SIGN, z - 0.05)
        return
    red, white, blue, yellow = (190, 25, 35), (235, 235, 230), (25, 70, 160), (235, 190, 30)
    square = np.array([(-1, -0.8), (1, -0.8), (1, 0.8), (-1, 0.8)])
    outline, rim, face = (
        (_CIRCLE, red, white),
        (np.array([(-1, 0.8), (1, 0.8), (0, -0.95)]), red, white),
        (square, white, blue),
        (_CIRCLE, white, yellow if rng.uniform() < 0.5 else blue),
    )[kind]
    parts = [
        (middle + outline * radius * scale, rim),
        (middle + outline * radius * 0.72 * scale, face),
        (middle + square * (0.12, 0.4) * radius * scale, (30, 30, 34)),
    ]
    canvas.polygons(parts, SIGN, z - 0.05)
