"""What is trained, and what a run must remember between two steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct

from arm_jax.networks import Segmenter
from arm_jax.system.compilation import computed_once
from arm_jax.training.records import Window
from arm_jax.training.teacher import Beliefs

Weighting = Callable[[jax.Array], jax.Array]


class Players(nnx.Module):
    """The two players of Eq. 9: the segmenter lowers the weighted loss, ARM raises it.

    Attributes:
      segmenter: the network, from `networks.create`.
      arm: what maps confidence to weight, from `weightings.create`; None for the base model.
    """

    def __init__(self, segmenter: Segmenter, arm: Weighting | None):
        self.segmenter = segmenter
        self.arm = arm


INITIAL_SCALE = 2.0**15
LARGEST_SCALE = 2.0**24
GROWTH_INTERVAL = 2000  # steps


@struct.dataclass
class LossScale:
    """Dynamic loss scaling for float16, whose small gradients would otherwise become zero.

    The scale halves when a step overflows (that step is skipped) and doubles after
    `GROWTH_INTERVAL` steps without an overflow, as in Micikevicius et al. 2018, Sec. 3.2. The
    paper's own framework used a constant 512; the initial value is higher since it adapts.
    """

    value: jax.Array  # () float32, a power of two
    good_steps: jax.Array  # () int32, steps since the last change
    dynamic: bool = struct.field(pytree_node=False, default=False)

    @classmethod
    def create(cls, dtype: Any) -> "LossScale":
        """The scale for compute in `dtype`; it is 1 and stays 1 where that is not float16."""
        dynamic = jnp.dtype(dtype) == jnp.float16
        return cls(
            value=jnp.float32(INITIAL_SCALE if dynamic else 1.0),
            good_steps=jnp.int32(0),
            dynamic=dynamic,
        )

    def apply(self, loss: jax.Array) -> jax.Array:
        """The loss to differentiate."""
        return self.value * loss if self.dynamic else loss

    def remove(self, gradients: Any) -> Any:
        """The gradients of the loss itself, from those of the scaled one."""
        if not self.dynamic:
            return gradients
        # Exactly the quotient, since the scale is a power of two. XLA merges a product into the
        # update of each tensor, and gives a quotient a kernel and an array of its own.
        inverse = computed_once(1 / self.value)
        return jax.tree.map(lambda g: g * inverse, gradients)

    def update(self, finite: jax.Array) -> "LossScale":
        """The scale for the next step; `finite` is whether this step's gradients were."""
        if not self.dynamic:
            return self
        good = jnp.where(finite, self.good_steps + 1, 0)
        grow = good >= GROWTH_INTERVAL
        value = jnp.where(finite, jnp.where(grow, self.value * 2, self.value), self.value / 2)
        return LossScale(
            value=jnp.clip(value, 1.0, LARGEST_SCALE),
            good_steps=jnp.where(grow, 0, good),
            dynamic=True,
        )


@struct.dataclass
class TrainState:
    """A pytree of all that changes from step to step; replicated over the devices.

    Attributes:
      step: () int32, how many steps were made.
      seed: () uint32, of dropout; not a constant of the program, so that seeds share one.
      params: the parameters of both players (float32).
      statistics: BatchNorm's running means and variances (float32).
      optimizer: optax's state, momentum included.
      loss_scale: see `LossScale`.
      window: sums since the last log line, so that averages survive a restart too.
      histogram: running confidence histogram (see `theorem`).
      beliefs: the teacher and what is known of the labels; None for a run without one.
    """

    step: jax.Array
    seed: jax.Array
    params: nnx.State
    statistics: nnx.State
    optimizer: optax.OptState
    loss_scale: LossScale
    window: Window[jax.Array]
    histogram: Any
    beliefs: Beliefs | None = None


def parts_of_segmenter(params: nnx.State, statistics: nnx.State) -> tuple[nnx.State, nnx.State]:
    """Its parameters and statistics; a network without BatchNorm has none of the latter."""
    return params["segmenter"], statistics.get("segmenter", nnx.State({}))


def players(graphdef: nnx.GraphDef, state: TrainState, weights: str = "student") -> Players:
    """The players of a state.

    Args:
      graphdef: as from `create_state`.
      state: as from `create_state`.
      weights: the segmenter's: "student", those that are trained, or "teacher", their average,
        which a state with beliefs has.
    """
    params, statistics = state.params, state.statistics
    if weights == "teacher":
        assert state.beliefs is not None
        teacher = state.beliefs.teacher
        params = nnx.State({**params, "segmenter": teacher.params})
        if "segmenter" in statistics:
            statistics = nnx.State({**statistics, "segmenter": teacher.statistics})
    return nnx.merge(graphdef, params, statistics)
