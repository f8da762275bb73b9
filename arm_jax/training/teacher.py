"""The teacher, an average of the segmenter, and what a run knows about its labels: its state."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from arm_jax import noise, schedules, targets

# The first steps average over all steps so far, at most.
WARMUP = 10


@struct.dataclass
class Teacher:
    """An exponential average of the segmenter.

    Its parameters, and the running means and variances of BatchNorm, which are averaged as the
    parameters are: they then belong to about the same steps as these do.
    """

    params: nnx.State
    statistics: nnx.State


@struct.dataclass
class Beliefs:
    """What a run knows about its labels.

    Attributes:
      teacher: see `Teacher`.
      judge: the teacher that corrects and completes, where it is held (`targets.renew`): a network
        that learns wrong labels by heart takes its average along, and a copy of it from before
        then still finds them. None where the teacher judges as it is.
      since: () int32, the step in which the judge was taken; None without one.
      begun: () bool, whether the teacher corrects and completes.
      rise: of the agreement, see `targets.Rise`.
      counts: (C, C + 1) float32, see `noise`; None where no posterior is asked for.
      corrected, completed: () float32, running shares of the drawn pixels that got another class
        or were dropped, and of the others that got one.
      contradicted: () float32, the running share of the drawn pixels away from edges whose class
        the teacher contradicts, surer than `targets.correct_above`.
      contradicted_near, contradicted_beyond, contradicted_far: () float32, what
        the rules of `contradictions` ask for.
      drawn, found: (C,) float32, running counts of the pixels drawn as each class, and of those
        among them that the teacher finds, see `targets.known`.
    """

    teacher: Teacher
    judge: Teacher | None
    since: jax.Array | None
    begun: jax.Array
    rise: targets.Rise
    counts: jax.Array | None
    corrected: jax.Array
    completed: jax.Array
    contradicted: jax.Array
    contradicted_near: jax.Array
    contradicted_beyond: jax.Array
    contradicted_far: jax.Array
    drawn: jax.Array
    found: jax.Array

    @classmethod
    def create(cls, params: nnx.State, statistics: nnx.State, settings: Any, classes: int) -> Any:
        """Before the first step; None where the settings ask for no teacher.

        Args:
          params, statistics: of the segmenter; they are copied, as the step donates its own.
          settings: the config's section `targets`.
          classes: of the network.
        """
        if not settings.average:
            return None

        def copy() -> Teacher:
            return Teacher(*jax.tree.map(lambda x: jnp.array(x, copy=True), (params, statistics)))

        posterior = "posterior" in (settings.correct, settings.complete)
        return cls(
            teacher=copy(),
            judge=copy() if settings.renew else None,
            since=jnp.int32(0) if settings.renew else None,
            begun=jnp.bool_(False),
            rise=targets.Rise.start(),
            counts=noise.prior(classes) if posterior else None,
            corrected=jnp.float32(0),
            completed=jnp.float32(0),
            contradicted=jnp.float32(0),
            contradicted_near=jnp.float32(0),
            contradicted_beyond=jnp.float32(0),
            contradicted_far=jnp.float32(0),
            drawn=jnp.zeros(classes, jnp.float32),
            found=jnp.zeros(classes, jnp.float32),
        )

    def renewed(self, step: jax.Array, config: Any) -> "Beliefs":
        """The beliefs with the judge of this step: the teacher until it begins, and then a copy.

        The copy is taken anew after every `targets.renew` of T.
        """
        if self.judge is None or self.since is None:
            return self
        span = schedules.boundary(config.targets.renew, config.steps)
        due = ~self.begun | (step - self.since >= span)
        return dataclasses.replace(
            self,
            judge=jax.tree.map(functools.partial(jnp.where, due), self.teacher, self.judge),
            since=jnp.where(due, step, self.since),
        )

    def averaged(
        self, params: nnx.State, statistics: nnx.State, step: jax.Array, config: Any
    ) -> "Beliefs":
        """The beliefs after a step that led to these parameters and statistics of the segmenter.

        The average spans `targets.average` of T: its weight decays by 1 - 1 / (that many steps) a
        step, in the beginning by (1 + step) / (10 + step) where that is less.
        """
        span = max(config.targets.average * config.steps, 1.0)
        decay = jnp.minimum(1.0 - 1.0 / span, (1.0 + step) / (WARMUP + step))

        def mean(old: jax.Array, new: jax.Array) -> jax.Array:
            return old + (1.0 - decay).astype(old.dtype) * (new - old)

        old = (self.teacher.params, self.teacher.statistics)
        return dataclasses.replace(
            self, teacher=Teacher(*jax.tree.map(mean, old, (params, statistics)))
        )
