"""XLA's text of an optimised program, parsed: computations, instructions, shapes, source lines."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

BITS = {
    **{"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "s32": 32, "u32": 32},
    **{"s64": 64, "u64": 64, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128},
    **{"token": 0, "opaque": 0, "s2": 2, "u2": 2, "s1": 1, "u1": 1},
}
_SHAPE = re.compile(
    r"\b(pred|token|opaque|bf16|[su]\d+|c\d+|f\d+\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?"
)
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_CALLED = re.compile(
    r"(?:calls|body|condition|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r"known_trip_count\D+(\d+)")


@dataclass(frozen=True)
class Shape:
    """One array, as the compiler lays it out.

    Attributes:
      dtype: such as "bf16".
      dims: logical dimensions.
      minor_to_major: which dimension is innermost, next, ...
      tile: the last dimensions in memory order are padded to multiples of it (TPUs); () for none.
      space: memory space; 0 is the device's main memory.
    """

    dtype: str
    dims: tuple[int, ...]
    minor_to_major: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    space: int = 0

    @property
    def elements(self) -> int:
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """With the padding of its tiles."""
        dims = list(self.dims)
        if self.tile and self.minor_to_major:
            dims = [self.dims[i] for i in reversed(self.minor_to_major)]
            for axis, tile in zip(range(-len(self.tile), 0), self.tile, strict=True):
                if -axis <= len(dims):
                    dims[axis] = -(-dims[axis] // tile) * tile
        return -(-math.prod(dims) * bits(self.dtype) // 8)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


def bits(dtype: str) -> int:
    """Of one element.

    Raises ValueError for a type that this parser does not know.
    """
    if dtype in BITS:
        return BITS[dtype]
    if re.match(r"f8\w+$", dtype):
        return 8
    raise ValueError(f"the element type {dtype!r} is not known to hlo.BITS; add it there")


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      shapes: the arrays of its result; those of a tuple one after the other.
      operands: names of instructions of the same computation.
      literal: what stands between the parentheses.
      attributes: what follows them.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str
    root: bool

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it calls; of branches all."""
        found = _CALLED.findall(self.attributes)
        for group in _BRANCHES.findall(self.attributes):
            found += re.findall(r"%?([\w.\-]+)", group)
        return tuple(found)

    @property
    def target(self) -> str:
        """Of a custom call; "" for others."""
        found = re.search(r'custom_call_target="([^"]+)"', self.attributes)
        return found.group(1) if found else ""

    def named(self, role: str) -> str:
        """The computation that is called as `role`, such as "body" of a `while`."""
        found = re.search(rf"\b{role}=%?([\w.\-]+)", self.attributes)
        if not found:
            raise ValueError(f"{self.name}: {self.opcode} without {role}")
        return found.group(1)


