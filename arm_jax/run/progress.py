"""Log lines, metrics and the watch over the loss, read one step late so that devices never wait."""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from arm_jax import schedules
from arm_jax.data.labels import Classes
from arm_jax.evaluation import evaluate
from arm_jax.run import metrics_log, stragglers, tracking
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.run.prefetch import Prefetcher
from arm_jax.system import peers, terminal
from arm_jax.system.errors import Diverged
from arm_jax.training.records import EvaluationLine, Logged, StepLine, Window

# float16 skips a step that overflows and halves the loss scale, which takes 24 steps from its
# largest value to 1. More than that in a row mean that the loss itself is not finite.
OVERFLOWS_BEFORE_STOP = 30
AUTO = "auto"  # of arm.lr_multiplier: steps that fit a run of any length
# Weights that once changed the loss by this share, and now by less than this part of it, have died.
MOVED, FALLEN = 0.01, 0.8
STEPS_IN_FLIGHT = 2  # Dispatched but not finished; more would only hold more batches in memory.


class Progress:
    """Follows a run: call `after_step` for each step, `flush` before anything that takes long."""

    def __init__(
        self,
        config: ConfigDict,
        folder: Path,
        prefetcher: Prefetcher,
        checkpoints: Checkpoints,
        *,
        first_step: int,
        schedule: optax.Schedule,
    ):
        self._config = config
        self._log = metrics_log.MetricsLog(folder, start_step=first_step, config=config)
        self._line = terminal.LiveLine("train", config.steps, "step")
        self._prefetcher = prefetcher
        self._checkpoints = checkpoints
        self._schedule = schedule
        self._flight: deque[jax.Array] = deque()
        self._pending: tuple[int, Logged[jax.Array], dict[str, float]] | None = None
        self._warned = False
        self._farthest = first_step, 1.0  # the step whose weights changed the loss most, the factor
        self._overflows = 0  # of float16, without a good step since
        self._first_step = self._step = self._line_step = first_step
        self._line_time = time.perf_counter()
        self._line_waited = self._line_blocked = 0.0
        self._blocked = 0.0  # seconds in which the host waited for the devices
        self._watch = stragglers.Watch()
        self._seconds = 0.0  # of training in this start, without evaluation and compilation
        self._steps = 0
        self._waited = 0.0

    @property
    def in_flight(self) -> Any:
        """Something that is ready when the devices have nothing left to do."""
        return self._flight[-1] if self._flight else ()

    def after_step(self, step: int, logged: Logged[jax.Array]) -> None:
        """Take note of a dispatched step; writes the line of an *earlier* step if one is due."""
        self._step = step
        self._flight.append(logged.window.steps)
        if step == self._first_step + 1:  # compilation is not part of the rates
            jax.block_until_ready(self.in_flight)
            terminal.say(f"compiled and made step {step} in {self._since_line():.1f} s")
            self._restart_clock()
        self._line.show(step)
        if len(self._flight) > STEPS_IN_FLIGHT:
            self._block(self._flight.popleft())
        self._write_pending()
        if step % self._config.log_every == 0 or step == self._config.steps:
            self._pending = (step, logged, self._rates())

    def flush(self) -> None:
        """Write the line that is due, and let the devices finish."""
        self._block(self.in_flight)
        self._write_pending()

    def _block(self, on_devices: Any) -> None:
        start = time.perf_counter()
        jax.block_until_ready(on_devices)
        self._blocked += time.perf_counter() - start

    def was_evaluated(self, step: int) -> bool:
        """Whether the log holds an evaluation of `step`; every process must ask."""
        return self._log.holds(step, "eval_mIoU")

    def evaluations(self) -> list[tuple[int, float]]:
        """Step and mIoU of the evaluations of earlier starts; every process must ask."""
        return self._log.evaluations()

    def after_evaluation(
        self,
        step: int,
        result: evaluate.Result,
        classes: Classes,
        images: Callable[[], Mapping[str, bytes]] | None = None,
    ) -> None:
        """Log an evaluation, and do not count its time as training.

        Args:
          step: after which it was made.
          result: what it found.
          classes: of the network.
          images: draws what trackers show of it; None for nothing.
        """
        scores = result.scores
        line = EvaluationLine(step, scores.mIoU, scores.mAcc, scores.aAcc)
        self._log.write(line, rates={}, beside=tracking.by_class(scores, classes))
        terminal.say(
            f"step {step}: mIoU {scores.mIoU:.2f}, mAcc {scores.mAcc:.2f}, aAcc {scores.aAcc:.2f}"
            f"{scores.over()} on {result.images} images"
        )
        if images is not None:
            self._log.show(step, images)
        self._restart_clock()

    def close(self) -> None:
        """Report how well the input kept up, and close the files."""
        self._line.close()
        self._write_hosts()
        if self._steps:
            steps = "1 step" if self._steps == 1 else f"{self._steps} steps"
            terminal.say(
                f"{steps} at {self._steps / self._seconds:.2f} a second; the devices"
                f" waited for input {100 * self._waited / self._seconds:.1f} % of the time"
            )
        self._log.close(finished=self._step == self._config.steps)

    def _write_pending(self) -> None:
        if self._pending is None:
            return
        step, on_devices, rates = self._pending
        self._pending = None
        logged: Logged[float] = jax.tree.map(lambda x: x.item(), jax.device_get(on_devices))
        sums = logged.window
        self._check(step, sums)
        applied = max(sums.applied, 1)
        with_arm = self._config.arm.kind != "none"
        line = StepLine(
            step,
            loss=sums.loss / applied,
            mean_loss=sums.mean_loss / applied,
            auxiliary_loss=sums.auxiliary_loss / applied,
            labelled=sums.labelled / applied,
            skipped=int(sums.steps - sums.applied),
            learning_rate=float(self._schedule(step - 1)),
            holder_ratio=logged.holder_ratio if with_arm else None,
            loss_ratio=logged.loss_ratio if with_arm else None,
            corrected=logged.corrected,
            completed=logged.completed,
            contradicted=logged.contradicted,
        )
        if with_arm and abs(logged.loss_ratio - 1) > abs(self._farthest[1] - 1):
            self._farthest = step, logged.loss_ratio
        self._log.write(line, rates)
        self._write_hosts()
        self._warn_if_uniform(step, logged)
        remark = f", {line.skipped} steps skipped" if line.skipped else ""
        terminal.say(
            f"step {step}/{self._config.steps}  loss {line.loss:.4f}"
            f"  mean {line.mean_loss:.4f}  auxiliary {line.auxiliary_loss:.4f}"
            f"{_speed(rates)}{remark}"
        )

    def _write_hosts(self) -> None:
        """Write how the hosts keep up, as far as they have told; nothing for a single process."""
        notes = peers.notes()
        self._log.write_hosts(self._watch.lines(notes))
        for line in self._watch.warnings(notes):
            terminal.say(f"warning: {line}")

    def _warn_if_uniform(self, step: int, logged: Logged[float]) -> None:
        """Warn once, a quarter into the run, that ARM is still silently the plain loss."""
        config = self._config
        late = step > schedules.boundary(max(config.arm.isolated, 0.25), config.steps)
        if config.arm.kind != "learned" or config.arm.p == 1 or self._warned or not late:
            return
        if not logged.stayed_uniform:
            return
        self._warned = True
        given = config.arm.lr_multiplier
        automatic = given == AUTO
        other = f"set arm.lr_multiplier, which is {given}, to {AUTO}"
        then, factor = self._farthest
        if abs(factor - 1) > MOVED and abs(logged.loss_ratio - 1) < FALLEN * abs(factor - 1):
            remedy = (
                f"lower optimizer.learning_rate, which is {config.optimizer.learning_rate:g}"
                if automatic
                else other
            )
            what = (
                f"have gone back towards uniform (their factor on the loss was {factor:.3f} at step"
                f" {then} and is {logged.loss_ratio:.3f}): ARM has died, as it does at large"
                f" steps; {remedy}"
            )
        else:
            remedy = (
                f"arm.lr_multiplier is {AUTO} already, so train for more steps"
                if automatic
                else other
            )
            what = (
                f"are still almost uniform (Hölder ratio {logged.holder_ratio:.3f}), so this is"
                f" plain {config.loss.kind} so far; {remedy}"
            )
        terminal.say(f"warning: at step {step} ARM's weights {what}")

    def _rates(self) -> dict[str, float]:
        """Since the last line; nothing yet after the step that compiled."""
        seconds, steps = self._since_line(), self._step - self._line_step
        if steps == 0:
            return {}
        waited = self._prefetcher.waited - self._line_waited
        blocked = self._blocked + self._prefetcher.blocked - self._line_blocked
        pace = stragglers.pace(self._step, steps, seconds, blocked, waited)
        peers.note(dataclasses.asdict(pace))
        self._seconds += seconds
        self._steps += steps
        self._waited += waited
        self._restart_clock()
        return {
            "images_per_second": steps * self._config.batch_size / seconds,
            "waiting_percent": 100 * waited / seconds,
            "seconds_left": (self._config.steps - self._step) * seconds / steps,
        }

    def _since_line(self) -> float:
        return time.perf_counter() - self._line_time

    def _restart_clock(self) -> None:
        self._line_time = time.perf_counter()
        self._line_step = self._step
        self._line_waited = self._prefetcher.waited
        self._line_blocked = self._blocked + self._prefetcher.blocked

    def _check(self, step: int, sums: Window[float]) -> None:
        """Raise Diverged for a loss that is not finite; float16 may overflow for a while."""
        if not sums.overflows:
            return
        self._overflows = 0 if sums.applied else self._overflows + int(sums.overflows)
        if self._config.model.dtype != "float16" or self._overflows > OVERFLOWS_BEFORE_STOP:
            saved = self._checkpoints.latest_step()
            last = "none" if saved is None else f"step {saved}"
            raise Diverged(
                f"step {sums.first_bad_step}: the loss or a gradient is not finite; the step"
                f" changed nothing. Last checkpoint: {last}."
                " Lower optimizer.learning_rate, or find the step with --config.log_every=1"
            )


def _speed(rates: dict[str, float]) -> str:
    if not rates:
        return ""
    return (
        f"  {rates['images_per_second']:.1f} images/s ({rates['waiting_percent']:.1f} % waiting for"
        f" input), {_duration(rates['seconds_left'])} left"
    )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
