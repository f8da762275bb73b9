"""The settings of a run: from a command line, from what its folder recorded, and both compared.

Nothing here needs JAX, so that a mistake is answered before it has started.
"""

import functools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from arm_jax import settings
from arm_jax.settings import mixture
from arm_jax.settings.rows import NETWORK, NOTHING, TRAINING
from arm_jax.system import config_files, terminal
from arm_jax.system.errors import InputError
from arm_jax.system.values import Flag

FILE = "config.json"


def load(
    row: str | None, overrides: Sequence[str] = (), workdir: str | Path | None = None
) -> FrozenConfigDict:
    """The settings that a command line asks for, checked.

    Args:
      row: `configs/x.py` or `configs/x.py:row`; None for what the run in `workdir` recorded.
      overrides: such as `--config.steps=100`.
      workdir: the run's folder.

    Raises:
      InputError: there is no such file, row, key or run, or a value is not valid.
    """
    if row:
        return settings.overridden(config_files.load(row), overrides)
    if workdir is None or not (Path(workdir) / FILE).exists():
        where = "" if workdir is None else f" and {workdir} has no {FILE}"
        raise InputError(
            f"--config is missing{where}; name a file of configs/, or give --workdir the folder of"
            " a trained run"
        )
    return settings.overridden(read(workdir), overrides)


def default_workdir(row: str | None) -> str:
    """The folder of a run for which none was named: runs/demo of `configs/demo.py`, and
    runs/demo_arm_smoke of `configs/demo.py:arm,smoke`.

    Raises InputError where there is no row to name it by.
    """
    if not row:
        raise InputError(
            "--workdir is missing; name the folder of the run, or --config to begin one"
        )
    file, _, rows = row.partition(":")
    return str(Path("runs") / "_".join([Path(file).stem, *filter(None, rows.split(","))]))


def show(row: str | None, overrides: Sequence[str] = (), workdir: str | Path | None = None) -> str:
    """What a row and overrides change against the base model of the same file, with help.

    Args:
      row: as for `load`; None lists every setting, those of the run in `workdir` if there is one.
      overrides, workdir: as for `load`.
    """
    if row is None:
        return "\n".join(_every(load(row, overrides, workdir) if workdir else None))
    now = settings.flat(load(row, overrides))
    file = row.partition(":")[0]
    base = settings.flat(settings.frozen(config_files.load(f"{file}:base")))
    changes = [
        f"  {row.key:<28}{base[row.key]!r:>12} -> {now[row.key]!r:<14}  {row.help}"
        for row in settings.BY_KEY.values()
        if now[row.key] != base[row.key]
    ]
    return "\n".join(["changed against the base model (row `base`):", *(changes or ["  nothing"])])


def _every(config: FrozenConfigDict | None) -> Iterator[str]:
    """A line for each setting: its value, what is valid, help."""
    values = settings.flat(config or settings.defaults())
    yield "the run's settings:" if config else "every setting and its default:"
    for row in settings.BY_KEY.values():
        kind = row.kind.describe()
        yield f"  {row.key:<28}{values[row.key]!r:<27} {row.help} It must be {kind}."


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides among a command line's arguments: the others, and `--config.KEY=VALUE`.

    As absl has it, the value may be a separate argument, and a setting that is True or False
    may be given as `--config.KEY` or `--noconfig.KEY`.
    """
    others: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        match = re.fullmatch(r"--?(no)?config\.([^=]+)(=.*)?", argument, re.DOTALL)
        if argument == "--":
            return [*others, argument, *rest], overrides
        if match is None:
            others.append(argument)
            continue
        no, key, value = match.groups()
        if value is None and isinstance(settings.find(key).kind, Flag):
            value = f"={not no}"
        elif value is None and (value := next(rest, None)) is not None:
            value = f"={value}"
        if value is None or (no and value != "=False"):
            raise InputError(f"{argument} has no value; write --config.{key}=VALUE")
        overrides.append(f"--config.{key}{value}")
    return others, overrides


def read(workdir: str | Path) -> dict[str, Any]:
    """What a run recorded: every setting by its dotted key.

    A setting that the run's version did not have yet has its default; one that this version does
    not have is left out, with a warning, since it may be a mistake in a file that was edited.

    Raises:
      InputError: the file cannot be read, has a key twice, or holds a value that is not valid.
    """
    path = Path(workdir) / FILE
    if not path.exists():
        raise InputError(f"{path} does not exist; give --workdir the folder of a trained run")
    try:
        stored = json.loads(path.read_text(), object_pairs_hook=_once)
        if not isinstance(stored, dict):
            raise ValueError("it holds no settings")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); is this the folder of a run?"
        ) from error
    for key in stored.keys() - settings.BY_KEY.keys():
        _warn_of_unknown(path.absolute(), key)
    values = {}
    for setting in settings.BY_KEY.values():
        try:
            values[setting.key] = settings.valid(
                setting.key, stored.get(setting.key, setting.default)
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object. Raises ValueError for a key that is there twice, of which JSON takes the last."""
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ValueError(f"{twice!r} is there twice; leave one of them out")
    return dict(pairs)


