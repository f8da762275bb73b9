"""The networks of the paper's experiments, made by name with `create`."""

from arm_jax.networks.interpolation import resize
from arm_jax.networks.segmenter import ARCHITECTURES, Segmenter, create, training

__all__ = ["ARCHITECTURES", "Segmenter", "create", "resize", "training"]
