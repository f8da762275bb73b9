"""Trained networks for other programs: weight files, and a compiled-anywhere StableHLO artifact."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import nnx

from arm_jax import networks
from arm_jax.data.labels import Classes
from arm_jax.networks import Segmenter
from arm_jax.networks.input import standardize
from arm_jax.networks.parts import merged
from arm_jax.system import files
from arm_jax.system.errors import InputError
from arm_jax.weights import weight_names

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def tensors(model: Segmenter, names: str = weight_names.OWN) -> dict[str, np.ndarray]:
    """Every parameter and running statistic, float32, in the order of axes of the names' owner.

    Args:
        model: a network.
        names: "arm_jax", or "mmsegmentation" for a state dict that the same network there loads
            with strict=True. It has a counter of batches beside each BatchNorm, 0 here, and
            scores of the classes only: a network with extra channels is exported without them.

    Raises:
        InputError: other names are asked for, or they have none for some of the tensors.
    """
    if names not in (weight_names.OWN, weight_names.MMSEGMENTATION):
        choices = f"{weight_names.OWN} or {weight_names.MMSEGMENTATION}"
        raise InputError(f"tensors cannot be exported by the names of {names!r}; choose {choices}")
    variables = weight_names.variables(model)
    theirs = weight_names.foreign_names(model, names)
    unnamed = [our for our in variables if our not in theirs]
    if unnamed:
        raise InputError(
            f"{model.name} cannot be exported by the names of {names}, which has none for "
            f"{len(unnamed)} of its {len(variables)} tensors: {', '.join(unnamed[:3])}"
            f"{', ...' if len(unnamed) > 3 else ''}; export it by those of {weight_names.OWN}"
        )
    ours = {name: np.asarray(value[...]) for name, value in variables.items()}
    if names == weight_names.OWN:
        return ours
    state = {}
    for our, key in theirs.items():
        value = ours[our]
        if our.startswith("head.classifier."):
            value = value[..., : model.num_classes]
        state[key] = np.ascontiguousarray(weight_names.to_torch(value))
        module, _, leaf = key.rpartition(".")
        if leaf == "running_var":
            state[f"{module}.num_batches_tracked"] = np.zeros((), np.int64)
    return state


def metadata(model: Segmenter, classes: Classes | None = None) -> dict[str, str]:
    """What a file states of its network beside the tensors, each value a string.

    `network`, `variant`, `num_classes`, `output_stride` and `align_corners` are arguments of
    `networks.create`, "mean" and "std" JSON lists of three numbers for RGB in 0..255; or,
    with "channels", of a number for each of these bands, in units of the stored values. With
    `classes` also "class_names" and "class_colors", JSON lists in the order of the scores, and
    "ignore", the label of no class.

    Raises:
        InputError: the classes are not as many as the network scores.
    """
    stated = {
        "network": model.name,
        "variant": model.variant,
        "num_classes": str(model.num_classes),
        "output_stride": str(model.output_stride),
        "align_corners": json.dumps(model.align_corners),
        "mean": json.dumps(model.bands.mean),
        "std": json.dumps(model.bands.deviation),
    }
    if model.bands.stored:
        stated["channels"] = json.dumps(model.bands.names, ensure_ascii=False)
    if classes is not None:
        if classes.number != model.num_classes:
            raise InputError(
                f"{classes.number} classes are named, but {model.name} scores {model.num_classes};"
                " name those that it was trained on"
            )
        stated["class_names"] = json.dumps(classes.names, ensure_ascii=False)
        stated["class_colors"] = json.dumps(classes.colors)
        stated["ignore"] = str(classes.ignore)
    return stated


def save_safetensors(
    model: Segmenter,
    path: str | Path,
    names: str = weight_names.OWN,
    classes: Classes | None = None,
) -> dict[str, np.ndarray]:
    """Write `tensors(model, names)` to a `.safetensors` file, and return them.

    The file's metadata are those of `metadata`. `pretrained.load` reads both kinds back.
    In PyTorch: `model.load_state_dict(safetensors.torch.load_file(path))`.

    Raises:
        InputError: the file cannot be written, `names` is not known, or the classes are of another
            number.
    """
    from safetensors.numpy import save

    stated = {"format": "pt", **metadata(model, classes)}
    state = tensors(model, names)
    files.write(path, save(state, stated))  # `save_file` would let nobody else read it
    return state


def segmenting(
    model: Segmenter, size: tuple[int, int]
) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """The network with its weights as a function of images of one size, for every program.

    It takes uint8 RGB images (b, height, width, 3), or uint16 ones of the network's other bands,
    normalises them, and returns {"labels": uint8
    (b, height, width), "scores": float32 (b, h, w, num_classes)}, the scores at the resolution at
    which the network gives them, labels being the best class of the scores resized to the image.

    Raises:
        InputError: the network has more classes than a byte counts.
    """
    if model.num_classes > 256:
        raise InputError(f"num_classes = {model.num_classes}: labels of one byte hold 256")
    graphdef, state = nnx.split(model)

    def segment(images: jax.Array) -> dict[str, jax.Array]:
        network = merged(graphdef, state)
        scores = network(standardize(images, network.bands))[..., : model.num_classes]
        labels = jnp.argmax(networks.resize(scores, size, model.align_corners), axis=-1)
        return {"labels": labels.astype(jnp.uint8), "scores": scores}

    return segment


def any_number(model: Segmenter, size: tuple[int, int]) -> jax.ShapeDtypeStruct:
    """What a program takes: any number of images of one size, uint8 RGB or uint16 bands."""
    (batch,) = jax.export.symbolic_shape("b")
    return jax.ShapeDtypeStruct((batch, *size, model.bands.number), model.bands.dtype)


def stablehlo(
    model: Segmenter, size: tuple[int, int], *, platforms: Sequence[str] = PLATFORMS
) -> bytes:
    """`segmenting(model, size)` as one serialised program, for any number of images.

    It is run, without this package, by

        jax.export.deserialize(bytearray(data)).call(images)

    Args:
        model: a network of at most 256 classes.
        size: height and width.
        platforms: where it is to run.

    Raises:
        InputError: an unknown platform, or more classes than a byte counts.
    """
    unknown = set(platforms) - set(PLATFORMS)
    if unknown:
        raise InputError(f"platforms = {sorted(unknown)}; choose from {', '.join(PLATFORMS)}")
    segment = jax.jit(segmenting(model, size))
    exported = jax.export.export(segment, platforms=tuple(platforms))(any_number(model, size))
    return bytes(exported.serialize())


def save_stablehlo(
    model: Segmenter,
    path: str | Path,
    size: tuple[int, int],
    *,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Write `stablehlo(...)` to a file.

    Raises:
        InputError: as `stablehlo`, or the file cannot be written.
    """
    data = stablehlo(model, size, platforms=platforms)
    files.write(path, data)
