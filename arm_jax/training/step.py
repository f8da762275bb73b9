"""One training step: both players, one `value_and_grad`, one update (Sec. 3.3 to 3.5)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from arm_jax import schedules, targets, theorem
from arm_jax.data import jitter
from arm_jax.networks.input import normalize
from arm_jax.networks.parts import merged
from arm_jax.system import sharding
from arm_jax.system.compilation import all_true
from arm_jax.training import accumulation
from arm_jax.training.beliefs import look
from arm_jax.training.given import Given, teaches
from arm_jax.training.objective import Method, forward, from_scores
from arm_jax.training.records import Logged, Terms, Window
from arm_jax.training.state import LossScale, Players, TrainState, parts_of_segmenter
from arm_jax.training.teacher import Beliefs


def create_state(
    players: Players,
    transformation: optax.GradientTransformation,
    dtype: Any,
    seed: int = 0,
    targets: Any = None,
) -> tuple[nnx.GraphDef, TrainState]:
    """The state before the first step.

    Args:
      players: freshly made.
      transformation: as from `optimizer.create`.
      dtype: the compute type, which decides about loss scaling.
      seed: of dropout.
      targets: the config's section of that name; None for a run without a teacher.
    """
    graphdef, params, *rest = nnx.split(players, nnx.Param, ...)
    (statistics,) = rest
    beliefs = None
    if targets is not None:
        parts = parts_of_segmenter(params, statistics)
        beliefs = Beliefs.create(*parts, targets, players.segmenter.num_classes)
    state = TrainState(
        step=jnp.int32(0),
        seed=jnp.uint32(seed),
        params=params,
        statistics=statistics,
        optimizer=transformation.init(params),
        loss_scale=LossScale.create(dtype),
        window=Window.empty(),
        histogram=theorem.empty(),
        beliefs=beliefs,
    )
    return graphdef, state


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    graphdef: nnx.GraphDef,
    transformation: optax.GradientTransformation,
    method: Method,
) -> tuple[TrainState, Logged[jax.Array]]:
    """One update of both players on one global batch.

    A step whose gradients are not finite, or whose batch has no labelled pixel, changes no
    parameter, no statistic and no momentum; it is counted in the window. The schedules go on.

    Args:
      state: as from `create_state`.
      batch: "image" (b, h, w, 3) uint8, "label" (b, h, w) uint8, "extent" (b, 2) int32 and "key"
        (b, 2) uint32, as `data.pipeline` yields them; or "features" in place of the image, see
        `network_input`; bool (b,) "weighed", "corrected" and "completed" where not all images are;
        "distances" of pixels that are no image together, see `given.Distances`.
      graphdef: the static part of the players.
      transformation: as from `optimizer.create`.
      method: the run's settings.

    Returns:
      The next state, and what there is to log.
    """
    players = merged(graphdef, state.params, state.statistics)
    config, images = method.config, network_input(batch, method)
    labels, weighed = batch["label"], batch.get("weighed")
    if state.beliefs is not None:
        state = dataclasses.replace(state, beliefs=state.beliefs.renewed(state.step, config))
    given, beliefs = _believed(players, state, batch, method)
    dropout_key = jax.random.fold_in(jax.random.key(state.seed), state.step)
    coupled = state.step >= schedules.boundary(config.arm.isolated, config.steps)

    def scaled(terms: Terms) -> tuple[jax.Array, Terms]:
        return state.loss_scale.apply(terms.total), terms

    if config.accumulate > 1:
        terms, gradients = accumulation.value_and_grad(
            players,
            images,
            lambda weighting, scores, auxiliary: scaled(
                from_scores(weighting, scores, auxiliary, labels, method, coupled, given, weighed)
            ),
            dropout_key,
            parts=config.accumulate,
            devices=method.devices,
        )
    else:
        (_, terms), gradients = nnx.value_and_grad(
            lambda players: scaled(
                forward(players, images, labels, method, coupled, dropout_key, given, weighed)
            ),
            has_aux=True,
        )(players)
    # Or XLA makes the sum of a product from sums of its factors, and reads every map once more.
    gradients = jax.lax.optimization_barrier(gradients)
    # A sum is not finite if a summand is not, and takes a third of the kernels of a truth for each.
    sums = [jnp.sum(x) for x in (terms.total, *jax.tree.leaves(gradients))]
    finite = all_true(jnp.isfinite(jnp.stack(sums)))
    labelled = terms.labelled > 0
    if terms.completion is not None:  # then unlabelled pixels teach, too
        labelled |= terms.completion > 0
    apply = all_true(jnp.stack([finite, labelled]))
    gradients = state.loss_scale.remove(gradients)

    updates, optimizer = transformation.update(gradients, state.optimizer, state.params)
    keep = functools.partial(_select, apply)
    window = _accumulate(state, terms, finite, labelled, config.log_every)
    params = optax.apply_updates(state.params, updates)
    statistics = nnx.state(players, nnx.Not(nnx.Param))
    if beliefs is not None:
        parts = parts_of_segmenter(params, statistics)
        beliefs = keep(beliefs.averaged(*parts, state.step, config), state.beliefs)
    state = TrainState(
        step=state.step + 1,
        seed=state.seed,
        params=keep(params, state.params),
        statistics=keep(statistics, state.statistics),
        optimizer=keep(optimizer, state.optimizer),
        loss_scale=state.loss_scale.update(finite),
        window=window,
        histogram=keep(theorem.blend(state.histogram, terms.histogram), state.histogram),
        beliefs=beliefs,
    )
    shares = beliefs if given is not None else None
    return state, Logged(
        window,
        holder_ratio=theorem.holder_ratio(state.histogram, config.arm.p),
        loss_ratio=theorem.loss_ratio(state.histogram),
        stayed_uniform=theorem.stayed_uniform(state.histogram, config.arm.p),
        corrected=None if shares is None else shares.corrected,
        completed=None if shares is None else shares.completed,
        contradicted=None if shares is None else shares.contradicted,
    )


def _believed(
    players: Players, state: TrainState, batch: dict[str, Any], method: Method
) -> tuple[Given | None, Beliefs | None]:
    """What is believed of a batch's labels, by the teacher on images without colour jitter."""
    config, scores = method.config, None
    if state.beliefs is not None and teaches(config.targets):
        graphdef, *_ = nnx.split(players.segmenter, nnx.Param, ...)
        teacher = state.beliefs.judge or state.beliefs.teacher

        def network(images: Any) -> jax.Array:
            model = merged(graphdef, teacher.params, teacher.statistics)
            scores = model(images)[..., : players.segmenter.num_classes]
            return targets.without_weights(scores, method.class_weights)

        images = network_input(batch, method, jittered=False)
        scores = accumulation.in_parts(
            network, images, parts=config.accumulate, devices=method.devices
        )
    return look(
        state.beliefs,
        scores,
        batch["label"],
        batch["extent"],
        state.step,
        config,
        ignore=method.ignore,
        devices=method.devices,
        corrected=batch.get("corrected"),
        completed=batch.get("completed"),
        known_distances=batch.get("distances"),
    )


