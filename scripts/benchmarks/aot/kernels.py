"""The kernels of a compiled program, each with its bytes, operations, kind and source line."""

from collections.abc import Iterator
from dataclasses import dataclass

from aot import arithmetic, traffic
from aot.arithmetic import Product
from aot.hlo import Computation, Instruction, Module, Shape

COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    "collective-broadcast",
)
_CALLS = ("call", "async-start")
_MOVES = {"parameter", "constant", "transpose", "bitcast", "copy", "convert", "reshape", "slice"}


@dataclass(frozen=True)
class Kernel:
    """One instruction that does work on the device.

    Attributes:
      times: how often it runs in one run of the program: the trips of the loops around it.
      bytes: of main memory, read and written, each time.
      products: the convolutions and matrix products in it.
      asynchronous: other kernels run while it moves its bytes.
    """

    name: str
    kind: str
    times: int
    bytes: int
    products: tuple[Product, ...]
    shapes: tuple[Shape, ...]
    source: str
    asynchronous: bool

    @property
    def operations(self) -> float:
        return sum(one.operations for one in self.products)


def walk(module: Module) -> Iterator[Kernel]:
    """All kernels of the entry computation and of the loops, calls and branches in it.

    A loop whose number of trips the compiler does not know counts once; `unknown_loops` counts
    them.
    """
    yield from _walk(module, module.entry, 1)


def unknown_loops(module: Module) -> int:
    """How many loops have a number of trips that the compiler does not know."""
    every = (one for computation in module.computations.values() for one in computation)
    return sum(one.opcode == "while" and module.trips(one) is None for one in every)


def _walk(module: Module, computation: Computation, times: int) -> Iterator[Kernel]:
    for one in computation:
        if one.opcode == "while":
            body = module.computations[one.named("body")]
            yield from _walk(module, body, times * (module.trips(one) or 1))
        elif one.opcode == "conditional":
            branches = [
                list(_walk(module, module.computations[name], times)) for name in one.called
            ]
            yield from max(branches, key=lambda kernels: sum(k.bytes for k in kernels))
        elif one.opcode in _CALLS and one.called:
            yield from _walk(module, module.computations[one.called[0]], times)
        elif not traffic.is_free(one):
            yield _kernel(module, computation, one, times)


def _kernel(module: Module, computation: Computation, one: Instruction, times: int) -> Kernel:
    return Kernel(
        one.name,
        kind(module, one),
        times,
        traffic.kernel_bytes(module, computation, one),
        tuple(arithmetic.products(module, computation, one)),
        one.shapes,
        module.source(one),
        one.opcode.endswith("-start"),
    )


def kind(module: Module, one: Instruction) -> str:
    """What a kernel does, in the words of the report."""
    opcode = one.opcode.removesuffix("-start")
    if opcode in COLLECTIVES:
        return opcode
    if one.opcode == "custom-call":
        if one.target.startswith("__cudnn$conv"):
            return "convolution, cuDNN"
        if "matmul" in one.target or "gemm" in one.target:
            return "matrix product, cuBLAS"
        if "triton" in one.target or one.target == "tpu_custom_call":
            return "Pallas kernel"
        return one.target or "custom call"
    if opcode in ("copy", "transpose", "slice", "convert", "reshape"):
        return "copy, transpose, convert"
    inside = _opcodes(module, one)
    if "convolution" in inside:
        return "convolution"
    if "dot" in inside:
        return "matrix product"
    for name in ("sort", "scatter", "select-and-scatter", "reduce-window", "gather"):
        if name in inside:
            return name
    if "reduce" in inside:
        return "reduction"
    if one.opcode == "fusion" and inside <= _MOVES:
        return "copy, transpose, convert"
    if "dynamic-update-slice" in inside or "dynamic-slice" in inside:
        return "slice, update"
    return "elementwise"


def _opcodes(module: Module, one: Instruction) -> set[str]:
    """The operations in an instruction, with those of nested fusions."""
    if one.opcode != "fusion":
        return {one.opcode}
    found: set[str] = set()
    for inner in module.computations[one.called[0]]:
        found |= _opcodes(module, inner)
    return found
