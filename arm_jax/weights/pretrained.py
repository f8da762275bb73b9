"""Weights that others have trained, into our networks.

torchvision, timm and mmsegmentation call the same tensors by different names; `weight_names` has
the tables, and the file's own keys decide which one applies. Whatever does not fit is found before
anything is changed.
"""

import collections
import dataclasses
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from arm_jax.networks import BACKBONES, WEIGHTS, Segmenter
from arm_jax.networks.input import COLORS, first_kernel
from arm_jax.networks.parts import PARTS
from arm_jax.system.errors import InputError
from arm_jax.weights import weight_files, weight_names

# Backbone keys of any layout, up to the block: what a network must have a place for.
_BACKBONE_KEY = re.compile(r"((backbone\.)?(layer\d\.\d+|conv1|bn1|stem|stages\.\d+\.\d+))\.")

_STAGE_KEY = re.compile(r"(backbone\.)?(layer\d|stages\.\d)(?=\.)")


@dataclasses.dataclass(frozen=True)
class Report:
    """What `load` did; as text, a summary of a few lines.

    Attributes:
        source: where the weights came from.
        layout: whose names they have.
        loaded: our names of the tensors that were set.
        fresh: our names of those that kept their values.
        left_out: the file's names of what was not used.
        notes: what was not as usual.
    """

    source: str
    layout: str
    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def fresh_parts(self) -> set[str]:
        """The parts of the backbone, named as in `parts.PARTS`, with a tensor that was not set."""
        ours = ["backbone.stem", *(f"backbone.stages.{number}" for number in range(4))]
        return {PARTS[ours.index(part)] for part in map(_part, self.fresh) if part in ours}

    def __str__(self) -> str:
        lines = [
            f"{len(self.loaded)} tensors loaded from {self.source}, by {self.layout} names",
            f"  loaded: {_count(map(_part, self.loaded))}",
            f"  left fresh: {_count(map(_part, self.fresh))}",
            f"  left out of the file: {_count(key.partition('.')[0] for key in self.left_out)}",
        ]
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def load(model: Segmenter, source: str | Path | Mapping[str, Any]) -> Report:
    """Set the network's tensors from a source of weights.

    A part of the backbone (its stem, or one stage) is loaded whole or not at all, and so is a
    head. A classifier for another number of classes stays fresh. A first kernel for gray images is
    spread over the three colours, and one for colours over other bands (`input.first_kernel`).
    torchvision's and Caffe's networks have equal names and shapes: which of them the weights are
    for must be known, and chosen as the network's variant.

    Args:
        model: a network from `networks.create`.
        source: a path, `hf://owner/repository[/file]` or a mapping: see `weight_files.read`.

    Returns:
        What was loaded, left out and left fresh. Weights that were exported from a network of
        another output stride or variant fit, and predict otherwise: a note and a warning report it.

    Raises:
        InputError: the source cannot be read, holds nothing of this network, or does not fit it,
            in which case every misfit is listed. The model is then as it was.
    """
    name = weight_files.name(source)
    file = source if isinstance(source, Mapping) else weight_files.locate(source)
    tensors = weight_files.read(file)
    layout = _recognise(model, tensors, name)
    if layout != weight_names.OWN:
        _check_variant(model, tensors, name)
        tensors = {key: weight_names.to_ours(tensor) for key, tensor in tensors.items()}
    names = weight_names.foreign_names(model, layout)
    ours = weight_names.variables(model)

    values: dict[str, np.ndarray] = {}
    notes = _differences(model, weight_files.metadata(file))
    for note in notes:
        warnings.warn(f"{name}: {note}", stacklevel=2)
    misfits = _misplaced(names, tensors)
    for our in _wanted(names, tensors, notes):
        try:
            value, note = _fit(our, tensors[names[our]], ours[our].shape, layout, model.bands.names)
        except ValueError as error:
            misfits.append(f"{names[our]} {error}")
            continue
        if note:
            notes.append(f"{our} {note}")
        if value is not None:
            values[our] = value
    if misfits:
        raise InputError(f"{name} does not fit {_describe(model)}: {'; '.join(misfits)}")
    if not values:
        raise InputError(f"{name} holds no part of {_describe(model)} as a whole")
    _assign(model, values)
    used = {names[our] for our in values}
    return Report(
        source=name,
        layout=weight_names.DESCRIPTIONS[layout],
        loaded=tuple(values),
        fresh=tuple(our for our in ours if our not in values),
        left_out=tuple(key for key in tensors if key not in used),
        notes=tuple(notes),
    )


def _differences(model: Segmenter, stated: Mapping[str, str]) -> list[str]:
    """What an exported file states of its network and this one has otherwise, at equal shapes."""
    here = {"output_stride": str(model.output_stride), "variant": model.variant}
    return [
        f"the file is of a network with {key} = {stated[key]}, this one has {value}, so that its"
        f" predictions differ; set model.{key} = {stated[key]} for the same"
        for key, value in here.items()
        if key in stated and stated[key] != value
    ]


