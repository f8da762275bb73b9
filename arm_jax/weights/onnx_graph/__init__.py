"""A program of JAX as a graph of ONNX operators.

The converters that exist ask for other packages than ours, or write another network than they were
given without a word. What our networks compute at test time is three dozen operations; each has its
line here, and whatever has none is refused.

    graph        values, operators, and a program in them
    operations   one function for each operation of JAX
"""

from arm_jax.weights.onnx_graph.graph import Graph, converted

__all__ = ["Graph", "converted"]
