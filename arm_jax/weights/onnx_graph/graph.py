"""Values and operators of an ONNX graph, and the walk through a program of JAX that makes them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from arm_jax.system.errors import InputError

Shape = tuple[Any, ...]  # of whole numbers and, where they depend on the batch, symbols

# Programs within the program, by the parameters that hold them.
_INNER = ("call_jaxpr", "fun_jaxpr", "jaxpr")


@dataclasses.dataclass(frozen=True)
class Value:
    """What a variable of the program stands for.

    Attributes:
      shape: of the variable.
      dtype: of the variable.
      held: an array that is known now, or the name of a tensor of the graph.
      actual: the shape of what is held: that of the variable, or 1 where it is still to be
        repeated. Most operators do that by themselves.
    """

    shape: Shape
    dtype: np.dtype
    held: np.ndarray | str
    actual: Shape

    @property
    def array(self) -> np.ndarray | None:
        """What is held, if it is known now."""
        return self.held if isinstance(self.held, np.ndarray) else None


def known(array: Any) -> Value:
    array = np.asarray(array)
    return Value(array.shape, array.dtype, array, array.shape)


class Graph:
    """The operators of a graph, in order.

    Args:
      batch: the length that the program has a symbol for.
      batch_of: the name of a tensor whose first axis has that length.
    """

    def __init__(self, batch: Any, batch_of: str):
        from onnx import helper, numpy_helper

        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._helper, self._numpy_helper = helper, numpy_helper
        self._symbol, self._batch_of = batch, batch_of
        self._batch = ""
        self._small: dict[tuple[str, Shape, bytes], str] = {}

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator, and return the name of what it gives."""
        return self.nodes_of(operator, inputs, 1, **attributes)[0]

    def nodes_of(
        self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Add an operator, and return the names of all that it gives."""
        names = [f"{operator}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(
            self._helper.make_node(operator, inputs, names, name=names[0], **attributes)
        )
        return names

    def constant(self, array: Any, dtype: Any = None) -> str:
        """The name of a tensor that holds an array."""
        array = np.ascontiguousarray(np.asarray(array, dtype))
        key = (str(array.dtype), array.shape, array.tobytes() if array.nbytes <= 64 else b"")
        if array.nbytes <= 64 and key in self._small:
            return self._small[key]
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._numpy_helper.from_array(array, name))
        self._small[key] = name
        return name

    def part(self, value: Value) -> str:
        """The tensor of what is held, for operators that repeat axes of length 1 themselves."""
        return value.held if isinstance(value.held, str) else self.constant(value.held)

    def whole(self, value: Value) -> str:
        """The tensor in the variable's own shape."""
        if value.actual == value.shape:
            return self.part(value)
        return self.node("Expand", self.part(value), self._sizes(value.shape))

    def _sizes(self, shape: Shape) -> str:
        """An int64 tensor of a shape, which may depend on the batch."""
        if all(map(is_number, shape)):
            return self.constant(shape, np.int64)
        if not self._batch:
            self._batch = self.node("Shape", self._batch_of, start=0, end=1)
        lengths = []
        for length in shape:
            if is_number(length):
                lengths.append(self.constant([length], np.int64))
            else:
                factor, rest = divmod(length, self._symbol)
                if not (is_number(factor) and is_number(rest) and rest == 0):
                    raise Unsupported(f"an array of length {length}")
                lengths.append(self.node("Mul", self._batch, self.constant([factor], np.int64)))
        return self.node("Concat", *lengths, axis=0)

    def cast(self, tensor: str, dtype: Any) -> str:
        return self.node("Cast", tensor, to=self.type_of(dtype))

    def type_of(self, dtype: Any) -> int:
        """ONNX's number of a dtype of NumPy."""
        return self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def is_number(length: Any) -> bool:
    return isinstance(length, int | np.integer)


class Unsupported(Exception):
    """What the graph cannot express; the message names it."""


# The operation, its inputs, its parameters and the variables it sets -> what these stand for.
Operation = Callable[..., list[Value]]


def converted(
    program: Any, graph: Graph, inputs: Sequence[str], operations: Mapping[str, Operation]
) -> list[str]:
    """Add a program's operators to a graph.

    What depends on no input is computed now.

    Args:
      program: a closed jaxpr, whose shapes may hold one symbol, the batch.
      graph: to add to.
      inputs: names of the tensors that the program reads.
      operations: the name of a primitive -> function(graph, inputs, parameters, out_avals).

    Returns:
      Names of the tensors that it gives.

    Raises:
      InputError: the program has an operation that cannot be expressed.
    """
    values = [
        Value(tuple(v.aval.shape), np.dtype(v.aval.dtype), name, tuple(v.aval.shape))
        for v, name in zip(program.jaxpr.invars, inputs, strict=True)
    ]
    try:
        found = _walk(graph, operations, program.jaxpr, program.consts, values)
    except Unsupported as error:
        raise InputError(
            f"the network cannot be exported to ONNX, for it has {error}, which has no counterpart"
            " here; export it as .stablehlo"
        ) from None
    return [graph.whole(value) for value in found]


def _walk(
    graph: Graph,
    operations: Mapping[str, Operation],
    jaxpr: Any,
    constants: Sequence[Any],
    inputs: Sequence[Value],
) -> list[Value]:
    values = dict(zip(jaxpr.constvars, map(known, constants), strict=True))
    values |= zip(jaxpr.invars, inputs, strict=True)

    def read(atom: Any) -> Value:
        return known(atom.val) if isinstance(atom, core.Literal) else values[atom]

    def inside(program: Any, found: Sequence[Value]) -> list[Value]:
        inner = getattr(program, "jaxpr", program)
        return _walk(graph, operations, inner, getattr(program, "consts", ()), found)

    for equation in jaxpr.eqns:
        found = [read(atom) for atom in equation.invars]
        name, parameters = equation.primitive.name, equation.params
        avals = [variable.aval for variable in equation.outvars]
        inner = next((parameters[key] for key in _INNER if key in parameters), None)
        if name == "platform_index":
            # The form of platforms without a row of their own, which comes last.
            made = [known(np.int32(parameters["platforms"].index(None)))]
        elif name == "cond":
            if found[0].array is None:
                raise Unsupported("a branch that depends on the image")
            made = inside(parameters["branches"][int(found[0].array)], found[1:])
        elif inner is not None:
            made = inside(inner, found)
        elif _is_known(found, avals):
            made = _computed(equation, found)
        elif name in operations:
            made = operations[name](graph, found, parameters, avals)
        else:
            raise Unsupported(f"the operation {name!r}")
        values |= zip(equation.outvars, made, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _is_known(found: Sequence[Value], avals: Sequence[Any]) -> bool:
    lengths = [n for value in (*found, *avals) for n in value.shape]
    return all(value.array is not None for value in found) and all(map(is_number, lengths))


def _computed(equation: Any, found: Sequence[Value]) -> list[Value]:
    arrays = [np.broadcast_to(value.held, value.shape) for value in found]
    with jax.ensure_compile_time_eval():
        results = equation.primitive.bind(*map(jax.numpy.asarray, arrays), **equation.params)
    results = results if equation.primitive.multiple_results else [results]
    return [known(np.asarray(result)) for result in results]
