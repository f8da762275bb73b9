"""Every setting once: its default, which values are valid, what it decides, one line of help.

A config or a command line's text enters; a checked and frozen config leaves, or an InputError. It
knows values alone: no file, no data, no network.

`configs/base.py`, the check of a config, `--config.KEY=VALUE`, `--mode show`, docs/settings.md, and
whether a run may go on with another value all come from the rows of `rows.SETTINGS`.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from arm_jax.settings import mixture
from arm_jax.settings.rows import BACKBONE, SETTINGS, Setting
from arm_jax.settings.rows import DATA as DATA
from arm_jax.settings.rows import NETWORK as NETWORK
from arm_jax.settings.rows import NOTHING as NOTHING
from arm_jax.settings.rows import SCORES as SCORES
from arm_jax.settings.rows import TRAINING as TRAINING
from arm_jax.system.errors import InputError
from arm_jax.system.values import Choice, Explained, Kind, Mappings, Several, literal

BY_KEY = {setting.key: setting for setting in SETTINGS}


def add(key: str, default: Any, kind: Kind, decides: str, help: str) -> None:
    """Add a setting of one's own, in a file that is imported before the config is made."""
    BY_KEY[key] = Setting(key, default, kind, decides, help)


def defaults() -> ConfigDict:
    """Every setting at its default, in a locked config."""
    # `frozen` judges the types: a setting may take a word or a number.
    config = ConfigDict(type_safe=False)
    for setting in BY_KEY.values():
        section, _, name = setting.key.rpartition(".")
        if section and section not in config:
            config[section] = ConfigDict(type_safe=False)
        (config[section] if section else config)[name] = setting.default
    return config.lock()


def flat(config: ConfigDict) -> dict[str, Any]:
    """Dotted key -> plain value."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= {f"{name}.{key}": inner for key, inner in flat(value).items()}
        else:
            found[name] = value
    return found


def frozen(config: ConfigDict, changes: Mapping[str, Any] | None = None) -> FrozenConfigDict:
    """A complete, checked and immutable config; a frozen one without changes is returned as it is.

    Args:
      config: as from `configs/`, or flat with dotted keys.
      changes: dotted key -> value, instead of the config's.

    Raises:
      InputError: an unknown or missing key, a value that is not valid, or two that contradict.
    """
    if isinstance(config, FrozenConfigDict) and not changes:
        return config
    given = flat(config) | dict(changes or {})
    for key in given:
        find(key)
    missing = [key for key in BY_KEY if key not in given]
    if missing:
        raise InputError(
            f"the config has no {missing[0]}; begin it with base.get_config(), as configs/ do"
        )
    values = {key: valid(key, given[key]) for key in BY_KEY}
    _refuse_contradictions(values)
    config = defaults().unlock()
    config.update_from_flattened_dict(values)
    return FrozenConfigDict(config)


def find(key: str) -> Setting:
    """The row of a key. Raises InputError for an unknown one, with the nearest."""
    if key not in BY_KEY:
        raise InputError(f"--config.{key}: the config has no such key; {nearest(key)}")
    return BY_KEY[key]


def nearest(key: str) -> str:
    """Which key may be meant by one that there is not, to end a message with."""
    near = difflib.get_close_matches(key, BY_KEY, n=1)
    return f"did you mean {near[0]}?" if near else "--mode show lists them all"


def valid(key: str, value: Any) -> Any:
    """The value in its one form. Raises InputError for one that is not valid."""
    kind = find(key).kind
    try:
        return kind.valid(value)
    except Explained as error:
        raise InputError(f"{key}: {error}") from error
    except ValueError as error:
        raise refused(key, value) from error


def parsed(key: str, text: str) -> Any:
    """The value that a command line's text stands for. Raises InputError if it is not valid."""
    kind = find(key).kind
    try:
        return kind.parse(text)
    except Explained as error:
        raise InputError(f"{key}: {error}") from error
    except ValueError as error:
        raise refused(key, _as_typed(text)) from error


def refused(key: str, value: Any, allowed: Iterable[str] = ()) -> InputError:
    """The error for a value that is not valid.

    Args:
      key: of a setting.
      value: as it was given.
      allowed: the names that are, where a table has them.
    """
    kind = BY_KEY[key].kind
    words = Choice(tuple(allowed)).describe() if allowed else kind.describe()
    shown = f", as in {kind.example}" if isinstance(kind, Several | Mappings) else ""
    if allowed:
        shown = ", or what a file adds that --config names"
    return InputError(f"{key} = {value!r}; it must be {words}{shown}")


def overridden(config: ConfigDict, arguments: Sequence[str]) -> FrozenConfigDict:
    """The config with what the command line changes, checked.

    Args:
      config: as for `frozen`.
      arguments: of the form `--config.KEY=VALUE`. A later one counts, but a tuple that is given
        twice must be the same one.

    Raises:
      InputError: as `frozen`.
    """
    changes: dict[str, Any] = {}
    for argument in arguments:
        key, _, text = argument.lstrip("-").removeprefix("config.").partition("=")
        value = parsed(key, text)
        if isinstance(find(key).kind, Several) and changes.get(key, value) != value:
            raise InputError(
                f"--config.{key} is given twice, as {changes[key]} and as {value}; leave one out"
            )
        changes[key] = value
    return frozen(config, changes)


