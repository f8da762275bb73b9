"""Generated street scenes with exact labels, drawn from (split, index, size) alone.

A split's name, a number and a size enter; an image and its label leave, the same bytes for the same
call. The package knows the classes of `labels.STREET_SCENES` and nothing of files, training or JAX.

generate  one scene; street is what stands in it, objects draws each thing, canvas is the camera
"""

from arm_jax.data.scenes.generate import generate

__all__ = ["generate"]
