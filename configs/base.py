"""The paper's values (Sec. 4.2) of every setting, and what the rows of its tables change.

docs/settings.md lists the settings; `arm_jax/settings/rows.py` has them. Other configs begin with
this one and change what they need. Pass single values on the command line:
`--config.batch_size=8 --config.arm.p=3`.
"""

import difflib
from typing import Any

from ml_collections import ConfigDict

from arm_jax import settings


def get_config(argument: str | None = None) -> ConfigDict:
    """The whole config, locked: an unknown key is an error. `argument`: see `apply_rows`."""
    return apply_rows(settings.defaults(), argument)


def apply_rows(config: ConfigDict, argument: str | None, rows: dict | None = None) -> ConfigDict:
    """Apply the comma-separated rows named after the config file's colon.

    Args:
      config: a complete config; changed in place.
      argument: e.g. None, "smoke", "linear" or "linear,smoke".
      rows: name -> {dotted key: value}, what each row of a table changes.

    Raises:
      ValueError: for an unknown row, with the nearest and all others; for one of which nothing is
        left, since later ones change the same. `smoke` may undo any.
    """
    rows = {**ROWS, "smoke": SMOKE, **(rows or {})}
    names = [name for name in (argument or "").split(",") if name]
    for name in names:
        if name not in rows:
            near = difflib.get_close_matches(name.strip().lower(), rows, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"no row {name!r} in this config; {hint}there are {', '.join(rows)}")
        config.update_from_flattened_dict(rows[name])
    for place, name in enumerate(names):
        later = {key: other for other in names[place + 1 :] for key in rows[other]}
        undone = [key for key, value in rows[name].items() if _other(later, key, value, rows)]
        if undone and len(undone) == len(rows[name]) and "smoke" not in later.values():
            raise ValueError(
                f"row {name!r} has no effect before {later[undone[0]]!r}, which changes"
                f" {undone[0]} as well; leave one of them out"
            )
    return config


def _other(later: dict[str, str], key: str, value: Any, rows: dict) -> bool:
    """Whether a later row gives the key another value."""
    return key in later and rows[later[key]][key] != value


# Labels left out where a teacher contradicts them, completed by it, and weighed at their edges.
RECIPE = {
    "targets.average": 0.05,
    "targets.correct": "drop",
    "targets.near_rule": "contradictions",
    "targets.adjust": 0.15,
    "targets.complete": "class",
    "targets.edge_weight": 8.0,
    "targets.edges": "margins",
    "evaluation.weights": "teacher",
}

# What the rows of the paper's tables change, and rows past the paper. They may be combined.
ROWS = {
    "base": {"arm.kind": "none"},
    "arm": {"arm.kind": "learned"},
    # Table 1
    "linear": {"arm.kind": "linear"},
    "linear_focusing": {"arm.kind": "linear", "arm.slope": 0.5},
    "linear_no_detach": {"arm.kind": "linear", "arm.detach": False},
    # Table 2
    "norm1": {"arm.p": 1.0},
    "norm2": {"arm.p": 2.0},
    "norm3": {"arm.p": 3.0},
    "var": {"arm.input": "var"},
    "std": {"arm.input": "std"},
    "log_var": {"arm.input": "log_var"},
    "entropy": {"arm.input": "entropy"},
    # Table 3
    "resnet50": {"model.name": "deeplabv3plus_resnet50"},
    "resnet101": {"model.name": "deeplabv3plus_resnet101"},
    "ocr": {"model.name": "ocr_resnet101"},
    # Table 4
    "kl": {"loss.kind": "kl", "arm.kind": "none"},
    "kl_arm": {"loss.kind": "kl", "arm.input": "s"},
    "gce": {"loss.kind": "gce", "arm.kind": "none"},
    "gce_arm": {"loss.kind": "gce"},
    # Table 5
    "ohem": {"loss.kind": "ohem", "arm.kind": "none"},
    # Table 6: the test-time augmentation of the paper's [35]
    "tta": {"evaluation.tta": "ocr"},
    # Past the paper
    "arm_no_detach": {"arm.detach": False},
    "closed_form": {"arm.kind": "closed_form"},
    "monotone": {"arm.kind": "monotone"},
    "trimmed_signal": {"arm.signal": "trimmed"},
    "gce_signal": {"arm.signal": "gce"},
    "image_norms": {"arm.scope": "image"},
    "device_norms": {"arm.scope": "device"},
    "matched": {"arm.match_loss": True},
    "teacher": {"targets.average": 0.05, "evaluation.weights": "teacher"},
    "edges": {"targets.edge_weight": 8.0},
    "recipe": {**RECIPE, "arm.kind": "none"},
    "completed": {**RECIPE, "arm.kind": "none", "targets.correct": "none"},
    "recipe_class": {**RECIPE, "arm.kind": "none", "targets.correct": "class"},
    "recipe_soft": {
        **RECIPE,
        "arm.kind": "none",
        "targets.correct": "soft",
        "targets.complete": "soft",
    },
    "recipe_posterior": {
        **RECIPE,
        "arm.kind": "none",
        "targets.correct": "posterior",
        "targets.complete": "posterior",
    },
    "recipe_linear": {**RECIPE, "arm.kind": "linear", "arm.match_loss": True},
    "recipe_arm": {**RECIPE, "arm.match_loss": True},
}

# The whole job in seconds on a CPU: two steps of a small network on scenes drawn while training.
SMOKE = {
    "steps": 2,
    "batch_size": 8,
    "data.dataset": "scenes",
    "data.root": "",
    "data.eval_root": "",
    "data.sources": (),
    "data.classes": (),
    "data.label_values": (),
    "data.size": (64, 128),
    "data.train_split": "train",
    "data.train_images": 16,
    "data.eval_split": "val",
    "data.eval_images": 8,
    "data.coarsen": "",
    "augment.crop": (64, 64),
    "augment.base_size": (),
    "input.workers": 0,
    "log_images": False,
    "model.name": "deeplabv3plus_resnet18",
    "model.variant": "",
    "model.output_stride": 16,
    "model.dtype": "float32",
    "model.pretrained": "",
    "model.freeze": (),
    "model.feature_cache": False,
    "evaluation.size": (),
    "evaluation.crop": (),
    "evaluation.multiple": 0,
    "log_every": 1,
    "eval_every": 2,
    "save_every": 1,
}
