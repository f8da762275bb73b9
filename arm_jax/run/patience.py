"""Early stopping: a run ends when its evaluations have not improved for long enough."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from arm_jax.run import metrics_log
from arm_jax.training.records import EvaluationLine


@dataclasses.dataclass
class Patience:
    """Counts evaluations since the best one.

    Attributes:
      limit: how many without a higher mIoU end the run; 0 for any number.
      best_step: the step of the best evaluation, the first of equal ones; 0 before the first.
      best: its mIoU in percent.
      since: evaluations after it.
    """

    limit: int
    best_step: int = 0
    best: float = float("-inf")
    since: int = 0

    def add(self, step: int, miou: float) -> None:
        """Take note of an evaluation; one without an mIoU (nan) is no improvement."""
        if miou > self.best:
            self.best_step, self.best, self.since = step, miou, 0
        else:
            self.since += 1

    @property
    def is_over(self) -> bool:
        """Whether the run ends here."""
        return 0 < self.limit <= self.since


def after(limit: int, evaluations: Iterable[tuple[int, float]]) -> Patience:
    """The patience that is left after evaluations, given as (step, mIoU) in order.

    >>> after(2, [(10, 30.0), (20, 29.0), (30, 30.0)])
    Patience(limit=2, best_step=10, best=30.0, since=2)
    """
    patience = Patience(limit)
    for step, miou in evaluations:
        patience.add(step, miou)
    return patience


def last_step(workdir: str | Path, limit: int, steps: int) -> int:
    """The step after which the run of a folder ends, as far as it has come: `steps`, or earlier."""
    lines = [x for x in metrics_log.read(workdir) if isinstance(x, EvaluationLine)]
    patience = Patience(limit)
    for line in lines:
        patience.add(line.step, line.eval_mIoU)
        if patience.is_over:
            return line.step
    return steps
