"""One function for each operation of JAX that our networks have at test time."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from arm_jax.weights.onnx_graph.graph import (
    Graph,
    Operation,
    Shape,
    Unsupported,
    Value,
    is_number,
    known,
)

# Channels last, as here, to channels first, as there, and back.
_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def _value(aval: Any, held: str, actual: Shape | None = None) -> Value:
    shape = tuple(aval.shape)
    return Value(shape, np.dtype(aval.dtype), held, shape if actual is None else actual)


def _elementwise(operator: str) -> Operation:
    """Of any number of inputs that have one shape."""

    def operation(graph: Graph, inputs: Sequence[Value], _: Any, avals: Sequence[Any]):
        actual = _repeated([value.actual for value in inputs])
        return [_value(avals[0], graph.node(operator, *map(graph.part, inputs)), actual)]

    return operation


def _repeated(shapes: Sequence[Shape]) -> Shape:
    """What arrays of these shapes, equal but for lengths of 1, have together."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(
        next((length for length in axis if not (is_number(length) and length == 1)), 1)
        for axis in zip(*padded, strict=True)
    )


def _unchanged(_: Graph, inputs: Sequence[Value], __: Any, ___: Any) -> list[Value]:
    return list(inputs)


def _maximum(graph: Graph, inputs: Sequence[Value], _: Any, avals: Sequence[Any]) -> list[Value]:
    first, second = inputs
    if second.array is not None and not second.array.any() and first.actual == first.shape:
        return [_value(avals[0], graph.node("Relu", graph.part(first)))]
    return _elementwise("Max")(graph, inputs, _, avals)


def _rsqrt(graph: Graph, inputs: Sequence[Value], _: Any, avals: Sequence[Any]) -> list[Value]:
    root = graph.node("Sqrt", graph.part(inputs[0]))
    return [_value(avals[0], graph.node("Reciprocal", root), inputs[0].actual)]


