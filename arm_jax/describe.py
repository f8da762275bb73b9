"""What a run is about to do, in plain words."""

from pathlib import Path

import jax
from clu import parameter_overview
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from arm_jax import files
from arm_jax.data import sources
from arm_jax.state import TrainState


def run(
    config: ConfigDict, training: sources.Source, evaluation: sources.Source, mesh: Mesh
) -> str:
    """What is about to happen, in plain words."""
    data = config.data
    kind = f"coarse ({data.coarsen})" if data.coarsen else data.train_labels
    player = {
        "none": "no reweighting",
        "linear": f"Linear ARM, W(v) = {config.arm.slope:g} v + {config.arm.offset:g}",
        "learned": f"ARM on {config.arm.input}, p = {config.arm.p:g}",
        "monotone": f"monotone ARM on {config.arm.input}, p = {config.arm.p:g}",
        "closed_form": f"closed-form ARM on {config.arm.input}, p = {config.arm.p:g}",
    }[config.arm.kind]
    crop = "x".join(map(str, config.augment.crop))
    return "\n".join(
        [
            f"train on     {len(training):,} images of {data.dataset} {data.train_split},"
            f" {kind} labels, {training.classes.number} classes",
            f"evaluate on  {len(evaluation):,} images of {data.eval_split},"
            f" {data.eval_labels} labels",
            f"network      {config.model.name}, output stride {config.model.output_stride},"
            f" {config.model.dtype}",
            f"method       {config.loss.kind} loss, {player}",
            f"schedule     {config.steps:,} steps of {config.batch_size} crops of {crop},"
            f" about {config.steps * config.batch_size / len(training):,.1f} epochs",
            f"devices      {mesh.size} x {mesh.devices.flat[0].device_kind},"
            f" {jax.process_count()} process(es)",
        ]
    )


def parameters(state: TrainState, folder: Path) -> str:
    """How many parameters there are, and where; the whole table goes to parameters.txt."""
    params = nnx.to_pure_dict(state.params)
    with files.whole(folder / "parameters.txt") as temporary:
        temporary.write_text(parameter_overview.get_parameter_overview(params) + "\n")
    parts = {f"segmenter.{name}": tree for name, tree in params["segmenter"].items()}
    if "arm" in params:
        parts["arm"] = params["arm"]
    counts = {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in parts.items()}
    lines = [f"  {name:<26}{count:>12,}" for name, count in counts.items()]
    total = f"  {'total':<26}{sum(counts.values()):>12,}"
    return "\n".join(["parameters (each tensor in parameters.txt)", *lines, total])
