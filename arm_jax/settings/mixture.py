"""The sources of `data.sources`: their shares, names, and what does not go together."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from arm_jax.system.errors import InputError

KEY = "data.sources"
# The other keys are settings of the section.
OWN = ("name", "share", "weigh", "correct", "complete", "labelled")
_DENOMINATOR = 10_000
_LONGEST = 100_000  # examples after which an order repeats


def shares(values: Sequence[float]) -> list[Fraction]:
    """The fractions that are meant: 0.25 is 1/4, and 0.333333 is 1/3.

    Raises InputError where their sum is not 1.
    """
    found = [Fraction(value).limit_denominator(_DENOMINATOR) for value in values]
    if sum(found) != 1 or min(found) <= 0:
        raise InputError(
            f"{KEY}: the shares {', '.join(f'{value:g}' for value in values)} add up to"
            f" {sum(values):.6g}; choose some of four decimals at most that add up to 1"
        )
    if math.lcm(*(share.denominator for share in found)) > _LONGEST:
        raise InputError(
            f"{KEY}: the shares {', '.join(map(str, found))} have no common denominator of at most"
            f" {_LONGEST:,}; choose some of four decimals at most"
        )
    return found


def names(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the sources: as given, or else the end of the root, or the split."""
    found = []
    for number, source in enumerate(sources, 1):
        root = str(source.get("root", "")).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        found.append(source.get("name") or root or source.get("train_split") or f"source {number}")
    return found


def moved(then: Sequence[Any], now: Sequence[Any]) -> bool:
    """Whether two values of the setting differ in the roots alone, where the same files may lie."""

    def without(sources: Sequence[Any]) -> list[Any]:
        named = zip(names([dict(source) for source in sources]), sources, strict=True)
        return [{**dict(source), "name": name, "root": ""} for name, source in named]

    return then != now and without(then) == without(now)


def refuse_contradictions(values: Mapping[str, Any]) -> None:
    """Raise InputError for sources that do not go together, or not with the other settings.

    Args:
      values: of all settings, by key.
    """
    sources = [dict(source) for source in values[KEY]]
    shares([source["share"] for source in sources])
    named = names(sources)
    for number, name in enumerate(named):
        if name in named[:number]:
            raise InputError(f"{KEY}: two sources are called {name!r}; give them a 'name'")
    if values["data.fold"]:
        raise InputError(
            f"data.fold = {values['data.fold']!r} numbers the images of one source; use"
            f" data.fold = (), or {KEY} = ()"
        )
    if values["review.folds"]:
        raise InputError(
            f"review.folds = {values['review.folds']!r} divides the images of one source; use"
            f" review.folds = 0, or {KEY} = ()"
        )
    unlabelled = [name for name, s in zip(named, sources, strict=True) if not _labelled(s)]
    if len(unlabelled) == len(sources):
        raise InputError(f"{KEY}: no source has labels; one at least must have some")
    for name, source in zip(named, sources, strict=True):
        if not _labelled(source) and not source.get("complete", True):
            raise InputError(
                f"{KEY}: nothing is learnt from {name!r}, which has neither labels nor is"
                " completed; leave the source out"
            )
    if unlabelled and values["targets.complete"] == "none":
        raise InputError(
            f"{KEY}: nothing is learnt from {unlabelled[0]!r}, which has no labels, while"
            " targets.complete = 'none'; set that to 'class' (and targets.average), or leave the"
            " source out"
        )
    if values["arm.kind"] != "none" and not any(_labelled(s) and _weighed(s) for s in sources):
        raise InputError(
            f"{KEY}: arm.kind = {values['arm.kind']!r}, but no source with labels is weighed; let"
            " one be, or use arm.kind = 'none'"
        )


def _labelled(source: Mapping[str, Any]) -> bool:
    return source.get("labelled", True)


def _weighed(source: Mapping[str, Any]) -> bool:
    return source.get("weigh", True)
