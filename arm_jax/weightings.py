"""The table of W(v), and those that are not in the paper: closed-form, monotone.

Each W is a function of confidence (...) to weight (...), as `arm.Arm` is, and goes wherever that
goes.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from arm_jax import theorem
from arm_jax.arm import Arm, LinearArm
from arm_jax.system.errors import InputError
from arm_jax.system.registry import Entry, Registry
from arm_jax.theorem import Histogram


class MonotoneArm(nnx.Module):
    """A learned W that never rises with confidence, whatever its parameters.

    With enough mislabelled pixels among the confident ones, the mean loss there exceeds that at
    boundaries, and the adversary turns to focusing on label noise. Here it cannot: a perceptron
    like `arm.Arm` (53 parameters for 4-4-4), whose kernels are made positive by softplus, whose
    activations rise (tanh; Swish does not everywhere), and whose last sign is negative.
    """

    def __init__(self, hidden: Sequence[int] = (4, 4, 4), *, rngs: nnx.Rngs):
        widths = (1, *hidden, 1)
        kernels, biases = [], []
        for inputs, outputs in itertools.pairwise(widths):
            # Positive kernels cannot average out, so their mean, not their variance, is set.
            positive = jax.random.uniform(
                rngs.params(), (inputs, outputs), minval=0.5 / inputs, maxval=1.5 / inputs
            )
            kernels.append(nnx.Param(jnp.log(jnp.expm1(positive))))
            # The last bias starts at 0, for weights around 1/2; the others spread the units.
            spread = 0.0 if outputs == 1 else 1.0
            biases.append(
                nnx.Param(spread * jax.random.uniform(rngs.params(), (outputs,), minval=-1))
            )
        self.kernels = nnx.List(kernels)
        self.biases = nnx.List(biases)

    def __call__(self, v: jax.Array) -> jax.Array:
        """Confidence (...) in [-1, 1] to weight (...) in (0, 1), float32."""
        x = v.astype(jnp.float32)[..., None]
        *hidden, last = zip(self.kernels, self.biases, strict=True)
        for kernel, bias in hidden:
            x = jnp.tanh(_rising(x, kernel[...], bias[...]))
        kernel, bias = last
        return nnx.sigmoid(-_rising(x, kernel[...], bias[...]))[..., 0]


def _rising(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """An affine map that rises with every input."""
    x = jnp.dot(x, nnx.softplus(kernel), precision=jax.lax.Precision.HIGHEST)
    return x + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class RunningStatistic(nnx.Variable):
    """State that is saved with the model and not trained."""


class ClosedFormArm(nnx.Module):
    """The W that Theorem 3.1 promises, L(v)^(1/(p-1)), from a running mean of the loss L(v).

    No network and no adversary: what remains of ARM's effect with it is Hölder's inequality, what
    is missing is the optimisation. Uniform until `observe` is called for the first time.
    """

    def __init__(self, p: float = 2.0, bins: int = 64, decay: float = 0.99):
        self.p = p
        self.decay = decay
        self.pixels = RunningStatistic(jnp.zeros(bins))
        self.loss = RunningStatistic(jnp.zeros(bins))

    def observe(self, histogram: Histogram) -> None:
        """Take in a batch's histogram, of the same number of bins."""
        self.pixels[...] = self.decay * self.pixels[...] + histogram.pixels
        self.loss[...] = self.decay * self.loss[...] + histogram.loss

    def table(self) -> jax.Array:
        """W at the `theorem.bin_centers`, (bins,), 1 in the mean over the seen pixels.

        To each bin one imaginary pixel of the average loss is added, for those that are empty.
        """
        pixels, loss = self.pixels[...], self.loss[...]
        total = jnp.sum(pixels)
        average = jnp.where(total > 0, jnp.sum(loss) / jnp.maximum(total, 1.0), 1.0)
        filled = Histogram(pixels=pixels + 1.0, loss=loss + average, weight=pixels)
        return theorem.closed_form(filled, self.p)

    def __call__(self, v: jax.Array) -> jax.Array:
        """Confidence (...) in [-1, 1] to weight (...) >= 0, linear between the bins' centres."""
        table = self.table()
        return _interpolate(table, 0.5 * (v.astype(jnp.float32) + 1.0) * table.size - 0.5)


def _interpolate(table: jax.Array, position: jax.Array) -> jax.Array:
    """`table` at fractional indices, constant beyond its ends."""
    position = jnp.clip(position, 0.0, table.size - 1.0)
    left = jnp.clip(jnp.floor(position), 0, table.size - 2)
    share = position - left
    index = left.astype(jnp.int32)
    return (1.0 - share) * table[index] + share * table[index + 1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighting(Entry):
    """An entry of `WEIGHTINGS`.

    Attributes:
      build: from (settings, rngs), the config's section `arm` and an `nnx.Rngs`, to a module that
        maps confidence (...) in [-1, 1], float32, to weights (...) >= 0, pixel by pixel; None for
        the base model. What it learns are `nnx.Param`s, which climb; what else it keeps from step
        to step are `RunningStatistic`s.
      describe: from the settings to what the log calls it.
      observes: whether the module has a method `observe`, which gets each batch's
        `theorem.Histogram`.
    """

    build: Callable[[Any, nnx.Rngs], Any]
    describe: Callable[[Any], str]
    observes: bool


WEIGHTINGS = Registry(
    "weighting",
    Weighting,
    learned=Weighting(
        build=lambda settings, rngs: Arm(rngs=rngs),
        describe=lambda settings: f"ARM on {settings.input}, p = {settings.p:g}",
        observes=False,
    ),
    linear=Weighting(
        build=lambda settings, rngs: LinearArm(settings.slope, settings.offset),
        describe=lambda settings: f"Linear ARM, W(v) = {settings.slope:g} v + {settings.offset:g}",
        observes=False,
    ),
    monotone=Weighting(
        build=lambda settings, rngs: MonotoneArm(rngs=rngs),
        describe=lambda settings: f"monotone ARM on {settings.input}, p = {settings.p:g}",
        observes=False,
    ),
    closed_form=Weighting(
        build=lambda settings, rngs: ClosedFormArm(settings.p),
        describe=lambda settings: f"closed-form ARM on {settings.input}, p = {settings.p:g}",
        observes=True,
    ),
    none=Weighting(
        build=lambda settings, rngs: None,
        describe=lambda settings: "no reweighting",
        observes=False,
    ),
)


def create(settings: Any, rngs: nnx.Rngs) -> Callable[[jax.Array], jax.Array] | None:
    """The W that `settings.kind` names, freshly initialised; None for the base model.

    Raises:
      InputError: the name is not known, or the entry is wrong about `observe`.
    """
    entry = WEIGHTINGS[settings.kind]
    module = entry.build(settings, rngs)
    if hasattr(module, "observe") != entry.observes:
        raise InputError(
            f"weighting {settings.kind!r} has observes = {entry.observes}, but its"
            f" {type(module).__name__} has {'a' if not entry.observes else 'no'} method `observe`;"
            " correct one of them"
        )
    return module
