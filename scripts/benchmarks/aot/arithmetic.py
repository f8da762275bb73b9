"""Multiplications and additions of convolutions and matrix products, and their windows.

Of each only the taps that fall on the map count, as in XLA's own count: a 3x3 convolution at
dilation 36 on a map of 32x64 does three products a position, not nine.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from aot.hlo import Computation, Instruction, Module, Shape

_LABELS = re.compile(r"dim_labels=([\w?]+)_([\w?]+)->([\w?]+)")


@dataclass(frozen=True)
class Product:
    """One convolution or matrix product.

    Attributes:
      kind: "matrix product", "convolution", or on GPUs the cuDNN call: "convForward",
        "convBackwardInput", "convBackwardFilter".
      operations: twice the multiply-adds.
      precision: element type of the factors; "tf32" and "bf16" if float32 may be rounded to it.
      window: as the compiler prints it, "" for 1x1 and for matrix products.
      groups: of its features.
      result: the type in which the result is stored.
    """

    kind: str
    operations: float
    precision: str
    window: str
    groups: int
    result: str

    @property
    def size(self) -> tuple[int, ...]:
        """Of the window; () for a matrix product."""
        found = re.search(r"size=([\dx]+)", self.window)
        return tuple(int(part) for part in found.group(1).split("x")) if found else ()


def products(module: Module, computation: Computation, one: Instruction) -> Iterator[Product]:
    """The products that an instruction does, those inside a fusion included."""
    if one.opcode == "fusion":
        fused = module.computations[one.called[0]]
        for inner in fused:
            yield from products(module, fused, inner)
    elif one.opcode == "dot":
        yield _dot(computation, one)
    elif one.opcode == "convolution":
        yield _convolution(computation, one, "convolution")
    elif one.target.startswith("__cudnn$conv"):
        yield _convolution(computation, one, one.target.removeprefix("__cudnn$"))
    elif "matmul" in one.target or "gemm" in one.target:
        yield _library_product(computation, one)


def _dot(computation: Computation, one: Instruction) -> Product:
    left, right = (computation.shapes(name)[0] for name in one.operands[:2])
    contracted = _dimensions(one.attributes, "lhs_contracting_dims")
    return Product(
        "matrix product",
        2.0 * one.shapes[0].elements * math.prod(left.dims[i] for i in contracted),
        _precision(left, right, one.attributes),
        "",
        1,
        one.shapes[0].dtype,
    )


def _library_product(computation: Computation, one: Instruction) -> Product:
    left, right = (computation.shapes(name)[0] for name in one.operands[:2])
    found = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', one.attributes)
    if found:
        contracted = [int(number) for number in re.findall(r"\d+", found.group(1))]
    else:
        contracted = _dimensions(one.attributes, "lhs_contracting_dims")
    result = one.shapes[0]
    depth = math.prod(left.dims[i] for i in contracted)
    precision = _precision(left, right, one.attributes)
    return Product("matrix product", 2.0 * result.elements * depth, precision, "", 1, result.dtype)


def _dimensions(attributes: str, name: str) -> list[int]:
    found = re.search(name + r"=\{([\d,]*)\}", attributes)
    return [int(part) for part in found.group(1).split(",") if part] if found else []


def _precision(left: Shape, right: Shape, attributes: str) -> str:
    """By the wider factor; float32 is exact only where the program asks for it."""
    if left.dtype == right.dtype and left.dtype != "f32":
        return left.dtype
    exact = re.search(r'"?operand_precision"?[=:][{\[]"?(highest|HIGHEST)', attributes)
    algorithm = "dot_f32_f32_f32" in attributes
    return "f32" if exact or algorithm else "f32 rounded"


def _convolution(computation: Computation, one: Instruction, kind: str) -> Product:
    first, second = (computation.shapes(name)[0] for name in one.operands[:2])
    result = one.shapes[0]
    # cuDNN's calls name window and dimensions of the forward convolution that they belong to.
    images, kernel, maps = {
        "convBackwardInput": (result, second, first),
        "convBackwardFilter": (first, result, second),
    }.get(kind, (first, second, result))
    labels = _LABELS.search(one.attributes)
    if labels is None:
        raise ValueError(f"{one.name}: a convolution without dim_labels")
    image_labels, kernel_labels, map_labels = labels.groups()
    window = re.search(r"window=\{([^}]*)\}", one.attributes)
    text = window.group(1) if window else ""
    spatial = [label for label in kernel_labels if label.isdigit()]
    taps = 1
    for axis, label in enumerate(spatial):
        taps *= _taps(
            text,
            axis,
            images.dims[image_labels.index(label)],
            kernel.dims[kernel_labels.index(label)],
            maps.dims[map_labels.index(label)],
        )
    inputs = kernel.dims[kernel_labels.index("i")]  # of a group
    outputs = kernel.dims[kernel_labels.index("o")]
    batch = maps.dims[map_labels.index("b")]
    groups = re.search(r"feature_group_count=(\d+)", one.attributes)
    batches = re.search(r"batch_group_count=(\d+)", one.attributes)
    operations = 2.0 * taps * inputs * outputs * batch
    return Product(
        kind if spatial else "matrix product",  # a TPU's products are convolutions of no axis
        operations,
        _precision(first, second, one.attributes),
        text,
        int(groups.group(1)) if groups else int(batches.group(1)) if batches else 1,
        result.dtype,
    )


def _taps(window: str, axis: int, image: int, kernel: int, maps: int) -> int:
    """Pairs of kernel and output positions along an axis that meet a pixel and no padding."""
    stride = _of_window(window, "stride", axis, 1)
    low = _of_window(window, "pad", axis, 0)
    spread = _of_window(window, "lhs_dilate", axis, 1)
    dilation = _of_window(window, "rhs_dilate", axis, 1)
    last = (image - 1) * spread
    total = 0
    for position in range(kernel):
        offset = position * dilation - low
        if spread == 1:
            # Outputs y with 0 <= y * stride + offset <= last.
            first = max(0, -(offset // stride)) if offset < 0 else 0
            end = (last - offset) // stride
            total += max(0, min(maps - 1, end) - first + 1)
        else:
            places = (y * stride + offset for y in range(maps))
            total += sum(0 <= place <= last and place % spread == 0 for place in places)
    return total


def _of_window(window: str, name: str, axis: int, default: int) -> int:
    found = re.search(rf"\b{name}=(\S+)", window)
    if not found:
        return default
    part = found.group(1).split("x")[axis]
    return int(part.split("_")[0])
