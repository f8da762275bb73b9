"""The loss and confidence of full-resolution pixels, a few rows at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import arm, losses, networks
from arm_jax.training import objective as objectives
from arm_jax.training import pixel_maps


def look(scores, labels):
    return losses.cross_entropy(scores, labels), arm.confidence(scores, detach=False)


@pytest.mark.parametrize(("size", "tiles"), [((37, 50), (1, 7)), ((9, 70), (4,))])
def test_tiles_change_neither_value_nor_gradient(size, tiles):
    keys = jax.random.split(jax.random.key(0), 3)
    scores = 5 * jax.random.normal(keys[0], (2, 9, 16, 5))
    labels = jax.random.randint(keys[1], (2, *size), 0, 5)
    weights = jax.random.normal(keys[2], (2, *size))

    def total(scores, tile_bytes):
        loss, v = pixel_maps.by_rows(look, scores, labels, tile_bytes=tile_bytes)
        return jnp.sum(weights * (loss + v)), (loss, v)

    whole = jax.jit(lambda scores: look(networks.resize(scores, size), labels))(scores)
    bytes_a_row = 4 * 2 * size[1] * 5
    grad = jax.jit(jax.grad(total, has_aux=True), static_argnums=1)
    expected, _ = grad(scores, 2**30)
    for rows in tiles:
        gradient, maps = grad(scores, rows * bytes_a_row)
        for got, wanted in zip(maps, whole, strict=True):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, atol=2e-5)
        np.testing.assert_allclose(gradient, expected, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_arm_in_tiles(rows):
    """Value, gradient for the parameters, and the derivative by v that an ablation needs."""
    graphdef, params = nnx.split(arm.Arm(rngs=nnx.Rngs(1)))
    v = jax.random.uniform(jax.random.key(0), (2, 10, 6), minval=-1.0)
    cotangent = jax.random.normal(jax.random.key(1), v.shape)

    def found(wrap):
        def weigh(params, v):
            return wrap(nnx.merge(graphdef, params))(v)

        value, pull = jax.vjp(weigh, params, v)
        slope = jax.jvp(lambda v: weigh(params, v), (v,), (jnp.ones_like(v),))[1]
        return value, *pull(cotangent), slope

    def tiled(function):
        return pixel_maps.in_tiles(function, bytes_a_pixel=1, tile_bytes=rows * 2 * 6)

    whole, parted = (
        jax.tree.leaves(jax.jit(functools.partial(found, wrap))())
        for wrap in (lambda function: function, tiled)
    )
    for got, wanted in zip(parted, whole, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_memory_does_not_grow_with_the_number_of_classes():
    """One full-resolution copy of 150 classes' scores is 72 MiB here; a tile of them is 1."""
    scores = jax.ShapeDtypeStruct((2, 32, 60, 150), jnp.float32)
    labels = jax.ShapeDtypeStruct((2, 256, 240), jnp.int32)
    copy = 2 * 256 * 240 * 150 * 4

    def temporary(tile_bytes):
        def total(scores, labels):
            loss, v = pixel_maps.by_rows(look, scores, labels, tile_bytes=tile_bytes)
            w = arm.normalize(arm.LinearArm()(jax.lax.stop_gradient(v)), labels != 255)
            return jnp.sum(w * loss)

        compiled = jax.jit(jax.grad(total)).lower(scores, labels).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(2**40) > copy
    assert temporary(2**20) < copy / 4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"arm.detach": False},
        {"loss.kind": "kl", "arm.input": "s"},
        pytest.param(
            {"loss.kind": "ohem", "loss.kept_per_image": 100, "arm.kind": "none"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"arm.signal": "trimmed"}, marks=pytest.mark.slow),
        pytest.param({"arm.scope": "image"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_objective_of_every_kind_is_the_same_in_tiles(changes, monkeypatch):
    method = tiny.method(changes)
    loss = method.config.loss.kind
    rng = np.random.default_rng(0)
    extra = 1 if loss == "kl" else 0
    scores = jnp.asarray(rng.normal(size=(4, 8, 8, tiny.CLASSES + extra)), jnp.float32)
    auxiliary = jnp.asarray(rng.normal(size=(4, 2, 2, tiny.CLASSES)), jnp.float32)
    labels = jnp.asarray(tiny.batch(4)["label"])
    graphdef, params = nnx.split(None if loss == "ohem" else arm.Arm(rngs=nnx.Rngs(1)))

    def total(params, scores, auxiliary):
        weighting = nnx.merge(graphdef, params)
        return objectives.from_scores(weighting, scores, auxiliary, labels, method, True).total

    def found():
        return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(params, scores, auxiliary)

    expected = found()
    for function in (pixel_maps.by_rows, pixel_maps.in_tiles):
        small = {**function.__kwdefaults__, "tile_bytes": 8000}
        monkeypatch.setattr(function, "__kwdefaults__", small)
    for got, wanted in zip(jax.tree.leaves(found()), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