def _as_typed(text: str) -> Any:
    """What a message shows: 64 for a number, 'many' in quotes for what is none."""
    try:
        return literal(text)
    except ValueError:
        return text


def _refuse_contradictions(values: Mapping[str, Any]) -> None:
    """Raise InputError for numbers that are valid alone, but not together."""

    def refuse(key: str, reason: str) -> None:
        raise InputError(f"{key} = {values[key]!r} {reason}")

    low, high = values["augment.ratio"]
    if low > high:
        refuse("augment.ratio", "begins with the larger number; swap the two")
    if list(values["optimizer.drops"]) != sorted(values["optimizer.drops"]):
        refuse("optimizer.drops", "is not in order; sort it")
    if values["data.fold"] and values["data.fold"][0] >= values["data.fold"][1]:
        refuse("data.fold", "numbers a fold that there is none of; count from 0")
    if values["data.fold"] and values["data.fold"][1] == 1:
        refuse("data.fold", "leaves nothing to train on; choose 2 folds or more")
    for key, what in (("data.label_values", "stored value"), ("data.label_names", "name")):
        meant: dict[Any, Any] = {}
        for there, here in values[key]:
            if meant.setdefault(there, here) != here:
                refuse(key, f"gives the {what} {there!r} two meanings; keep one of them")
    _refuse_bands(values, refuse)
    if values["data.sources"]:
        mixture.refuse_contradictions(values)
    if values["review.folds"] == 1:
        refuse("review.folds", "leaves nothing to train on; choose 0, or 2 or more")
    weights = values["loss.class_weights"]
    if weights and weights != "balanced" and not any(weights):
        refuse("loss.class_weights", "leaves no class to train; give one that is above 0")
    frozen = values["model.freeze"]
    if frozen != BACKBONE[: len(frozen)]:
        refuse(
            "model.freeze",
            f"must be the first parts of {', '.join(BACKBONE)}, in this order and without a"
            " gap: gradients pass through every part behind one that is trained",
        )
    if frozen and not values["model.pretrained"]:
        refuse(
            "model.freeze",
            "would keep random weights as they are; set model.pretrained too",
        )
    if values["model.feature_cache"]:
        _refuse_changing_images(values, refuse)
    if values["optimizer.kind"] == "adamw":
        for key in ("optimizer.momentum", "optimizer.beta2"):
            if values[key] == 1:
                refuse(key, "remembers nothing but the past with adamw; choose less than 1")
    size, crop, stride = (values[f"evaluation.{name}"] for name in ("size", "crop", "stride"))
    if size and size[0] > size[1]:
        refuse("evaluation.size", "must be (short side, long side); swap the two numbers")
    if stride and not crop:
        refuse("evaluation.stride", "has no effect without evaluation.crop; set that too")
    if stride and any(step > side for step, side in zip(stride, crop, strict=True)):
        refuse(
            "evaluation.stride",
            f"is larger than evaluation.crop = {crop} and leaves gaps; choose a smaller one",
        )


def _refuse_bands(values: Mapping[str, Any], refuse: Callable[[str, str], None]) -> None:
    """Refuse means and deviations of another number of bands, and what is for RGB alone."""
    channels = values["data.channels"]
    number = (channels if isinstance(channels, int) else len(channels)) or 3
    for key in ("data.mean", "data.deviation"):
        if values[key] and len(values[key]) != number:
            refuse(key, f"are {len(values[key])} numbers for {number} bands; give one for each")
    if not channels:
        return
    if not isinstance(channels, int) and len(set(channels)) != len(channels):
        refuse("data.channels", "names a band twice; give each a name of its own")
    if not isinstance(channels, int) and any(name.isdecimal() for name in channels):
        refuse("data.channels", "holds no number of bands from 1 to 512, and no names of bands")
    for key in ("data.mean", "data.deviation"):
        if not values[key]:
            refuse(
                key,
                f"is of ImageNet's colours in bytes, but data.channels = {channels!r}; give"
                f" {number} number{'s' if number > 1 else ''}, which scripts/check_dataset.py"
                " --channels measures",
            )
    if values["data.dataset"] != "folders":
        refuse("data.channels", "is for data.dataset = 'folders'; use ()")
    if values["augment.jitter"]:
        refuse(
            "augment.jitter",
            f"changes colours in bytes, but data.channels = {channels!r}; it must be False",
        )


def _refuse_changing_images(values: Mapping[str, Any], refuse: Callable[[str, str], None]) -> None:
    """Refuse what would need the features of another image at every step."""
    if not values["model.freeze"]:
        refuse("model.feature_cache", "has no effect without model.freeze; set that too")
    if values["augment.ratio"] != (1.0, 1.0):
        refuse(
            "augment.ratio",
            "needs other features at every step; with model.feature_cache it must be (1, 1)",
        )
    if values["augment.jitter"]:
        refuse(
            "augment.jitter",
            "needs other features at every step; with model.feature_cache it must be False",
        )
    stride = values["model.output_stride"]
    if any(side % stride for side in values["augment.crop"]):
        refuse(
            "augment.crop",
            f"must be multiples of model.output_stride = {stride} with model.feature_cache, whose"
            " crops are parts of features",
        )
