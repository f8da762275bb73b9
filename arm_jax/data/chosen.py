"""The images that a command names: a file, a folder, a pattern or a list; without JAX."""

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from arm_jax.data import trees
from arm_jax.data.images import SUFFIXES
from arm_jax.system import names, outputs
from arm_jax.system.errors import InputError
from arm_jax.system.files import read_bytes

WAYS = "give an image, a folder of images, a pattern such as 'photographs/*.jpg', or a .txt list"


@dataclass(frozen=True)
class Chosen:
    """Images below a folder.

    Attributes:
      root: the folder.
      paths: relative to it, sorted; no two of them differ in their ending alone.
    """

    root: Path
    paths: list[Path]


def find(given: str | Path, output: str | Path | None = None) -> Chosen:
    """What a text names.

    Args:
      given: an image; a folder, with its subfolders; a pattern with *, ? or [], in which ** stands
        for any subfolders; or a text file (.txt) with an image a line, relative to its own folder.
      output: the folder that is about to be written, whose images are left out.

    Raises:
      InputError: there is nothing of that name, no image, or two that would have one output.
    """
    path = names.local(given, "--input")
    if path.is_dir():
        return Chosen(path, _distinct(path, _in_folder(path, output)))
    if path.is_file():
        if path.suffix.lower() == ".txt":
            return _relative(_listed(path), f"{path}")
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"--input={given}: ends in none of {', '.join(SUFFIXES)} and .txt; {WAYS}"
            )
        return Chosen(path.parent, [Path(path.name)])
    if glob.has_magic(str(path)):
        found = [Path(one) for one in glob.glob(str(path), recursive=True)]
        return _relative(
            [one for one in found if one.is_file() and one.suffix.lower() in SUFFIXES],
            f"--input={given}",
        )
    raise InputError(f"--input={given}: no such file or folder; {WAYS}")


def _listed(path: Path) -> list[Path]:
    lines = read_bytes(path).decode("utf-8-sig", "surrogateescape").splitlines()
    if any("\0" in line for line in lines):
        raise InputError(
            f"{path}: is no list of images in UTF-8; save it as UTF-8, an image a line"
        )
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        one = path.parent / Path(line.strip()).expanduser()
        if not one.is_file():
            raise InputError(f"{path}, line {number}: {one} is no file; correct or remove the line")
        found.append(one)
    return found


def _relative(paths: list[Path], title: str) -> Chosen:
    """By the deepest folder that all of them lie in."""
    if not paths:
        raise InputError(f"{title}: names no image ({', '.join(SUFFIXES)}); {WAYS}")
    whole = [Path(os.path.abspath(path)) for path in paths]
    root = Path(os.path.commonpath([path.parent for path in whole]))
    return Chosen(root, _distinct(root, sorted({path.relative_to(root) for path in whole})))


def _in_folder(folder: Path, output: str | Path | None) -> list[Path]:
    """All images under a folder, relative to it, in order.

    Hidden files and folders, and what lies in `output` or in the output of an earlier command, are
    left out; links are followed.
    """
    written = None if output is None else Path(output).resolve()
    paths = [Path(name) for name in trees.Folder(folder).names()]
    below = {parent for path in paths for parent in path.parents[:-1]}
    earlier = {parent for parent in below if outputs.is_output(folder / parent)}
    paths = [path for path in paths if earlier.isdisjoint(path.parents)]
    paths = sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES
        # A link that leads to itself cannot be resolved by pathlib.
        and written not in Path(os.path.realpath(folder / path)).parents
    )
    if not paths:
        raise InputError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return paths


def _distinct(root: Path, paths: list[Path]) -> list[Path]:
    by_name: dict[Path, Path] = {}
    for path in paths:
        other = by_name.setdefault(path.with_suffix(""), path)
        if other != path:
            raise InputError(
                f"{root}: {other} and {path} would have the same output; rename one of them"
            )
    return paths
