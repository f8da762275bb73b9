"""What other packages call our tensors, from the tables of the parts of a network.

Our own name of a tensor is its path in the model joined by dots, such as
`backbone.stages.0.1.conv2.conv.kernel`; a table names the module, `LEAVES` the tensor in it. All
foreign layouts are PyTorch's, where a kernel is (out, in, height, width) and ours is
(height, width, in, out).
"""

import re

import numpy as np
from flax import nnx

from arm_jax.networks import BACKBONES, HEADS, WEIGHTS, Segmenter
from arm_jax.networks.names import Names

OWN = "arm_jax"
MMSEGMENTATION = "mmsegmentation"


def variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    """Every parameter, frozen or not, and running statistic of the model, by its own name."""
    state = nnx.state(model, WEIGHTS)
    return {".".join(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def foreign_names(model: Segmenter, layout: str) -> dict[str, str]:
    """From our name of each tensor to its key in a layout, for those the layout has.

    Args:
        model: a network; its backbone's variant and its kind of head decide which rows apply.
        layout: a key of `DESCRIPTIONS`.
    """
    ours = variables(model)
    if layout == OWN:
        return {name: name for name in ours}
    backbone = BACKBONES[model.backbone_name]
    there = backbone.names(backbone.variants[model.variant])
    if layout == MMSEGMENTATION:
        prefixed = [(ours, f"backbone.{theirs}") for ours, theirs in there.get("backbone", ())]
        heads = HEADS[model.head_name].names.get(layout, ())
    else:
        prefixed, heads = [*there.get(layout, ())], ()
    table = [*((rf"backbone\.{ours}", theirs) for ours, theirs in prefixed), *heads]
    names = {name: _translate(name, table) for name in ours}
    return {ours: theirs for ours, theirs in names.items() if theirs is not None}


def to_torch(array: np.ndarray) -> np.ndarray:
    """One of our tensors in PyTorch's order of axes."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def to_ours(array: np.ndarray) -> np.ndarray:
    """One of PyTorch's tensors in our order of axes."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def shape_there(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """A shape of ours as it reads in the layout."""
    if layout == OWN or len(shape) != 4:
        return shape
    height, width, ins, outs = shape
    return outs, ins, height, width


def _translate(name: str, table: Names) -> str | None:
    module, leaf = name.rsplit(".", 1)
    for pattern, replacement in table:
        match = re.fullmatch(pattern, module)
        if match:
            return f"{match.expand(replacement)}.{LEAVES[leaf]}"
    return None


LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

# The layouts, and whose names they are.
DESCRIPTIONS = {
    OWN: "our own",
    "mmsegmentation": "mmsegmentation's",
    "backbone": "torchvision's (and mmsegmentation's backbones')",
    "timm": "timm's",
}
