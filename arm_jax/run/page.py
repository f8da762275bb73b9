"""What the page of a run shows, gathered from its folder and its network."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from arm_jax import settings
from arm_jax.data import records
from arm_jax.data.labels import Classes
from arm_jax.data.sources import Source
from arm_jax.experiment import Experiment
from arm_jax.reporting import layers, run_page, samples, scores
from arm_jax.reporting.pages.tables import figure
from arm_jax.run import describe, inputs, metrics_log, restore, starts, tracking
from arm_jax.run import folder as run_folder
from arm_jax.system import outputs, terminal
from arm_jax.system.errors import InputError, first_line
from arm_jax.theorem import Histogram
from arm_jax.training.records import Line
from arm_jax.training.state import Players

FILE = "report.html"
# Images of each kind: best, median, worst.
EACH = 3
# Images of the contact sheet, and of the page where there is no evaluation to choose them by.
SPREAD = 6
# How near a class boundary an error is drawn as one, where `evaluation.boundary_width` is 0.
BOUNDARY_WIDTH = 5


@dataclass(frozen=True)
class Trained:
    """A run at a checkpoint: its folder, its settings, its players, its histogram, its step."""

    folder: Path
    experiment: Experiment
    players: Players
    histogram: Histogram
    step: int


def of(run: restore.Run) -> Trained:
    """A run that was loaded."""
    return Trained(run.folder, run.experiment, run.players, run.state.histogram, run.step)


def write(run: Trained, mesh: Mesh) -> None:
    """Write a run's page after it was evaluated.

    The scores are there already: what goes wrong here is reported and stops nothing.
    """
    try:
        Page(run, mesh).write(run.folder)
    except (InputError, jax.errors.JaxRuntimeError) as error:
        terminal.say(f"{run.folder / FILE} is not of this evaluation: {first_line(error)}")


def eye(run: Trained, mesh: Mesh) -> samples.Eye:
    """What judges images for a run."""
    config = run.experiment.config
    return samples.Eye(
        players=run.players,
        protocol=run.experiment.protocol,
        kind=config.arm.input,
        p=config.arm.p,
        batch_size=config.evaluation.batch_size,
        mesh=mesh,
        boundary_width=config.evaluation.boundary_width or BOUNDARY_WIDTH,
    )


def as_trained_on(config: Any, classes: Classes) -> Source | None:
    """The evaluation split with labels of the kind trained on, where that is another kind."""
    data = config.data
    if data.train_labels == data.eval_labels and not data.coarsen and not data.wrong_share:
        return None
    try:
        return inputs.evaluation_source(config, classes, labelled_as="training")
    except InputError:
        return None  # a data set may have coarse labels of its training images alone


def pictures(run: Trained, mesh: Mesh, fine: Source, coarse: Source | None) -> dict[str, bytes]:
    """What trackers show of an evaluation, as PNGs.

    What goes wrong is reported and stops nothing.

    Args:
      run: as it was evaluated.
      mesh: its devices.
      fine: the evaluation split.
      coarse: as `as_trained_on` gives it.
    """
    experiment = run.experiment
    title = f"{run.folder.resolve().name}, step {run.step:,}"
    try:
        chosen = records.spread(len(fine), tracking.IMAGES)
        found = samples.draw(eye(run, mesh), fine, coarse, chosen)
        p = experiment.config.arm.p
        return tracking.pictures(found, experiment.classes, run.histogram, p, title)
    except (InputError, jax.errors.JaxRuntimeError) as error:
        terminal.say(f"no images of step {run.step} for trackers: {first_line(error)}")
        return {}


class Page:
    """The page of a run.

    Attributes:
      notes: what could not be had.
      evaluated: the evaluation of this checkpoint, None if there is none.
      records: what the run logged.
      classes: of the network.
      width: how near a class boundary an error is drawn as one of the boundary, in pixels.
    """

    def __init__(self, run: Trained, mesh: Mesh):
        """Read what the folder has. What is missing or damaged becomes a note."""
        self._run = run
        self._config: Any = run.experiment.config
        self.notes: list[str] = []
        self.evaluated = self._read_evaluation()
        self.records = self._read_records()
        self._fine, self._coarse = self._sources()
        self.classes = run.experiment.classes
        self.width = self._config.evaluation.boundary_width or BOUNDARY_WIDTH
        self._eye = eye(run, mesh)

    def write(self, folder: Path) -> Path:
        """Write `report.html`, whole or not at all.

        Raises InputError where the folder cannot be written.
        """
        run, config = self._run, self._config
        outputs.refuse_foreign_file(folder / FILE)  # before anything takes long
        groups = self._groups()
        images = None if self.evaluated is None else self.evaluated.values.get("images")
        subject = run_page.Subject(
            name=run.folder.resolve().name,
            step=run.step,
            steps=config.steps,
            classes=run.experiment.classes,
            facts=describe.facts(
                config,
                run.experiment.classes,
                run_folder.read_images(run.folder),
                images if self._fine is None else len(self._fine),
                run.experiment.protocol,
            ),
            settings=_changed(config),
            versions=_versions(starts.read(run.folder)),
            notes=self.notes,
            records=self.records,
            evaluated=self.evaluated,
            histogram=jax.device_get(run.histogram),
            p=None if run.players.arm is None else config.arm.p,
        )
        return run_page.write(folder / FILE, subject, groups, self.width)

    def spread(self) -> list[samples.Sample]:
        """A few images of the split, as far apart as possible; none where it cannot be read."""
        return [] if self._fine is None else self.draw(records.spread(len(self._fine), SPREAD))

    def draw(self, chosen: Sequence[int]) -> list[samples.Sample]:
        """Some images of the split, by their indices.

        Raises InputError where the split cannot be read, or is shorter.
        """
        if self._fine is None or max(chosen) >= len(self._fine):
            raise InputError(" ".join(self.notes) or "the split has fewer images than it had")
        return samples.draw(self._eye, self._fine, self._coarse, chosen)

    def _groups(self) -> list[tuple[str, list[layers.Shown]]]:
        """The best, median and worst images by their own mIoU, or some where that is not known."""
        if self._fine is None:
            return []
        found = None if self.evaluated is None else self.evaluated.by_image
        if found is None or len(found.mIoU) != len(self._fine):
            return [("Images of the split", [layers.Shown(one) for one in self.spread()])]
        groups = ranked(found.mIoU)
        chosen = [index for _, indices in groups for index in indices]
        drawn = dict(zip(chosen, self.draw(chosen), strict=True))
        return [
            (
                f"{heading} images, by their own mIoU",
                [
                    layers.Shown(
                        drawn[i], f"mIoU {figure(found.mIoU[i])} %, aAcc {figure(found.aAcc[i])} %"
                    )
                    for i in indices
                ],
            )
            for heading, indices in groups
        ]

    def _read_evaluation(self) -> scores.Evaluated | None:
        run = self._run
        again = f"python -m arm_jax.main --workdir {shlex.quote(str(run.folder))} --mode evaluate"
        try:
            found = scores.read(run.folder, run.experiment.classes)
        except InputError as error:
            self.notes.append(f"No scores: {error}.")
            return None
        if found is None:
            self.notes.append(f"This run has not been evaluated yet; {again} does it.")
        elif found.step != run.step:
            self.notes.append(
                f"The last evaluation is of step {found.step}, not of this step {run.step};"
                f" {again} --checkpoint {run.step} makes one."
            )
            return None
        return found

    def _read_records(self) -> list[Line]:
        try:
            damaged = metrics_log.damaged_lines(self._run.folder)
            found = metrics_log.read(self._run.folder)
        except InputError as error:
            self.notes.append(f"No curves: {error}.")
            return []
        if damaged:
            self.notes.append(
                f"{damaged} line(s) of metrics.jsonl cannot be read and are left out of the curves."
            )
        return found

    def _sources(self) -> tuple[Source | None, Source | None]:
        """The evaluation split, and with labels of the kind trained on where that is another."""
        classes = self._run.experiment.classes
        try:
            fine = inputs.evaluation_source(self._config, classes)
            if len(fine) == 0:
                return None, None
            fine[0]
        except InputError as error:
            self.notes.append(f"No images: {error}.")
            return None, None
        return fine, as_trained_on(self._config, classes)


def ranked(miou: np.ndarray) -> list[tuple[str, list[int]]]:
    """Indices of the best, the median and the worst images, none twice; nan has no rank.

    >>> ranked(np.array([10.0, 50.0, np.nan, 90.0]))
    [('Best', [3]), ('Median', [1]), ('Worst', [0])]
    """
    order = [int(i) for i in np.argsort(-miou, kind="stable") if np.isfinite(miou[i])]
    each = min(EACH, max(len(order) // 3, 1))
    middle = (len(order) - each) // 2
    groups = {
        "Best": order[:each],
        "Median": order[max(middle, each) :][:each] if len(order) > 2 * each else [],
        "Worst": order[-each:][::-1] if len(order) > each else [],
    }
    return [(heading, indices) for heading, indices in groups.items() if indices]


def _changed(config: Any) -> list[tuple[str, str, str, str]]:
    """The settings that are not the defaults: key, value, default, help."""
    values = settings.flat(config)
    return [
        (row.key, repr(values[row.key]), repr(row.default), row.help)
        for row in settings.BY_KEY.values()
        if values[row.key] != row.default
    ]


def _versions(made: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The last start of a run, and how many there were."""
    if not made:
        return [("versions", "not recorded")]
    last = made[-1]
    packages = last.get("packages")
    listed = packages.items() if isinstance(packages, dict) else ()
    command = last.get("command")
    words = [str(word) for word in command] if isinstance(command, list) else []
    found = [
        ("started", f"{last.get('time', '?')}" + _times(len(made))),
        ("command", shlex.join(words)),
        ("devices", str(last.get("devices", "?"))),
        ("packages", ", ".join(f"{name} {version}" for name, version in listed)),
        ("Python", str(last.get("python", "?"))),
        ("checkout", str(last.get("git") or "none")),
    ]
    return [(name, text) for name, text in found if text]


def _times(number: int) -> str:
    return "" if number == 1 else f", the last of {number} starts"
