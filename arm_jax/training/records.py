"""What a step hands to the log, and what the log keeps of it, as types.

`Terms` -> summed in a `Window` -> a `StepLine` of metrics.jsonl; an `EvaluationLine` is the other
kind of line.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:  # commands that refuse, or read a log, do without JAX
    import jax

    from arm_jax.theorem import Histogram

N = TypeVar("N")  # jax.Array on the devices, float or int on the host


class Terms(NamedTuple):
    """The objective of one batch; all () float32 but the histogram.

    Attributes:
      total: the scalar to differentiate for both players at once.
      loss: the weighted loss of the main output.
      mean_loss: the plain mean of the same pixel losses.
      auxiliary_loss: plain mean cross entropy of the auxiliary head.
      labelled: fraction of labelled pixels.
      histogram: of the confidence, see `theorem`.
      completion: the loss of the unlabelled pixels, over all of them; None if they have none.
    """

    total: "jax.Array"
    loss: "jax.Array"
    mean_loss: "jax.Array"
    auxiliary_loss: "jax.Array"
    labelled: "jax.Array"
    histogram: "Histogram"
    completion: "jax.Array | None" = None


class Window(NamedTuple, Generic[N]):
    """Sums over the steps since the last log line; () float32, and () int32 from `steps` on.

    Attributes:
      loss, mean_loss, auxiliary_loss, labelled: of `Terms`, over the applied steps.
      steps: how many were made.
      applied: those that changed the parameters.
      overflows: those whose loss or gradients were not finite.
      unlabelled: those whose batch had no labelled pixel.
      first_bad_step: the number of the first one that overflowed, 0 for none.
    """

    loss: N
    mean_loss: N
    auxiliary_loss: N
    labelled: N
    steps: N
    applied: N
    overflows: N
    unlabelled: N
    first_bad_step: N

    @classmethod
    def empty(cls) -> "Window[jax.Array]":
        import jax.numpy as jnp

        return Window(*4 * (jnp.float32(0),), *5 * (jnp.int32(0),))


class Logged(NamedTuple, Generic[N]):
    """What a step returns beside the next state; () arrays.

    Attributes:
      window: with this step in it.
      holder_ratio: of the running histogram, see `theorem.holder_ratio`.
      loss_ratio: the factor by which the weights scale the loss.
      stayed_uniform: whether ARM has not moved yet.
      corrected, completed, contradicted: running shares of pixels, see `teacher.Beliefs`; None for
        a step that corrects and completes nothing.
    """

    window: Window[N]
    holder_ratio: N
    loss_ratio: N
    stayed_uniform: N
    corrected: N | None = None
    completed: N | None = None
    contradicted: N | None = None


class StepLine(NamedTuple):
    """A line of metrics.jsonl: means over the applied steps since the line before.

    Attributes:
      step: the last of these steps.
      loss, mean_loss, auxiliary_loss, labelled: as in `Terms`.
      skipped: steps that changed nothing.
      learning_rate: of the segmenter.
      holder_ratio, loss_ratio: as in `Logged`; None for a run without ARM.
      corrected, completed, contradicted: as in `Logged`.
    """

    step: int
    loss: float
    mean_loss: float
    auxiliary_loss: float
    labelled: float
    skipped: int
    learning_rate: float
    holder_ratio: float | None = None
    loss_ratio: float | None = None
    corrected: float | None = None
    completed: float | None = None
    contradicted: float | None = None


class EvaluationLine(NamedTuple):
    """A line of metrics.jsonl: what the evaluation after `step` found, in percent."""

    step: int
    eval_mIoU: float
    eval_mAcc: float
    eval_aAcc: float


Line = StepLine | EvaluationLine


def as_json(line: Line) -> dict[str, Any]:
    """The fields of a line by name, without those that are None."""
    return {name: value for name, value in line._asdict().items() if value is not None}


def parsed(record: Mapping[str, Any]) -> Line | None:
    """The line that `as_json` wrote; None for a record that is neither kind."""
    for kind in (StepLine, EvaluationLine):
        if set(kind._fields) >= set(record) >= set(kind._fields) - set(kind._field_defaults):
            return kind(**record)
    return None