def _power(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    exponent = graph.constant(parameters["y"], inputs[0].dtype)
    made = graph.node("Pow", graph.part(inputs[0]), exponent)
    return [_value(avals[0], made, inputs[0].actual)]


def _convert(graph: Graph, inputs: Sequence[Value], _: Any, avals: Sequence[Any]) -> list[Value]:
    made = graph.cast(graph.part(inputs[0]), avals[0].dtype)
    return [_value(avals[0], made, inputs[0].actual)]


def _select(graph: Graph, inputs: Sequence[Value], _: Any, avals: Sequence[Any]) -> list[Value]:
    if len(inputs) != 3:
        raise Unsupported("a choice among more than two")
    which, no, yes = map(graph.part, inputs)
    actual = _repeated([value.actual for value in inputs])
    return [_value(avals[0], graph.node("Where", which, yes, no), actual)]


def _reshape(graph: Graph, inputs: Sequence[Value], _: Any, avals: Sequence[Any]) -> list[Value]:
    """Also of `squeeze` and `expand_dims`: the new shape is all that there is to know."""
    made = _shaped(graph, graph.whole(inputs[0]), tuple(avals[0].shape))
    return [_value(avals[0], made)]


def _shaped(graph: Graph, tensor: str, shape: Shape) -> str:
    lengths = [length if is_number(length) else -1 for length in shape]
    if lengths.count(-1) > 1:
        raise Unsupported("an array with two axes that depend on the batch")
    return graph.node("Reshape", tensor, graph.constant(lengths, np.int64))


def _broadcast(
    graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Sequence[Any]
) -> list[Value]:
    """Only the axes are put in place: whoever needs the array itself repeats it."""
    value = inputs[0]
    actual = [1] * len(avals[0].shape)
    for axis, length in zip(parameters["broadcast_dimensions"], value.actual, strict=True):
        actual[axis] = length
    if value.array is not None:
        held: Any = value.array.reshape(actual)
    else:
        held = _shaped(graph, graph.part(value), tuple(actual))
    return [_value(avals[0], held, tuple(actual))]


def _transpose(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    made = graph.node("Transpose", graph.whole(inputs[0]), perm=parameters["permutation"])
    return [_value(avals[0], made)]


def _concatenate(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any):
    made = graph.node("Concat", *map(graph.whole, inputs), axis=parameters["dimension"])
    return [_value(avals[0], made)]


def _stack(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    axis = parameters["axis"]
    at = graph.constant([axis], np.int64)
    parts = [graph.node("Unsqueeze", graph.whole(value), at) for value in inputs]
    return [_value(avals[0], graph.node("Concat", *parts, axis=axis))]


def _split(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    sizes = graph.constant(parameters["sizes"], np.int64)
    whole = graph.whole(inputs[0])
    made = graph.nodes_of("Split", (whole, sizes), len(avals), axis=parameters["axis"])
    return [_value(aval, name) for aval, name in zip(avals, made, strict=True)]


def _slice(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    starts, limits = parameters["start_indices"], parameters["limit_indices"]
    steps = parameters["strides"] or (1,) * len(starts)
    ranges = {
        axis: bounds
        for axis, bounds in enumerate(zip(starts, limits, steps, strict=True))
        if bounds != (0, inputs[0].shape[axis], 1)
    }
    return [_value(avals[0], _cut(graph, graph.whole(inputs[0]), ranges))]


def _cut(graph: Graph, tensor: str, ranges: dict[int, tuple[int, int, int]]) -> str:
    """Axes to (start, end, step); the others whole."""
    if not ranges:
        return tensor
    if not all(is_number(bound) for bounds in ranges.values() for bound in bounds):
        raise Unsupported("a part of the batch")
    starts, ends, steps = (
        graph.constant(column, np.int64) for column in zip(*ranges.values(), strict=True)
    )
    return graph.node("Slice", tensor, starts, ends, graph.constant([*ranges], np.int64), steps)


def _pad(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    before, after, between = zip(*parameters["padding_config"], strict=True)
    if any(between):
        raise Unsupported("padding between values")
    pads = graph.constant([*before, *after], np.int64)
    made = graph.node("Pad", graph.whole(inputs[0]), pads, graph.whole(inputs[1]))
    return [_value(avals[0], made)]


def _gather(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    """Whole ranges of axes, or rows, columns and so on by a list each: what indexing makes."""
    value, index = inputs
    numbers, sizes = parameters["dimension_numbers"], parameters["slice_sizes"]
    axes = tuple(numbers.start_index_map)
    if index.array is None:
        raise Unsupported("an index that depends on the image")
    if numbers.operand_batching_dims:
        raise Unsupported("an index for each image of the batch")
    places = np.broadcast_to(index.array, index.shape)
    for number, axis in enumerate(axes):
        last = value.shape[axis] - sizes[axis]
        if not is_number(last) or places[..., number].min() < 0 or places[..., number].max() > last:
            raise Unsupported("an index beyond the edge")
    tensor = graph.whole(value)
    if places.ndim == 1:  # one place: what lies there, with axes of length 1 left out or not
        starts = dict(zip(axes, places.tolist(), strict=True))
        ranges = {axis: (start, start + sizes[axis], 1) for axis, start in starts.items()}
        tensor = _cut(graph, tensor, ranges)
        return [_value(avals[0], _shaped(graph, tensor, tuple(avals[0].shape)))]
    # The gathered axes stay in their places, each with a list of its own.
    stays = tuple(sorted(set(range(len(value.shape))) - set(axes)))
    grid = places.ndim == len(axes) + 1 and axes == tuple(sorted(axes))
    whole = all(sizes[axis] == value.shape[axis] for axis in stays)
    collapsed = tuple(numbers.collapsed_slice_dims) == axes
    if not (grid and whole and collapsed and tuple(numbers.offset_dims) == stays):
        raise Unsupported("an index of another kind than rows and columns")
    for number, axis in enumerate(axes):
        along = np.moveaxis(places[..., number], number, 0).reshape(places.shape[number], -1)
        if (along != along[:, :1]).any():
            raise Unsupported("an index of single pixels")
        tensor = graph.node("Gather", tensor, graph.constant(along[:, 0], np.int64), axis=axis)
    return [_value(avals[0], tensor)]


def _reduction(operator: str) -> Operation:
    def operation(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any):
        axes = graph.constant(parameters["axes"], np.int64)
        return [_value(avals[0], graph.node(operator, graph.whole(inputs[0]), axes, keepdims=0))]

    return operation


def _argmax(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    (axis,) = parameters["axes"]
    best = graph.node("ArgMax", graph.whole(inputs[0]), axis=axis, keepdims=0)
    return [_value(avals[0], graph.cast(best, avals[0].dtype))]


def _dot(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any) -> list[Value]:
    (left, right), (left_batch, right_batch) = parameters["dimension_numbers"]
    tensors = [graph.whole(value) for value in inputs]
    ranks = [len(value.shape) for value in inputs]
    if ranks == [2, 2] and (tuple(left), tuple(right)) == ((1,), (0,)):
        return [_value(avals[0], graph.node("MatMul", *tensors))]
    letters = iter(string.ascii_lowercase)
    ours: list[list[str]] = [[next(letters) for _ in range(rank)] for rank in ranks]
    for one, other in zip((*left, *left_batch), (*right, *right_batch), strict=True):
        ours[1][other] = ours[0][one]
    out = [ours[0][axis] for axis in left_batch]
    for names, used in zip(ours, ((*left, *left_batch), (*right, *right_batch)), strict=True):
        out += [name for axis, name in enumerate(names) if axis not in used]
    equation = f"{''.join(ours[0])},{''.join(ours[1])}->{''.join(out)}"
    return [_value(avals[0], graph.node("Einsum", *tensors, equation=equation))]


def _convolution(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any):
    if parameters["batch_group_count"] != 1 or set(parameters["lhs_dilation"]) != {1}:
        raise Unsupported("a transposed convolution")
    numbers = parameters["dimension_numbers"]
    kernel = inputs[1].array
    if kernel is None:
        raise Unsupported("a convolution with a kernel that depends on the image")
    before, after = zip(*parameters["padding"], strict=True)
    made = graph.node(
        "Conv",
        graph.node("Transpose", graph.whole(inputs[0]), perm=numbers.lhs_spec),
        graph.constant(np.transpose(np.broadcast_to(kernel, inputs[1].shape), numbers.rhs_spec)),
        strides=parameters["window_strides"],
        dilations=parameters["rhs_dilation"],
        pads=(*before, *after),
        group=parameters["feature_group_count"],
    )
    back = np.argsort(numbers.out_spec).tolist()
    return [_value(avals[0], graph.node("Transpose", made, perm=back))]


def _pooled(graph: Graph, value: Value, parameters: Any, operator: str, **attributes: Any) -> str:
    window, steps = parameters["window_dimensions"], parameters["window_strides"]
    before, after = zip(*parameters["padding"], strict=True)
    others = [(window[axis], steps[axis], before[axis], after[axis]) for axis in (0, -1)]
    dilations = {*parameters["base_dilation"], *parameters["window_dilation"]}
    if len(window) != 4 or set(others) != {(1, 1, 0, 0)} or dilations != {1}:
        raise Unsupported("windows over other axes than height and width")
    made = graph.node(
        operator,
        graph.node("Transpose", graph.whole(value), perm=_TO_CHANNELS_FIRST),
        kernel_shape=window[1:3],
        strides=steps[1:3],
        pads=(*before[1:3], *after[1:3]),
        **attributes,
    )
    return graph.node("Transpose", made, perm=_TO_CHANNELS_LAST)


def _window_max(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any):
    return [_value(avals[0], _pooled(graph, inputs[0], parameters, "MaxPool"))]


def _window_sum(graph: Graph, inputs: Sequence[Value], parameters: Any, avals: Any):
    mean = _pooled(graph, inputs[0], parameters, "AveragePool", count_include_pad=1)
    pixels = graph.constant(np.prod(parameters["window_dimensions"]), inputs[0].dtype)
    return [_value(avals[0], graph.node("Mul", mean, pixels))]


def _iota(_: Graph, __: Any, parameters: Any, avals: Sequence[Any]) -> list[Value]:
    length = parameters["shape"][parameters["dimension"]]
    if not is_number(length):
        raise Unsupported("numbers along the batch")
    shape = [1] * len(parameters["shape"])
    shape[parameters["dimension"]] = length
    counted = known(np.arange(length, dtype=parameters["dtype"]).reshape(shape))
    return [Value(tuple(avals[0].shape), counted.dtype, counted.held, counted.actual)]


OPERATIONS: dict[str, Operation] = {
    "add": _elementwise("Add"),
    "sub": _elementwise("Sub"),
    "mul": _elementwise("Mul"),
    "div": _elementwise("Div"),
    "min": _elementwise("Min"),
    "max": _maximum,
    "exp": _elementwise("Exp"),
    "log": _elementwise("Log"),
    "neg": _elementwise("Neg"),
    "sqrt": _elementwise("Sqrt"),
    "rsqrt": _rsqrt,
    "integer_pow": _power,
    "tanh": _elementwise("Tanh"),
    "logistic": _elementwise("Sigmoid"),
    "erf": _elementwise("Erf"),
    "lt": _elementwise("Less"),
    "gt": _elementwise("Greater"),
    "eq": _elementwise("Equal"),
    "and": _elementwise("And"),
    "select_n": _select,
    "convert_element_type": _convert,
    "stop_gradient": _unchanged,
    "copy": _unchanged,
    "optimization_barrier": _unchanged,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "slice": _slice,
    "pad": _pad,
    "gather": _gather,
    "iota": _iota,
    "reduce_sum": _reduction("ReduceSum"),
    "reduce_max": _reduction("ReduceMax"),
    "argmax": _argmax,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _window_max,
    "reduce_window_sum": _window_sum,
}