def network_input(
    batch: dict[str, Any], method: Method, *, jittered: bool = True
) -> jax.Array | dict[str, jax.Array]:
    """What the segmenter is called with: normalised images, or features of its frozen parts.

    Args:
      batch: as for `train_step`; "features" has float16 (b, h', w', c) by the names of the parts.
      method: the run's settings.
      jittered: whether colours are changed, where the settings have that.
    """
    if "features" in batch:
        return jax.tree.map(lambda x: x.astype(method.config.model.dtype), batch["features"])
    images = batch["image"]
    if jittered and method.config.augment.jitter:
        images = jitter.jitter(images, batch["key"])
    return normalize(images, batch["extent"], method.bands)


def compile_step(
    mesh: Mesh,
    graphdef: nnx.GraphDef,
    transformation: optax.GradientTransformation,
    method: Method,
) -> Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, Logged[jax.Array]]]:
    """`train_step`, jitted for a mesh: state replicated and donated, batch split."""
    step = functools.partial(
        train_step, graphdef=graphdef, transformation=transformation, method=method
    )
    everywhere = sharding.replicated(mesh)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(everywhere, sharding.by_batch(mesh)),
        out_shardings=everywhere,
    )


def _select(apply: jax.Array, new: Any, old: Any) -> Any:
    """`new` where the step counts; integers are the schedules' clocks and always go on."""

    def leaf(n: jax.Array, o: jax.Array) -> jax.Array:
        return n if jnp.issubdtype(n.dtype, jnp.integer) else jnp.where(apply, n, o)

    return jax.tree.map(leaf, new, old)


def _accumulate(
    state: TrainState,
    terms: Terms,
    finite: jax.Array,
    labelled: jax.Array,
    log_every: int,
) -> Window[jax.Array]:
    """The log window after this step; it starts anew after every `log_every` steps."""
    fresh = state.step % log_every == 0
    window = jax.tree.map(lambda x: jnp.where(fresh, jnp.zeros_like(x), x), state.window)
    apply = finite & labelled

    def plus(sum_: jax.Array, term: jax.Array) -> jax.Array:
        return sum_ + jnp.where(apply, term, 0.0)

    return Window(
        loss=plus(window.loss, terms.loss),
        mean_loss=plus(window.mean_loss, terms.mean_loss),
        auxiliary_loss=plus(window.auxiliary_loss, terms.auxiliary_loss),
        labelled=plus(window.labelled, terms.labelled),
        steps=window.steps + 1,
        applied=window.applied + apply,
        overflows=window.overflows + ~finite,
        unlabelled=window.unlabelled + ~labelled,
        first_bad_step=jnp.where(
            finite | (window.first_bad_step > 0), window.first_bad_step, state.step + 1
        ),
    )
