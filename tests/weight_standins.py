"""Small networks, weight files for them, and the one line that refuses a file."""

import jax
import numpy as np
import refusals
from goldens import fill
from tiny import least

from arm_jax.weights import pretrained, weight_names


def tiny(name="deeplabv3plus_resnet50", classes=5, **options):
    return least(name, classes, **options)


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
    found = refusals.refusal(pretrained.load, model, source)
    jax.tree.map(np.testing.assert_array_equal, values(model), before)
    return found
