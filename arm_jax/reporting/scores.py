"""The result of an evaluation as files, written and read again: `eval.json` and two tables."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.evaluation import metrics
from arm_jax.evaluation.by_image import ByImage
from arm_jax.evaluation.evaluate import Result
from arm_jax.system import files
from arm_jax.system.errors import InputError, first_line


def report(result: Result, classes: Classes) -> dict[str, Any]:
    """A result as plain values that JSON can hold, figures unrounded."""
    values = metrics.as_dict(result.scores, classes.names)
    if result.boundary is not None:
        values["boundary"] = {
            "width": result.boundary_width,
            **metrics.as_dict(result.boundary, classes.names),
        }
    values["calibration"] = result.calibration.as_dict()
    values["images"] = result.images
    values["protocol"] = result.protocol.describe()
    return values


def write_report(
    workdir: str | Path,
    result: Result,
    classes: Classes,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write `eval.json`, `confusion.csv` and `images.csv`, each whole or not at all.

    Args:
      workdir: made where it does not exist.
      result: as from `evaluate`.
      classes: of the data.
      extra: further entries of eval.json, e.g. dataset, split, checkpoint step.

    Returns:
      The path of eval.json. Only the first process writes.

    Raises:
      InputError: the folder cannot be written.
    """
    folder = Path(workdir)
    path = folder / "eval.json"
    if jax.process_index() == 0:
        tables = {
            "confusion.csv": metrics.matrix_csv(result.matrix, classes.names),
            "images.csv": _images_csv(result.by_image),
            "eval.json": json.dumps({**report(result, classes), **(extra or {})}, indent=2) + "\n",
        }
        for name, text in tables.items():
            files.write(folder / name, text, errors="surrogateescape")
    return path


def _images_csv(found: ByImage) -> str:
    """A line an image, in the order of the split; figures that do not exist are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "mIoU", "aAcc"])
    for name, *figures in zip(found.names, found.mIoU, found.aAcc, strict=True):
        writer.writerow([name, *("" if np.isnan(x) else repr(float(x)) for x in figures)])
    return text.getvalue()


@dataclass(frozen=True)
class Evaluated:
    """What `write_report` left.

    Attributes:
      values: of eval.json.
      scores: over all labelled pixels.
      matrix: int64 (C, C), rows = label, columns = prediction.
      by_image: each image by itself; None for what an earlier version wrote.
    """

    values: dict[str, Any]
    scores: metrics.Scores
    matrix: np.ndarray
    by_image: ByImage | None

    @property
    def step(self) -> int | None:
        """Of the checkpoint that was evaluated."""
        return self.values.get("step")

    def in_boundary(self, number: int) -> float | None:
        """IoU in percent of a class near class boundaries, where that was measured."""
        boundary = self.values.get("boundary")
        return boundary["classes"][number]["IoU"] if boundary else None


def read(folder: str | Path, classes: Classes) -> Evaluated | None:
    """The last evaluation in a run's folder; None where there is none.

    Raises:
      InputError: a file is damaged, or is of other classes.
    """
    folder = Path(folder)
    path = folder / "eval.json"
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if [row["name"] for row in values["classes"]] != list(classes.names):
            raise ValueError("its classes are others")
        boundary = values.get("boundary")
        if boundary and not len(boundary["classes"]) == classes.number == len(values["classes"]):
            raise ValueError("its classes near boundaries are others")
        for one in (values.get("calibration") or {"bins": []})["bins"]:
            figures = [float(one[name]) for name in ("from", "pixels", "claim", "accuracy")]
            if not (0 <= figures[0] < 1 and figures[1] > 0):
                raise ValueError("its calibration is none")
        path = folder / "confusion.csv"
        rows = _rows(path)
        matrix = np.array([[int(x) for x in row[1:]] for row in rows[1:]], np.int64)
        if matrix.shape != (classes.number, classes.number) or (matrix < 0).any():
            raise ValueError("it is no confusion matrix of these classes")
        path = folder / "images.csv"
        by_image = None
        if path.exists():
            lines = [(name, float(a or "nan"), float(b or "nan")) for name, a, b in _rows(path)[1:]]
            names, miou, aacc = zip(*lines, strict=True) if lines else ((), (), ())
            by_image = ByImage(tuple(names), np.array(miou), np.array(aacc))
    except (OSError, ValueError, KeyError, TypeError, csv.Error, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read ({first_line(error)}); --mode evaluate writes it anew"
        ) from error
    return Evaluated(values, metrics.scores(matrix), matrix, by_image)


def _rows(path: Path) -> list[list[str]]:
    text = path.read_bytes().decode(errors="surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))
