"""The parts of a training step, or of inference, as programs of their own at the true shapes.

Each gets from arrays what its neighbours would hand it: features to the head, their gradients to
the backbone. For training each computes forward and backward. What the whole saves by fusing across
these borders is missing from the sum of the parts; the step's check for finite gradients and its
log window are in no part. The whole batch goes through at once, also where the config has the step
take it in turns (`accumulate`), which then does some of the network's work twice.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from arm_jax import networks
from arm_jax.data import jitter
from arm_jax.networks import Segmenter
from arm_jax.networks.input import normalize
from arm_jax.networks.parts import called, merged
from arm_jax.training.objective import Method, from_scores
from arm_jax.training.state import Players

Programs = dict[str, Callable[[], Any]]
COTANGENT = 1e-6  # the gradient at every output; its value changes no running time


def training(
    players: Players,
    batch: dict[str, jax.Array],
    method: Method,
    transformation: optax.GradientTransformation,
) -> Programs:
    """Name -> a call that runs the part once on arrays that are made here.

    Args:
        players: their variables are read, never written.
        batch: as `train_step` takes it, on the devices.
        method, transformation: as for the step.
    """
    model: Segmenter = players.segmenter
    key = jax.random.key(0)

    @jax.jit
    def prepare(images: jax.Array, extent: jax.Array, keys: jax.Array | None) -> jax.Array:
        return normalize(images if keys is None else jitter.jitter(images, keys), extent)

    bytes_in = (
        batch["image"],
        batch["extent"],
        batch["key"] if method.config.augment.jitter else None,
    )
    images = prepare(*bytes_in)

    backbone, features = _both_ways(model.backbone, (images,), of_input=False)
    auxiliary, coarse = _both_ways(model.auxiliary_head, (features[2], key), remat=model.remat)
    inputs = (features, coarse if model.needs_coarse else None, key)
    head, scores = _both_ways(model.head, inputs, remat=model.remat)

    parameters = nnx.state(players, nnx.Param)
    gradients = jax.tree.map(jnp.zeros_like, parameters)
    momentum = jax.jit(transformation.init)(parameters)

    @jax.jit
    def update(gradients: Any, momentum: Any, parameters: Any) -> Any:
        updates, momentum = transformation.update(gradients, momentum, parameters)
        return optax.apply_updates(parameters, updates), momentum

    return {
        "input": lambda: prepare(*bytes_in),
        "backbone": backbone,
        "head": head,
        "auxiliary head": auxiliary,
        "loss and ARM": _objective(players.arm, scores, coarse, batch["label"], method),
        "optimiser": lambda: update(gradients, momentum, parameters),
    }


def inference(model: Segmenter, images: jax.Array, extent: jax.Array) -> Programs:
    """The same for scores from uint8 images, without the auxiliary head where it is not needed."""
    prepare = jax.jit(normalize)
    normal = prepare(images, extent)
    backbone, features = _one_way(model.backbone, (normal,))
    programs: Programs = {"input": lambda: prepare(images, extent), "backbone": backbone}
    coarse = None
    if model.needs_coarse:
        programs["auxiliary head"], coarse = _one_way(model.auxiliary_head, (features[2], None))
    programs["head"], _ = _one_way(model.head, (features, coarse, None))
    return programs


def _one_way(module: Any, inputs: tuple[Any, ...]) -> tuple[Callable[[], Any], Any]:
    """`module(*inputs)` as a program in evaluation mode, and what it returns."""
    graphdef, state = nnx.split(module)
    call = jax.jit(lambda state, inputs: nnx.merge(graphdef, state)(*inputs))
    return (lambda: call(state, inputs)), call(state, inputs)


def _both_ways(
    module: Any, inputs: tuple[Any, ...], of_input: bool = True, remat: bool = False
) -> tuple[Callable[[], Any], Any]:
    """`module(*inputs)` in training mode with its gradients as a program, and what it returns.

    Args:
        of_input: also the gradient of the first input, which only images need not have.
        remat: compute it again in the backward pass, as the network does with its heads.
    """
    graphdef, params, rest = nnx.split(networks.training(module), nnx.Param, ...)
    first, *others = inputs

    def apply(params: Any, first: Any, rest: Any, others: Any) -> Any:
        own = merged(graphdef, params, rest)
        call = nnx.remat(called) if remat else called
        return call(own, first, *others), nnx.state(own, nnx.Not(nnx.Param))

    @jax.jit
    def program(params: Any, first: Any, rest: Any, others: Any, cotangent: Any) -> Any:
        if of_input:
            out, pull, statistics = jax.vjp(
                lambda p, x: apply(p, x, rest, others), params, first, has_aux=True
            )
        else:
            out, pull, statistics = jax.vjp(
                lambda p: apply(p, first, rest, others), params, has_aux=True
            )
        return out, pull(cotangent), statistics

    arguments = params, first, rest, others
    shapes, _ = jax.eval_shape(apply, *arguments)
    cotangent = jax.tree.map(lambda x: jnp.full(x.shape, COTANGENT, x.dtype), shapes)
    return (lambda: program(*arguments, cotangent)), program(*arguments, cotangent)[0]


def _objective(
    weighting: Any,
    scores: jax.Array,
    coarse: jax.Array,
    labels: jax.Array,
    method: Method,
) -> Callable[[], Any]:
    """From the scores to their gradients and ARM's."""
    graphdef, params, rest = nnx.split(weighting, nnx.Param, ...)

    @jax.jit
    def program(params: Any, scores: Any, coarse: Any, rest: Any, labels: jax.Array) -> Any:
        def total(params: Any, scores: Any, coarse: Any) -> Any:
            terms = from_scores(
                merged(graphdef, params, rest), scores, coarse, labels, method, jnp.bool_(True)
            )
            return terms.total, terms

        return jax.grad(total, argnums=(0, 1, 2), has_aux=True)(params, scores, coarse)

    return lambda: program(params, scores, coarse, rest, labels)
