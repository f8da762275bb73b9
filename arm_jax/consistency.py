"""Settings whose names are those of tables, and which go together."""

from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from arm_jax import losses, networks, settings, weightings
from arm_jax.data import coarsen, sources
from arm_jax.evaluation import protocol as protocols
from arm_jax.system.errors import InputError

# The settings that name an entry of a table, and the names that there are.
TABLES: dict[str, Iterable[str]] = {
    "data.dataset": sources.DATASETS,
    "data.coarsen": ("", *coarsen.PRESETS),
    "model.name": networks.ARCHITECTURES,
    "arm.kind": weightings.WEIGHTINGS,
    "loss.kind": losses.LOSSES,
    "evaluation.tta": protocols.TTA,
}


def checked(config: ConfigDict, changes: Mapping[str, Any] | None = None) -> FrozenConfigDict:
    """`settings.frozen`, with the names that tables have checked as well."""
    config = settings.frozen(config, changes)
    flat = settings.flat(config)
    for key, names in TABLES.items():
        if flat[key] not in names:
            raise InputError(
                f"{settings.refused(key, flat[key], names)}; one of your own is known once --config"
                " names the file that adds it"
            )
    networks.architecture(config.model.name, config.model.variant or None)
    _refuse_contradictions(config)
    return config


def _refuse_contradictions(config: FrozenConfigDict) -> None:
    """Raise InputError for entries of tables that do not go together."""
    loss = losses.LOSSES[config.loss.kind]
    if config.arm.input == "s" and "log_s" not in loss.channels:
        raise InputError(
            f"arm.input = 's' is what the KL loss predicts, but loss.kind = {config.loss.kind!r};"
            " use loss.kind = 'kl' or another input"
        )
    if not loss.reweighted and config.arm.kind != "none":
        raise InputError(
            f"loss.kind = {config.loss.kind!r} chooses pixels itself, but arm.kind ="
            f" {config.arm.kind!r}; use arm.kind = 'none'"
        )
    _refuse_targets(config, loss)
    if not loss.signals and config.arm.signal != "loss":
        able = ", ".join(name for name, entry in losses.LOSSES.items() if entry.signals)
        raise InputError(
            f"arm.signal = {config.arm.signal!r} is made for loss.kind = {able}, but that is"
            f" {config.loss.kind!r}; use arm.signal = 'loss'"
        )


def _refuse_targets(config: FrozenConfigDict, loss: losses.Loss) -> None:
    """Raise InputError for targets that lack their teacher, or a loss that cannot use them."""
    targets, kind = config.targets, config.loss.kind
    soft = {"targets.correct": targets.correct, "targets.complete": targets.complete}
    for key, value in soft.items():
        if value != "none" and not targets.average:
            raise InputError(
                f"{key} = {value!r} asks a teacher; set targets.average too, such as 0.05"
            )
    of_a_teacher = {
        "targets.near_rule": (targets.near_rule, "fixed"),
        "targets.adjust": (targets.adjust, 0.0),
        "targets.renew": (targets.renew, 0.0),
    }
    for key, (value, usual) in of_a_teacher.items():
        if value != usual and not targets.average:
            raise InputError(
                f"{key} = {value!r} is about a teacher, and targets.average = 0 keeps none; set"
                f" that too, such as 0.05, or use {key} = {usual!r}"
            )
    if targets.near_rule != "fixed" and not targets.near:
        raise InputError(
            f"targets.near_rule = {targets.near_rule!r} counts pixels near an edge, and"
            " targets.near = 0 leaves none; use more, such as 6, or targets.near_rule = 'fixed'"
        )
    if config.evaluation.weights == "teacher" and not targets.average:
        raise InputError(
            "evaluation.weights = 'teacher', but the run keeps none; train with targets.average,"
            " such as 0.05, or use evaluation.weights = 'student'"
        )
    if not loss.reweighted and (targets.edge_weight or any(v != "none" for v in soft.values())):
        raise InputError(
            f"loss.kind = {kind!r} chooses pixels itself; use targets.correct = 'none',"
            " targets.complete = 'none' and targets.edge_weight = 0"
        )
    for key, value in soft.items():
        if kind != "ce" and (value == "soft" or (key, value) == ("targets.correct", "posterior")):
            others = "'drop' or 'class'" if key == "targets.correct" else "'class'"
            raise InputError(
                f"{key} = {value!r} is a distribution, which loss.kind = {kind!r} cannot learn; use"
                f" loss.kind = 'ce', or {key} = {others}"
            )