def _recognise(model: Segmenter, tensors: Mapping[str, np.ndarray], source: str) -> str:
    """The layout that has names for the most of the tensors."""

    def known(layout: str) -> int:
        return sum(key in tensors for key in weight_names.foreign_names(model, layout).values())

    layout = max(weight_names.DESCRIPTIONS, key=known)
    if not known(layout):
        some = ", ".join(list(tensors)[:3])
        raise InputError(
            f"{source} holds nothing of {_describe(model)}: its tensors are called {some}, ..., "
            f"which is none of {', '.join(weight_names.DESCRIPTIONS.values())} names"
        )
    return layout


def _check_variant(model: Segmenter, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse a backbone of another variant by its name, not by a hundred wrong shapes."""
    row = BACKBONES[model.backbone_name]
    fitting = [n for n, each in row.variants.items() if row.fits(each, model.backbone, tensors)]
    if fitting and model.variant not in fitting:
        raise InputError(
            f"{source} has the backbone of variant {' or '.join(fitting)}, and the network that "
            f"of {model.variant}; create the network with the variant of the weights"
        )


def _misplaced(names: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Backbone tensors of the file that the network has no place for, and the other way round."""
    places = set(names.values())
    stages = {_stage(key) for key in places}
    # A network may end before the last stage of the file.
    surplus = _blocks(key for key in tensors if key not in places and _stage(key) in stages)
    present = {_part(our) for our, key in names.items() if key in tensors}
    lacking = _blocks(
        key for our, key in names.items() if key not in tensors and _part(our) in present
    )
    return [
        *(f"{block} ({number} tensors) has no place" for block, number in surplus.items()),
        *(f"{block} ({number} tensors) is missing" for block, number in lacking.items()),
    ]


def _wanted(
    names: Mapping[str, str], tensors: Mapping[str, np.ndarray], notes: list[str]
) -> list[str]:
    """Our names of all tensors to load. A head that the file has only bits of is not loaded."""
    wanted = []
    for part in dict.fromkeys(map(_part, names)):
        members = [our for our in names if _part(our) == part]
        found = [our for our in members if names[our] in tensors]
        whole = all(our in found for our in members if not _is_classifier(our))
        if found and not whole and not part.startswith("backbone"):
            notes.append(f"{part}: the file has a head of another kind")
        else:
            wanted += found
    return wanted


def _fit(
    our: str, tensor: np.ndarray, shape: tuple[int, ...], layout: str, bands: Sequence[str]
) -> tuple[np.ndarray | None, str]:
    """The tensor in the network's shape, or None to leave it fresh; and a remark, if any.

    Raises:
        ValueError: it does not fit; the message continues a sentence about it.
    """
    if tensor.dtype.kind in "cOSUmM":
        raise ValueError(f"holds {tensor.dtype} and no real numbers")
    if tensor.dtype.kind in "iub":
        raise ValueError(f"holds {tensor.dtype}, as a quantised network does; give its floats")
    with np.errstate(over="ignore"):
        values = tensor.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("is not finite")
    if values.shape == shape:
        return values, ""
    if _is_classifier(our) and values.shape[:-1] == shape[:-1]:
        return None, f"stays fresh: the file scores {values.shape[-1]} classes, not {shape[-1]}"
    is_first = our == "backbone.stem.layers.0.conv.kernel"
    if is_first and values.shape == (*shape[:2], 3, shape[3]):
        colored = [name for name in bands if name in COLORS]
        kept = f", of which {', '.join(colored)} keep theirs" if colored else ""
        return first_kernel(values, bands), f"is spread from three colours over {len(bands)}{kept}"
    if is_first and values.shape == (*shape[:2], 1, shape[3]) and len(bands) == 3:
        return np.repeat(values / 3, 3, axis=2), "is spread from one colour over three"
    found, wanted = (weight_names.shape_there(each, layout) for each in (values.shape, shape))
    raise ValueError(f"is {found} and not {wanted}")


def _assign(model: Segmenter, values: Mapping[str, np.ndarray]) -> None:
    state = nnx.to_flat_state(nnx.state(model, WEIGHTS))
    updates = []
    for path, variable in state:
        value = values.get(".".join(map(str, path)))
        if value is not None:
            updates.append((path, variable.replace(jnp.asarray(value))))
    nnx.update(model, nnx.from_flat_state(updates))


def _part(our: str) -> str:
    """What is loaded as a whole: the stem, a stage, or a head."""
    match = re.match(r"backbone\.(stem|stages\.\d+)|[^.]+", our)
    return match[0] if match else our


def _is_classifier(our: str) -> bool:
    return ".classifier." in our


def _blocks(keys: Iterable[str]) -> dict[str, int]:
    matches = (_BACKBONE_KEY.match(key) for key in keys)
    return dict(collections.Counter(match[1] for match in matches if match))


def _stage(key: str) -> str:
    """The stage of a backbone that a tensor of a file belongs to; "" where it is of none."""
    match = _STAGE_KEY.match(key)
    return match[0] if match else ""


def _count(parts: Iterable[str]) -> str:
    counts = collections.Counter(parts)
    return ", ".join(f"{part} ({number})" for part, number in counts.items()) or "nothing"


def _describe(model: Segmenter) -> str:
    return f"{model.name} (variant {model.variant})"