@functools.cache
def _warn_of_unknown(path: Path, key: str) -> None:
    """Once for each key, however often the file is read."""
    terminal.say(
        f"warning: {path}: {key!r} is no setting of this version and is left out;"
        f" {settings.nearest(key)}"
    )


def continued(workdir: str | Path, now: ConfigDict, *, may_grow: bool = True) -> list[str]:
    """Compare the settings to continue a run with to those that it recorded.

    Args:
      workdir: the run's folder.
      now: complete.
      may_grow: whether the run may be made longer or shorter: `steps` may be larger than it was,
        and `patience`, which counts all of its evaluations, may be another.

    Returns:
      A line for the terminal on what is allowed to differ, or none.

    Raises:
      InputError: one that decides about weights or scores differs; every one is named.
    """
    then, asked = read(workdir), settings.flat(now)
    differ = [key for key in settings.BY_KEY if then[key] != asked[key]]
    allowed = [key for key in differ if settings.BY_KEY[key].decides == NOTHING]
    if mixture.moved(then[mixture.KEY], asked[mixture.KEY]):
        allowed.append(mixture.KEY)
    grows = may_grow and asked["steps"] > then["steps"]
    patient = may_grow and "patience" in differ
    length = [key for key, given in (("steps", grows), ("patience", patient)) if given]
    fixed = [key for key in differ if key not in allowed and key not in length]
    if fixed:
        changes = "; ".join(f"{key}: {then[key]!r} there, {asked[key]!r} now" for key in fixed)
        raise InputError(
            f"--workdir {workdir} belongs to a run with another config ({changes}); choose another"
            " folder, where --config.model.pretrained can name this run to start from"
        )
    lines = []
    if grows:
        lines.append(
            f"goes on to step {asked['steps']:,}, not {then['steps']:,}; from here on the learning"
            " rate is that of the longer run"
        )
    if patient:
        number = asked["patience"]
        lines.append(
            f"stops after {number} evaluations without a better mIoU, not {then['patience']}"
            if number
            else f"goes on to the last step, not to {then['patience']} evaluations without a better"
            " mIoU"
        )
    if allowed:
        lines.append(
            "other than before, and without effect on weights or scores: "
            + ", ".join(f"{key} = {asked[key]!r}" for key in allowed)
        )
    return lines


# What each host of a run may have by itself: where its disks are, what its cores can do.
OF_A_HOST = (
    "data.root",
    "data.eval_root",
    "data.staging_folder",
    "data.staging_gib",
    "compilation_cache",
    "model.feature_folder",
    "input.workers",
    "input.threads",
    "input.prefetch",
)


def common_to_processes(config: ConfigDict) -> dict[str, Any]:
    """The settings that all processes of a run must share, by key."""
    return {key: value for key, value in settings.flat(config).items() if key not in OF_A_HOST}


def used(workdir: str | Path, now: ConfigDict | None = None) -> tuple[FrozenConfigDict, list[str]]:
    """The settings to use a trained run with.

    Args:
      workdir: the run's folder.
      now: what was asked for, complete; None for the run's own.

    Returns:
      The run's settings of its network and its training, and those of `now` for all else; and
      lines for the terminal that name each one that differs.

    Raises:
      InputError: `now` has another network; every setting that differs is named.
    """
    then = read(workdir)
    asked = dict(then) if now is None else settings.flat(now)
    # A file of configs/ leaves these to the command line, and the run knows them.
    asked |= {key: then[key] for key in ("data.root", "data.classes") if not asked[key]}
    differ = [key for key in settings.BY_KEY if then[key] != asked[key]]

    def named(decides: str) -> str:
        keys = [key for key in differ if settings.BY_KEY[key].decides == decides]
        return ", ".join(f"{key} = {then[key]!r} (not {asked[key]!r})" for key in keys)

    if network := named(NETWORK):
        raise InputError(
            f"--workdir {workdir} holds a network with {network}; leave that out, since a run"
            " knows its own network"
        )
    lines = []
    if kept := named(TRAINING):
        lines.append(f"was trained with {kept}")
    taken = {key: asked[key] for key in differ if settings.BY_KEY[key].decides != TRAINING}
    if taken:
        lines.append(
            "other than in training: " + ", ".join(f"{k} = {v!r}" for k, v in taken.items())
        )
    return settings.frozen(then, taken), lines
