"""Weights & Biases and MLflow, by the setting `tracker`.

Each has a thread of its own, so that neither a slow service nor one that is gone holds up training;
the first thing that fails ends it with one line. The id of its run is kept in the run's folder, so
that a run that continues goes on there.
"""

import contextlib
import importlib.util
import io
import json
import os
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from arm_jax.system import files, terminal
from arm_jax.system.errors import InputError, first_line

FILE = "trackers.json"
PROJECT = "arm_jax"  # where the environment names no other
# What waits for a tracker at most, and how long a run that ends waits for one.
WAITING, CLOSING = 10_000, 60.0
# What MLflow takes as the name of a value; not every class is named so.
_NO_NAME = re.compile(r"[^/\w.\- :]")
_MOST_PARAMETERS = 100  # that MLflow takes at once

Call = Callable[[Any], None]


def require(names: Sequence[str]) -> None:
    """Raise InputError where the package of a tracker is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"tracker = {name!r} needs the package {name}: pip install 'arm_jax[{name}]', or in"
                f" a checkout -e '.[{name}]'"
            )


def started(names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> list["Remote"]:
    """The trackers of these names, for the run of a folder.

    Args:
      names: "wandb" or "mlflow", each with its package installed.
      folder: the run's.
      config: its settings, key by key.
    """
    return [Remote(name, KINDS[name], folder, dict(config)) for name in names]


class Remote:
    """A service that is told what a run logs, in a thread of its own; a `tracking.Tracker`.

    Args:
      name: of the service.
      connect: makes the client that it is told by: (folder, config) -> client.
      folder, config: of the run.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[Path, dict[str, Any]], Any],
        folder: Path,
        config: dict[str, Any],
    ):
        self._name = name
        self._calls: queue.Queue[Call | None] = queue.Queue(WAITING)
        self._over = False
        work = (connect, folder, config)
        self._thread = threading.Thread(target=self._work, args=work, name=name, daemon=True)
        self._thread.start()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._later(lambda client: client.write(step, values))

    def show(self, step: int, images: Mapping[str, bytes]) -> None:
        self._later(lambda client: client.show(step, images))

    def close(self, finished: bool) -> None:
        self._later(lambda client: client.close(finished))
        self._later(None)
        self._thread.join(CLOSING)
        if self._thread.is_alive() and not self._over:
            self._end(f"has not taken everything within {CLOSING:.0f} s")

    def _later(self, call: Call | None) -> None:
        if self._over:
            return
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._end(f"takes nothing, and {WAITING:,} values wait for it")

    def _work(self, connect: Any, folder: Path, config: dict[str, Any]) -> None:
        # These libraries raise their own errors and those of what they use, and exit.
        try:
            client = connect(folder, config)
            while (call := self._calls.get()) is not None:
                call(client)
        except (Exception, SystemExit) as error:
            self._end(first_line(error))

    def _end(self, reason: str) -> None:
        if not self._over:
            self._over = True
            terminal.say(f"{self._name}: {reason}; the run goes on without it")


class Wandb:
    """A run at Weights & Biases; WANDB_PROJECT, WANDB_MODE and the like decide where."""

    def __init__(self, folder: Path, config: dict[str, Any]):
        import wandb

        name = _kept(folder).get("wandb") or uuid.uuid4().hex[:12]
        _keep(folder, "wandb", name)
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.resolve().name,
            id=name,
            resume="allow",
            dir=str(folder),
            config=config,
            # What is printed stays here, and nobody is asked for a key for ever.
            settings=wandb.Settings(console="off", quiet=True, init_timeout=60, login_timeout=30),
        )
        # By a value and not by the service's own count of calls, which never goes back: a run that
        # continues makes the steps after its checkpoint anew.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def show(self, step: int, images: Mapping[str, bytes]) -> None:
        drawn = {name: self._wandb.Image(_opened(png)) for name, png in images.items()}
        self._run.log({**drawn, "step": step})

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


class MLflow:
    """A run at MLflow; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME decide where."""

    def __init__(self, folder: Path, config: dict[str, Any]):
        # Its client tries for minutes otherwise.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        import mlflow
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self._client, self._metric = MlflowClient(), Metric
        place = mlflow.get_tracking_uri()
        before = _kept(folder).get("mlflow", {})
        if before.get("uri") == place:
            self._run = before["run"]
            self._client.update_run(self._run, status="RUNNING")
            return
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(title)
        number = (
            self._client.create_experiment(title)
            if experiment is None
            else experiment.experiment_id
        )
        run = self._client.create_run(number, run_name=folder.resolve().name)
        self._run = run.info.run_id
        _keep(folder, "mlflow", {"uri": place, "run": self._run})
        parameters = [Param(key, str(value)) for key, value in config.items()]
        for first in range(0, len(parameters), _MOST_PARAMETERS):
            some = parameters[first : first + _MOST_PARAMETERS]
            self._client.log_batch(self._run, params=some)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._metric(_NO_NAME.sub("_", name), float(value), now, step)
            for name, value in values.items()
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def show(self, step: int, images: Mapping[str, bytes]) -> None:
        for name, png in images.items():
            self._client.log_image(self._run, _opened(png), key=name, step=step)

    def close(self, finished: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")


KINDS: dict[str, Callable[[Path, dict[str, Any]], Any]] = {"wandb": Wandb, "mlflow": MLflow}


def _opened(png: bytes) -> Any:
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    image.load()
    return image


_ids = threading.Lock()  # Two trackers start at the same time.


def _kept(folder: Path) -> dict[str, Any]:
    """The ids that earlier starts kept, by tracker; none where the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / FILE).read_text())
        if isinstance(found, dict):
            return found
    return {}


def _keep(folder: Path, name: str, kept: Any) -> None:
    with _ids:
        files.write_json(folder / FILE, {**_kept(folder), name: kept})
