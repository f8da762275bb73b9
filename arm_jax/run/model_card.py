"""The model card of a published network: what it was trained on, and what it scores."""

import re
from pathlib import Path
from typing import Any

import jinja2
from ml_collections import ConfigDict

from arm_jax.reporting import scores as reports
from arm_jax.run import describe, restore
from arm_jax.run import folder as run_folder
from arm_jax.system.errors import printable

_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


def text(run: restore.Run, config: ConfigDict, repository: str, license: str, data: str) -> str:
    """The text of README.md; arguments as for `hub.write`, `config` without paths."""
    from huggingface_hub import EvalResult, ModelCardData

    found = _evaluation(run)
    name = repository.partition("/")[2]
    images = run_folder.read_images(run.folder)
    facts = describe.facts(
        config, run.classes, images, found.get("images"), run.experiment.protocol
    )
    facts = [(word, _cell(text)) for word, text in facts]
    part = f"{config.data.dataset} {config.data.eval_split}"
    results = None
    if found:
        dataset = {"dataset_type": config.data.dataset, "dataset_name": part}
        dataset["dataset_split"] = config.data.eval_split
        results = [
            EvalResult("image-segmentation", metric_type=key, metric_value=found[key], **dataset)
            for key in ("mIoU", "mAcc", "aAcc")
        ]
    stated = ModelCardData(
        license=license,
        library_name="arm_jax",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", "jax", "flax", "coarse-labels", "noisy-labels"],
        model_name=name if results else None,
        eval_results=results,
    )
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    labels = f"{config.data.eval_labels} labels"
    calibration = found.get("calibration")
    body = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        name=name,
        repository=repository,
        network=run.model.name,
        method=dict(facts)["method"],
        classes=[(_cell(n), c) for n, c in zip(run.classes.names, run.classes.colors, strict=True)],
        data=data,
        facts=facts,
        step=run.step,
        steps=config.steps,
        scores=tuple(found[key] for key in ("mIoU", "mAcc", "aAcc")) if found else (),
        ece=calibration["ECE"] if calibration and calibration["bins"] else None,
        measured_on=f"{_images(found)}{part}, {labels}; {run.experiment.protocol.describe()}",
        by_class=[
            (_cell(row["name"]), _figure(row["IoU"]), _figure(row["Acc"]))
            for row in found.get("classes", ())
        ],
    )
    return f"---\n{stated.to_yaml()}\n---\n\n{body}"


def _evaluation(run: restore.Run) -> dict[str, Any]:
    """What is known of the checkpoint's scores: all of eval.json, or three numbers, or nothing."""
    evaluated = reports.read(run.folder, run.classes)
    if evaluated is not None and evaluated.step == run.step:
        return evaluated.values
    return dict(run.scores)


def _images(found: dict[str, Any]) -> str:
    return f"{found['images']:,} images of " if "images" in found else ""


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _cell(text: str) -> str:
    """Text that may stand in a table of Markdown."""
    return re.sub(r"([|<>`*_\\])", r"\\\1", printable(text))
