"""Small networks, weight files for them, and the one line that refuses a file."""

import jax
import numpy as np
import pytest
from flax import nnx
from goldens import fill
from tiny import LEAST, sizes

from arm_jax import networks
from arm_jax.system.errors import InputError
from arm_jax.weights import pretrained, weight_names


def tiny(name="deeplabv3plus_resnet50", classes=5, **options):
    return networks.create(
        name, classes, **{"rngs": nnx.Rngs(0), **sizes(name, **LEAST), **options}
    )


def as_mmsegmentation(model, change=()):
    """What mmsegmentation would store of the model's shapes, filled by the rule."""
    names = weight_names.foreign_names(model, "mmsegmentation")
    variables = weight_names.variables(model)
    state = {}
    for our, key in names.items():
        shape = weight_names.shape_there(variables[our].shape, "mmsegmentation")
        state[key] = fill.tensor(key, shape)
    return {**state, **dict(change)}


def values(model):
    variables = weight_names.variables(model)
    return {name: np.asarray(variable[...]) for name, variable in variables.items()}


def refusal(model, source):
    """The one line that refuses the source; the model must be untouched."""
    before = values(model)
    with pytest.raises(InputError) as error:
        pretrained.load(model, source)
    jax.tree.map(np.testing.assert_array_equal, values(model), before)
    assert "\n" not in str(error.value)
    return str(error.value)
