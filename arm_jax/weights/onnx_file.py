"""A trained network as an ONNX file, run by ONNX Runtime before the file gets its name.

Needs the extra `onnx`: pip install "arm_jax[onnx]".
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from arm_jax import networks
from arm_jax.data.labels import Classes
from arm_jax.networks import Segmenter
from arm_jax.system import files
from arm_jax.system.errors import InputError, first_line
from arm_jax.version import __version__
from arm_jax.weights import export, onnx_graph, onnx_packages
from arm_jax.weights.onnx_graph.operations import OPERATIONS

OPERATORS = 18  # the version of ONNX's operators: ONNX Runtime 1.14 and later
FORMAT = 8  # of the file, the one that came with these operators
# Of the largest score: rounding of float32 in another order leaves a hundredth of it.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far ONNX Runtime is from JAX on some images.

    Attributes:
      images: how many were compared.
      scores: the largest difference of a score, as a fraction of the largest score.
      labels: the share of pixels with another label.
      lost: by how much, as a fraction of the largest score, the class of such a pixel is behind
        the best one there, at most.
    """

    images: int
    scores: float
    labels: float
    lost: float

    @property
    def is_small(self) -> bool:
        return self.scores <= TOLERANCE and self.lost <= 2 * TOLERANCE

    def __str__(self) -> str:
        return (
            f"scores differ by {self.scores:.1e} of the largest, {100 * self.labels:.3f} % of the"
            f" labels, on {self.images} images"
        )


def program(model: Segmenter, size: tuple[int, int], classes: Classes | None = None) -> bytes:
    """`export.segmenting(model, size)` as the contents of an ONNX file, for any number of images.

    One input, "images", and two outputs, "labels" and "scores", float32 whatever the network
    computes in. The file's metadata are those of `export.metadata`.

    Args:
      model: a network of float32 and at most 256 classes.
      size: height and width. They are fixed: resizing is by tables of one size.
      classes: names and colours for the metadata.

    Raises:
      InputError: ONNX is not installed, the network is of half precision or too large, or has what
        cannot be expressed.
    """
    onnx_packages.require()
    from onnx import checker, helper

    dtype = model.head.classifier.dtype
    if dtype != np.float32:
        raise InputError(f"the network computes in {dtype}, and ONNX files here in float32")
    stated = export.metadata(model, classes)
    shape = export.any_number(model, size)
    traced, outputs = jax.make_jaxpr(export.segmenting(model, size), return_shape=True)(shape)
    graph = onnx_graph.Graph(shape.shape[0], "images")
    names = onnx_graph.converted(traced, graph, ["images"], OPERATIONS)
    # In the order in which JAX flattens them.
    for name, key in zip(names, sorted(outputs), strict=True):
        graph.nodes.append(helper.make_node("Identity", [name], [key], name=key))

    def described(name: str, aval: Any) -> Any:
        lengths = [length if isinstance(length, int) else "b" for length in aval.shape]
        return helper.make_tensor_value_info(name, graph.type_of(aval.dtype), lengths)

    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            model.name,
            [described("images", shape)],
            [described(key, outputs[key]) for key in ("labels", "scores")],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPERATORS)],
        ir_version=FORMAT,
        producer_name="arm_jax",
        producer_version=__version__,
    )
    helper.set_model_props(made, stated)
    if made.ByteSize() >= checker.MAXIMUM_PROTOBUF:
        raise InputError(f"{model.name} is too large for an ONNX file of 2 GB")
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def difference(
    data: bytes, model: Segmenter, images: np.ndarray, *, at_once: int = 2
) -> Difference:
    """Run a file's contents by ONNX Runtime on a CPU, and compare it with the network.

    Args:
      data: from `program`.
      model: what it was made of.
      images: uint8 (n, height, width, 3) of the size that the program was made for.
      at_once: images of one call.

    Raises:
      InputError: ONNX Runtime is not installed, or refuses the program.
    """
    onnx_packages.require()
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised as well
    size = images.shape[1:3]
    segment = jax.jit(export.segmenting(model, size))
    resized = jax.jit(lambda scores: networks.resize(scores, size, model.align_corners))
    largest = scores_off = lost = 0.0
    other = 0
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for first in range(0, len(images), at_once):
            some = images[first : first + at_once]
            labels, scores = session.run(["labels", "scores"], {"images": some})
            # Products of TensorFloat-32, which GPUs use otherwise, have ten bits.
            with jax.default_matmul_precision("highest"):
                ours = jax.device_get(segment(some))
                full = np.asarray(resized(ours["scores"]))
            largest = max(largest, float(np.abs(ours["scores"]).max()))
            scores_off = max(scores_off, float(np.abs(scores - ours["scores"]).max()))
            chosen = np.take_along_axis(full, labels[..., None].astype(np.int64), -1)[..., 0]
            lost = max(lost, float((full.max(-1) - chosen).max()))
            other += int((labels != ours["labels"]).sum())
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "onnxruntime":
            raise
        raise InputError(f"ONNX Runtime cannot run {model.name}: {first_line(error)}") from error
    scale = max(largest, float(np.finfo(np.float32).tiny))
    pixels = images.shape[0] * size[0] * size[1]
    return Difference(len(images), scores_off / scale, other / pixels, lost / scale)


def save(
    model: Segmenter,
    path: str | Path,
    size: tuple[int, int],
    images: np.ndarray,
    classes: Classes | None = None,
) -> Difference:
    """Write `program(...)` to a file, if ONNX Runtime gives what the network gives.

    Args:
      model, size, classes: as for `program`.
      path: of the file.
      images: uint8 (n, height, width, 3) to compare on, beside two of random values.

    Raises:
      InputError: as `program`; the file cannot be written; or ONNX Runtime gives something else,
        in which case there is no file.
    """
    data = program(model, size, classes)
    bands = model.bands
    largest = 2 * max(bands.mean) if bands.stored else 255
    noise = np.random.default_rng(0).integers(
        0, int(largest) + 1, (2, *size, bands.number), bands.dtype
    )
    found = difference(data, model, np.concatenate([noise, images]))
    if not found.is_small:
        raise InputError(
            f"{path} is not written: ONNX Runtime gives something else than the network does"
            f" ({found})"
        )
    files.write(path, data)
    return found