@dataclass
class Computation:
    """Its instructions by name, in the order of the schedule."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    @property
    def root(self) -> Instruction:
        return next(one for one in self.instructions.values() if one.root)

    @cached_property
    def users(self) -> dict[str, list[Instruction]]:
        found: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for one in self.instructions.values():
            for operand in dict.fromkeys(one.operands):
                found[operand].append(one)
        return found

    def shapes(self, name: str) -> tuple[Shape, ...]:
        return self.instructions[name].shapes

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self.instructions.values())


@dataclass
class Module:
    """A program.

    Attributes:
      computations: by name.
      entry: the one that runs.
      frames: number -> (file, line, function, number of the caller's frame or 0).
    """

    computations: dict[str, Computation]
    entry: Computation
    frames: dict[int, tuple[str, int, str, int]]

    def trips(self, loop: Instruction) -> int | None:
        """How often a `while` runs: as the compiler notes it, or by a condition `i < constant`.

        The latter (TPUs) is for loops that count from 0 by 1, as all of `lax.scan` do. None where
        neither tells.
        """
        found = _TRIPS.search(loop.attributes)
        if found:
            return int(found.group(1))
        condition = self.computations[loop.named("condition")]
        root = condition.root
        if root.opcode == "fusion":
            condition = self.computations[root.named("calls")]
            root = condition.root
        limits = [condition.instructions[name] for name in root.operands]
        limits = [one for one in limits if one.opcode == "constant" and one.literal.isdigit()]
        if root.opcode == "compare" and "direction=LT" in root.attributes and len(limits) == 1:
            return int(limits[0].literal)
        return None

    def source(self, instruction: Instruction, package: str = "arm_jax", most: int = 3) -> str:
        """Where in the package's files an instruction comes from, the innermost first.

        Of callers in the same file only the innermost is named:
        "networks/winograd.py:107 < networks/layers.py:77 < networks/resnet.py:121". "" where the
        compiler kept no line of the package.
        """
        found: dict[str, int] = {}
        for path, line in self._stack(instruction):
            parts = Path(path).parts
            if package in parts and len(found) < most:
                last = len(parts) - 1 - parts[::-1].index(package)
                found.setdefault("/".join(parts[last + 1 :]), line)
        return " < ".join(f"{path}:{line}" for path, line in found.items())

    def _stack(self, instruction: Instruction) -> Iterator[tuple[str, int]]:
        frame = re.search(r"stack_frame_id=(\d+)", instruction.attributes)
        number = int(frame.group(1)) if frame else 0
        while number in self.frames:
            path, line, _, number = self.frames[number]
            yield path, line
        inline = re.search(r'source_file="([^"]+)" source_line=(\d+)', instruction.attributes)
        if inline and not frame:
            yield inline.group(1), int(inline.group(2))


def parse(text: str) -> Module:
    """The program of a text as in `*after_optimizations.txt` or `Compiled.as_text()`.

    Raises:
      ValueError: there is no entry computation in it.
    """
    computations: dict[str, Computation] = {}
    results: dict[tuple[str, str], str] = {}
    entry = current = None
    for line in text.splitlines():
        if current is None:
            head = _COMPUTATION.match(line)
            if head:
                current = computations[head.group(2)] = Computation(head.group(2))
                entry = current if head.group(1) else entry
        elif line.startswith("}"):
            current = None
        elif match := _INSTRUCTION.match(line):
            one = _instruction(*match.groups())
            results[current.name, one.name] = _result(match.group(3))[0]
            for operand in one.operands:
                _name_element(operand, current, results)
            current.instructions[one.name] = one
    if entry is None:
        raise ValueError("the text has no entry computation; it is no program of XLA")
    return Module(computations, entry, _frames(text))


def shapes(text: str) -> tuple[Shape, ...]:
    """All arrays in the text of a result."""
    return tuple(_shape(*groups) for groups in _SHAPE.findall(text))


def _shape(dtype: str, dims: str, layout: str) -> Shape:
    order, _, rest = layout.partition(":")
    tile = re.search(r"T\(([\d,*]+)\)", rest)
    space = re.search(r"S\((\d+)\)", rest)
    return Shape(
        dtype,
        _numbers(dims.replace("<=", "")),
        _numbers(order),
        _numbers(tile.group(1).replace("*", "1")) if tile else (),
        int(space.group(1)) if space else 0,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip())


def _instruction(root: str | None, name: str, rest: str) -> Instruction:
    result_text, rest = _result(rest)
    opcode, _, rest = rest.partition("(")
    end = _closing("(" + rest)
    literal, attributes = rest[: end - 2], rest[end - 1 :]
    operands = () if opcode == "constant" else tuple(re.findall(r"%([\w.\-#]+)", literal))
    return Instruction(name, opcode, shapes(result_text), operands, literal, attributes, bool(root))


def _result(rest: str) -> tuple[str, str]:
    """The text of an instruction's result, and what follows it."""
    end = _closing(rest) if rest.startswith("(") else rest.index(" ")
    return rest[:end], rest[end:].lstrip()


def _name_element(name: str, computation: Computation, results: dict[tuple[str, str], str]) -> None:
    """Add what XLA from jax 0.12 on writes as `%tuple#1` as the instruction that it was before."""
    tuple_name, mark, number = name.rpartition("#")
    if not mark or name in computation.instructions:
        return
    _name_element(tuple_name, computation, results)
    text = _elements(results[computation.name, tuple_name])[int(number)].strip()
    results[computation.name, name] = text
    computation.instructions[name] = Instruction(
        name,
        *("get-tuple-element", shapes(text), (tuple_name,), f"%{tuple_name}", f", index={number}"),
        root=False,
    )


def _elements(text: str) -> list[str]:
    """The parts of a tuple's text: "(f32[2,3]{1,0}, (s32[], s32[]))" has two."""
    found, depth = [""], 0
    for character in text[1:-1]:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            found.append("")
        else:
            found[-1] += character
    return found


def _closing(text: str) -> int:
    """The position behind the parenthesis that closes the one at the start."""
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match.group() == "(" else -1
        if depth == 0:
            return match.end()
    raise ValueError(f"a parenthesis is not closed: {text[:80]}")


def _frames(text: str) -> dict[int, tuple[str, int, str, int]]:
    """The table of stack frames that newer XLA prints before the computations."""
    files = _names(text, "FileNames")
    functions = _names(text, "FunctionNames")
    places = {}
    for number, values in _records(text, "FileLocations"):
        place = values["file_name_id"], values["line"], values["function_name_id"]
        places[number] = (files[place[0]], place[1], functions[place[2]])
    records = list(_records(text, "StackFrames"))
    # Printed one too high, so that a frame without a caller names number 1, itself if it is first.
    shift = int(any(values.get("parent_frame_id") == number for number, values in records))
    return {
        number: (*places[values["file_location_id"]], values.get("parent_frame_id", shift) - shift)
        for number, values in records
    }


def _section(text: str, title: str) -> str:
    found = re.search(rf"^{title}\n(.*?)(?:\n\n|\Z)", text, re.M | re.S)
    return found.group(1) if found else ""


def _names(text: str, title: str) -> dict[int, str]:
    lines = re.findall(r'^(\d+) "(.*)"$', _section(text, title), re.M)
    return {int(number): name for number, name in lines}


def _records(text: str, title: str) -> Iterator[tuple[int, dict[str, int]]]:
    for number, inside in re.findall(r"^(\d+) \{(.*)\}$", _section(text, title), re.M):
        yield int(number), {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", inside)}
