"""The parts of a training step as programs of their own, at the shapes of the whole.

Each computes forward and backward, from the arrays that its neighbours would hand it: the features
to the head, their gradients to the backbone. What the whole step saves by fusing across these
borders is missing from their sum, and what it adds to them (the check for finite gradients, the
log window) too.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from arm_jax.data import jitter
from arm_jax.networks import Segmenter, training
from arm_jax.networks.ocr import OcrHead
from arm_jax.training.objective import Method, forward
from arm_jax.training.state import Players


class Scores(nnx.Module):
    """Stands for a network whose scores are its parameters, to differentiate the loss alone."""

    def __init__(self, scores: jax.Array, auxiliary: jax.Array, num_classes: int):
        self.scores = nnx.Param(scores)
        self.auxiliary = nnx.Param(auxiliary)
        self.num_classes = num_classes

    def __call__(self, images: jax.Array, *, auxiliary: bool, dropout_key: jax.Array) -> Any:
        return self.scores[...], self.auxiliary[...]


def _differentiated(module: nnx.Module, call: Callable) -> tuple[Callable, Any]:
    """forward and backward of `call(module, x)` in training mode, as (params, rest, x, cotangent)."""
    graphdef, params, rest = nnx.split(training(module), nnx.Param, ...)

    def program(state: Any, x: Any, cotangent: Any, with_input: bool) -> Any:
        params, rest = state

        def apply(params: Any, x: Any) -> Any:
            merged = nnx.merge(graphdef, params, jax.tree.map(lambda v: v, rest))
            return call(merged, x), nnx.state(merged, nnx.Not(nnx.Param))

        if with_input:
            out, pull, rest = jax.vjp(apply, params, x, has_aux=True)
        else:
            out, pull, rest = jax.vjp(lambda p: apply(p, x), params, has_aux=True)
        return out, pull(cotangent), rest

    return jax.jit(program, static_argnums=3), (params, rest)


def programs(
    players: Players,
    batch: dict[str, jax.Array],
    method: Method,
    transformation: optax.GradientTransformation,
) -> dict[str, Callable[[], Any]]:
    """Name -> a call that runs the part once; arrays are made here, once.

    Args:
        players: their variables are read, never written.
        batch: as `train_step` takes it, on the device.
        method, transformation: as for the step.
    """
    model: Segmenter = players.segmenter
    key = jax.random.key(0)
    found: dict[str, Callable[[], Any]] = {}

    prepare = jax.jit(jitter.prepare)
    arguments = batch["image"], batch["extent"], batch["key"] if method.jitter else None
    images = prepare(*arguments)
    found["input"] = lambda: prepare(*arguments)

    backbone, backbone_state = _differentiated(model.backbone, lambda m, x: m(x))
    features = jax.jit(lambda s, x: training(nnx.merge(*s))(x))(
        (nnx.split(model.backbone)), images
    )
    ones = jax.tree.map(lambda x: jnp.full(x.shape, 1e-3, x.dtype), features)
    found["backbone"] = lambda: backbone(backbone_state, images, ones, False)

    def auxiliary(m: Any, x: Any) -> jax.Array:
        return m(x, key)

    auxiliary_head, auxiliary_state = _differentiated(model.auxiliary_head, auxiliary)
    small = jnp.full((*features[2].shape[:3], model.num_classes), 1e-6)
    found["auxiliary head"] = lambda: auxiliary_head(auxiliary_state, features[2], small, True)
    coarse = auxiliary_head(auxiliary_state, features[2], small, True)[0]

    if isinstance(model.head, OcrHead):
        head, head_state = _differentiated(model.head, lambda m, x: m(*x, key))
        head_input: Any = (features[3], coarse)
    else:
        head, head_state = _differentiated(model.head, auxiliary)
        head_input = features
    shape = jax.eval_shape(lambda s, x: training(nnx.merge(*s))(*x), nnx.split(model.head),
        (head_input, key) if not isinstance(model.head, OcrHead) else (*head_input, key))
    large = jnp.full(shape.shape, 1e-6, shape.dtype)
    found["head"] = lambda: head(head_state, head_input, large, True)
    scores = head(head_state, head_input, large, True)[0]

    stand_in = Players(Scores(scores, coarse, model.num_classes), players.arm)
    graphdef, params, rest = nnx.split(stand_in, nnx.Param, ...)

    @jax.jit
    def objective(params: Any, rest: Any, images: jax.Array, labels: jax.Array) -> Any:
        def total(params: Any) -> Any:
            merged = nnx.merge(graphdef, params, jax.tree.map(lambda v: v, rest))
            terms = forward(merged, images, labels, method, jnp.bool_(True), key)
            return terms["total"], terms

        return jax.grad(total, has_aux=True)(params)

    found["loss and ARM"] = lambda: objective(params, rest, images, batch["label"])

    parameters = nnx.state(players, nnx.Param)
    state = jax.jit(transformation.init)(parameters)
    gradients = jax.tree.map(jnp.zeros_like, parameters)

    @jax.jit
    def update(gradients: Any, state: Any, parameters: Any) -> Any:
        updates, state = transformation.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    found["optimiser"] = lambda: update(gradients, state, parameters)
    return found
