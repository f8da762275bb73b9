"""The networks of the paper's experiments, made by name with `create`."""

from arm_jax.networks.interpolation import resize
from arm_jax.networks.segmenter import ARCHITECTURES, Segmenter, architecture, create, training

__all__ = ["ARCHITECTURES", "Segmenter", "architecture", "create", "resize", "training"]
