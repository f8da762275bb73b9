"""A config file is a program of the user's: executed here alone, and its mistakes are one line."""

import difflib
import os
import sys
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from arm_jax.system import addresses, files, names, shipped
from arm_jax.system.errors import InputError

MOST_BYTES = 1 << 20
# The folder that holds configs/ in a checkout; files elsewhere may import it too.
_CHECKOUT = Path(__file__).resolve().parents[2]


def load(row: str) -> ConfigDict:
    """The config of a file and its rows.

    Args:
      row: `configs/x.py`, or `configs/x.py:rows`, which `get_config` is then called with. Where
        there is no such file, `configs/x.py`, `x.py` and `x` name the config of the package.

    Raises:
      InputError: there is no such file or row, or the file cannot be executed; the message names
        the file, the line and what to do.
    """
    if addresses.is_address(row):
        names.local(row, "--config")  # which raises
    file, _, rows = row.partition(":")
    path = _found(names.local(file, "--config"))
    title = f"--config={row}"
    if not path.exists():
        raise InputError(f"{title}: no such file{_nearest(path)}")
    source = files.read_bytes(path, most=MOST_BYTES)
    _make_importable(path)
    scope = {"__name__": f"config_{path.stem}", "__file__": str(path)}
    # What a program may raise is anything; only Ctrl-C is the user's.
    try:
        exec(compile(source, str(path), "exec"), scope)
        get_config = scope.get("get_config")
        if not callable(get_config):
            raise InputError(f"{title}: {path} defines no get_config(), which returns the config")
        config = get_config(rows) if rows else get_config()
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as error:
        raise InputError(f"{title}: {_explained(error, path)}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(
            f"{title}: get_config() of {path} returns {type(config).__name__} and no ConfigDict;"
            " begin with base.get_config(), and return it"
        )
    return config.lock()


def _found(path: Path) -> Path:
    """The path, or that of the package's config of the same name if there is no such file."""
    known = shipped.folder("configs") / f"{path.stem}.py"
    short = path.parent in (Path(), Path("configs")) and path.suffix in ("", ".py")
    return known if short and not path.exists() and known.is_file() else path


def _make_importable(path: Path) -> None:
    """Let a config import what lies beside its folder, and then the configs of a checkout."""
    for folder in (path.resolve().parent.parent, _CHECKOUT):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def _explained(error: BaseException, path: Path) -> str:
    """What a config file raised, and where."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno or 1}: {error.msg}; correct the file"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    if isinstance(error, SystemExit):
        return f"{where}: calls exit(); a config only returns its settings"
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "configs":
        return (
            f"{where}: imports {error.name}, which is not there; `from arm_jax.configs import"
            " base` works from any folder"
        )
    if isinstance(error, ImportError):
        return f"{where}: {error}; install it, or correct the import"
    # What `get_config` raises for its rows is a sentence already.
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return f"{where}: {kind}{str(error) or 'no message'}"


def _nearest(path: Path) -> str:
    """The config files beside a name that is none, the most similar first."""
    try:
        there = sorted(p.name for p in os.scandir(path.parent) if p.name.endswith(".py"))
    except OSError:
        return f", nor is there a folder {path.parent}"
    near = difflib.get_close_matches(path.name, there, n=1)
    if near:
        return f"; did you mean {path.parent / near[0]}?"
    return f"; {path.parent} has {', '.join(there[:12])}" if there else ""
