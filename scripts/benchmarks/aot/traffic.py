"""Bytes of the device's main memory that one kernel of a compiled program reads and writes.

An upper bound by the text alone: an operand counts whole and once, whatever stays in caches, but
for what provably is not touched: a slice counts what it takes, an update in place what it writes.
Arrays in another memory (a TPU's vector memory) count nothing, and arrays of TPUs count their
padding.
"""

from collections.abc import Iterable

from aot.hlo import Computation, Instruction, Module, Shape

MAIN_MEMORY = 0
# Instructions that name or rename arrays.
FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all"),
    *("partition-id", "replica-id", "opt-barrier"),
}
FREE_TARGETS = ("AllocateBuffer", "ConcatBitcast")  # of a TPU's custom calls
_RENAMING = ("bitcast", "reshape")
_TAKING = ("slice", "dynamic-slice", "gather")


def is_free(one: Instruction) -> bool:
    """Whether an instruction does no work on the device."""
    return (
        one.opcode in FREE
        or one.opcode.endswith(("-done", "-update"))
        or one.target in FREE_TARGETS
    )


def kernel_bytes(module: Module, computation: Computation, one: Instruction) -> int:
    """What instruction `one` of a computation reads and writes when it runs once.

    Not for those that call whole computations (`while`, `call`, `conditional`): `kernels.walk`
    looks into them.
    """
    if is_free(one):
        return 0
    operands = [computation.shapes(name) for name in dict.fromkeys(one.operands)]
    whole = _total(_results(one)) + sum(_total(shapes) for shapes in operands)
    if one.opcode == "fusion":
        fused = module.computations[one.called[0]]
        read = sum(_read(fused, p) for p in fused if p.opcode == "parameter")
        return min(whole, read + _written(fused))
    if one.opcode in _TAKING:
        indices = sum(_total(shapes) for shapes in operands[1:])
        return min(whole, 2 * _total(one.shapes) + indices)
    if one.opcode == "dynamic-update-slice":
        return min(whole, 2 * _total(computation.shapes(one.operands[1])))
    if one.opcode in ("copy-start", "slice-start"):
        # The result repeats the operands beside the copy.
        source, copy = (one.shapes[1], one.shapes[0]) if len(one.shapes) > 1 else one.shapes * 2
        moved = min(source.bytes, copy.bytes)
        return moved * ((source.space == MAIN_MEMORY) + (copy.space == MAIN_MEMORY))
    return whole


def _results(one: Instruction) -> Iterable[Shape]:
    """The arrays that an instruction writes, without a library call's scratch memory."""
    if one.opcode != "custom-call" or len(one.shapes) == 1:
        return one.shapes
    return [s for s in one.shapes if not (s.dtype in ("u8", "s8") and len(s.dims) == 1)]


def _total(shapes: Iterable[Shape]) -> int:
    return sum(shape.bytes for shape in shapes if shape.space == MAIN_MEMORY)


def _read(fused: Computation, array: Instruction) -> int:
    """What a fusion reads of one of its parameters."""
    whole = _total(array.shapes)
    total = 0
    for user in fused.users[array.name]:
        if user.opcode in _TAKING and user.operands[0] == array.name:
            total += _in_main_memory(array, user.shapes)
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == array.name:
            continue
        elif user.opcode in _RENAMING:
            total += _read(fused, user)
        else:
            return whole
    return min(total, whole)


def _in_main_memory(array: Instruction, shapes: Iterable[Shape]) -> int:
    """The bytes of shapes inside a fusion, whose layouts name no memory, taken from `array`."""
    if not any(shape.space == MAIN_MEMORY for shape in array.shapes):
        return 0
    return sum(shape.bytes for shape in shapes)


def _written(fused: Computation) -> int:
    root = fused.root
    outputs = [root]
    if root.opcode == "tuple":
        outputs = [fused.instructions[name] for name in root.operands]
    total = 0
    for output in outputs:
        inner = output
        while inner.opcode in _RENAMING:
            inner = fused.instructions[inner.operands[0]]
        if inner.opcode == "dynamic-update-slice":
            update = fused.instructions[inner.operands[1]]
            total += _in_main_memory(output, update.shapes)
        else:
            total += _total(output.shapes)
    return total
