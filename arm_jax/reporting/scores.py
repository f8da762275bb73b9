"""The result of an evaluation as files: `eval.json`, the confusion matrix, its figure."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from arm_jax.data.labels import Classes
from arm_jax.evaluation import metrics
from arm_jax.evaluation.evaluate import Result
from arm_jax.reporting import pictures
from arm_jax.system import files


def report(result: Result, classes: Classes) -> dict[str, Any]:
    """A result as plain values that JSON can hold, figures unrounded."""
    values = metrics.as_dict(result.scores, classes.names)
    if result.boundary is not None:
        values["boundary"] = {
            "width": result.boundary_width,
            **metrics.as_dict(result.boundary, classes.names),
        }
    values["images"] = result.images
    values["protocol"] = result.protocol.describe()
    return values


def write_report(
    workdir: str | Path,
    result: Result,
    classes: Classes,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write `eval.json`, `confusion.csv` and `confusion.png`, each whole or not at all.

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
    path = Path(workdir) / "eval.json"
    if jax.process_index() == 0:
        pictures.save(pictures.confusion(result.matrix, classes), Path(workdir) / "confusion.png")
        with files.whole(Path(workdir) / "confusion.csv") as temporary:
            temporary.write_text(metrics.matrix_csv(result.matrix, classes.names))
        with files.whole(path) as temporary:
            text = json.dumps({**report(result, classes), **(extra or {})}, indent=2)
            temporary.write_text(text + "\n")
    return path
