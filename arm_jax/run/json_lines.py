"""Files of a run with a record a line, which grow while it trains."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arm_jax.system.errors import InputError


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line to a file of the run. Raises InputError when it cannot be written."""
    try:
        with open(path, "a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); free some space, then the same command"
            " goes on from the last checkpoint"
        ) from error


def read(path: Path, numbers: Sequence[str] = ()) -> tuple[list[dict[str, Any]], int]:
    """The records of a file, and how many of its lines are damaged.

    Lines that cannot be read are left out; a last one that a kill cut off does not count as
    damaged. A record must have whole numbers by the names of `numbers`.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); restore it, or move it away"
        ) from error
    found, damaged = [], 0
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or any(type(record[k]) is not int for k in numbers):
                raise ValueError
            found.append(record)
        except (ValueError, KeyError, RecursionError):
            damaged += number < len(lines)
    return found, damaged
