"""Colour jitter on the device: uint8 images in, distorted ones out.

It is mmsegmentation's `PhotoMetricDistortion` (mmseg/datasets/transforms/transforms.py)
with its intermediate results in bytes and OpenCV's colour conversions, so that the same drawn
parameters give the same image. Bytes cross to the device, a quarter of what floats would take.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

BRIGHTNESS = 32.0  # largest shift
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE = 18  # in steps of two degrees, -18 to 17: the published code draws without the upper end

# OpenCV divides by multiplying with 2^12 / divisor, rounded, and shifting
# (modules/imgproc/src/color_hsv.simd.hpp). The quotients for 1..255 are never near a half, so that
# float32 rounds them as doubles would; a table of them would be slow to read on some devices.
_SHIFT = 12


class Distortion(NamedTuple):
    """What is done to each example of a batch; all (b,).

    A change that is off has a value that changes nothing, but converting to hue and saturation and
    back would change bytes, so these two have a switch as well.
    """

    brightness: jax.Array  # float32, added
    contrast: jax.Array  # float32, factor
    contrast_first: jax.Array  # bool, before saturation and hue, else after
    saturation: jax.Array  # float32, factor
    saturate: jax.Array  # bool
    hue: jax.Array  # int32, steps of two degrees
    turn: jax.Array  # bool


def draw(keys: jax.Array) -> Distortion:
    """Draw one distortion for each key: uint32 (b, 2) raw bits. Each change is on half the time."""

    def one(bits: jax.Array) -> Distortion:
        key = jax.random.wrap_key_data(bits, impl="threefry2x32")
        switch_key, *value_keys = jax.random.split(key, 5)
        on = jax.random.bernoulli(switch_key, shape=(5,))
        brightness = jax.random.uniform(value_keys[0], minval=-BRIGHTNESS, maxval=BRIGHTNESS)
        contrast = jax.random.uniform(value_keys[1], minval=CONTRAST[0], maxval=CONTRAST[1])
        saturation = jax.random.uniform(value_keys[2], minval=SATURATION[0], maxval=SATURATION[1])
        hue = jax.random.randint(value_keys[3], (), -HUE, HUE)
        return Distortion(
            brightness=jnp.where(on[0], brightness, 0.0),
            contrast=jnp.where(on[1], contrast, 1.0),
            contrast_first=on[2],
            saturation=jnp.where(on[3], saturation, 1.0),
            saturate=on[3],
            hue=jnp.where(on[4], hue, 0),
            turn=on[4],
        )

    return jax.vmap(one)(keys)


def jitter(images: jax.Array, keys: jax.Array) -> jax.Array:
    """Distort each image by what its key draws: uint8 RGB (b, h, w, 3) -> int32 in 0..255."""
    return distort(images, draw(keys))


def distort(images: jax.Array, drawn: Distortion) -> jax.Array:
    """Apply drawn distortions: uint8 RGB (b, h, w, 3) -> int32 of the same shape in 0..255."""

    def one(image: jax.Array, how: Distortion) -> jax.Array:
        image = _bytes(image.astype(jnp.float32) + how.brightness)
        image = _bytes(image * jnp.where(how.contrast_first, how.contrast, 1.0))
        hue, saturation, value = _to_hsv(image)
        saturation = _bytes(saturation * how.saturation)
        image = jnp.where(how.saturate, _to_rgb(hue, saturation, value), image)
        hue, saturation, value = _to_hsv(image)
        image = jnp.where(how.turn, _to_rgb((hue + how.hue) % 180, saturation, value), image)
        return _bytes(image * jnp.where(how.contrast_first, 1.0, how.contrast))

    return jax.vmap(one)(images, drawn)


def _bytes(x: jax.Array) -> jax.Array:
    """Clipped to 0..255 and cut to whole numbers, as a cast to bytes does; int32."""
    return jnp.clip(x, 0, 255).astype(jnp.int32)


def _quotient(dividend: int, divisor: jax.Array) -> jax.Array:
    """dividend / divisor, rounded; 0 / 0 never matters, as what it multiplies is then 0."""
    return jnp.round(dividend / jnp.maximum(divisor, 1).astype(jnp.float32)).astype(jnp.int32)


def _to_hsv(image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """int32 RGB (h, w, 3) -> hue 0..179, saturation and value 0..255, by OpenCV's arithmetic."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    spread = value - jnp.minimum(jnp.minimum(red, green), blue)
    half = 1 << (_SHIFT - 1)
    saturation = (spread * _quotient(255 << _SHIFT, value) + half) >> _SHIFT
    sector = jnp.where(
        value == red,
        green - blue,
        jnp.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (sector * _quotient(30 << _SHIFT, spread) + half) >> _SHIFT
    return jnp.where(hue < 0, hue + 180, hue), saturation, value


def _to_rgb(hue: jax.Array, saturation: jax.Array, value: jax.Array) -> jax.Array:
    """The inverse of `_to_hsv` in float32, cut to whole numbers as OpenCV does; int32 (h, w, 3)."""
    angle = hue.astype(jnp.float32) * (6 / 180)
    share = saturation.astype(jnp.float32) * (1 / 255)
    full = value.astype(jnp.float32) * (1 / 255)

    def channel(shift: int) -> jax.Array:
        # 1 for two sectors of the colour circle, 0 for two, and slopes between.
        distance = jnp.abs((angle + shift) % 6 - 3)
        level = jnp.clip(distance - 1, 0, 1)
        return full * (1 - share * (1 - level)) * 255

    return _bytes(jnp.stack([channel(0), channel(4), channel(2)], -1))
