"""Read every label once before training, not at hour three; remember what was found good."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.data import labels, records
from arm_jax.data.mixed import MixedSource
from arm_jax.data.records import Source, fingerprint, inspect
from arm_jax.data.value_maps import Stored
from arm_jax.system import files, parallel, processes, terminal
from arm_jax.system.errors import InputError

CACHE_FILE = "checked_labels.json"
DRAWN = 100  # records of a source without files that are counted


@dataclass(frozen=True)
class Checked:
    """What the labels of a source hold: records, and pixels by class and without a label.

    Of a mixture, `parts` has the same for each of its sources that has labels, by name.
    """

    records: int
    pixels: tuple[int, ...]
    ignored: int
    parts: tuple[tuple[str, "Checked"], ...] = ()


def check(
    source: Source, *, name: str = "data", cache: str | Path | None = None, progress: bool = True
) -> Checked | None:
    """Inspect all records: labels decoded, sizes compared, images probed for being cut off.

    The result is kept in the folder `cache` under `name`, with the source's fingerprint, so that
    another start with the same files is instant. Returns None for a source that draws its labels
    itself, which leaves nothing to check.

    The processes of a run share the records; every one must call this, and gets the same result.

    Raises InputError with the number of bad records and the first of them; the others are listed
    in the folder `cache`. Also when no pixel at all has a label, or none of a source of a mixture
    that has labels.
    """
    records.compare(source, name)
    if getattr(source, "trusted", False):
        return None
    mark = _mark(source)
    file = None if cache is None else Path(cache) / CACHE_FILE
    known = processes.from_first(lambda: _known(file, name, mark))
    if known is not None:
        return _judged(source, np.array(known["counts"], np.int64), name)
    mixture = source if isinstance(source, MixedSource) else None
    counts = np.zeros((len(mixture.parts) if mixture else 1, 256), np.int64)
    problems = []
    stored = Stored(source.classes)
    together = parallel.shared_out(partial(_inspected, source), len(source))
    bar = terminal.bar(f"check {name}", together, total=len(source), shown=progress)
    for index, found in enumerate(bar):
        stored.add(found)
        if isinstance(found, InputError):
            problems.append(str(found))
        else:
            counts[mixture.part_of(index) if mixture else 0] += found
    if problems:
        hint = stored.suggestion()
        summary = _summary(problems, len(source), name, cache)
        raise InputError(f"{summary}. In all labels: {hint}" if hint else summary)
    result = _judged(source, counts, name)
    if file is not None and mark:
        entry = {"mark": mark, "counts": counts.tolist()}
        processes.once(lambda: _save(file, {**_load(file), name: entry}))
    return result


def _judged(source: Source, counts: np.ndarray, name: str) -> Checked:
    """From pixels by label value, (parts, 256). Raises InputError where no pixel has a label."""

    def one(source: Source, counts: np.ndarray, name: str) -> Checked:
        number, ignore = source.classes.number, source.classes.ignore
        pixels = tuple(int(n) for n in counts[:number])
        if not sum(pixels):
            raise InputError(
                f"{name}: all pixels of all {len(source)} labels have the ignore value {ignore}; "
                "correct the ignore value or the value map"
            )
        return Checked(len(source), pixels, int(counts[ignore]))

    if not isinstance(source, MixedSource):
        return one(source, counts[0], name)
    parts = tuple(
        (part.name, one(part.source, count, f"{name}, {part.name}"))
        for part, count in zip(source.parts, counts, strict=True)
        if part.labelled
    )
    return dataclasses.replace(one(source, counts.sum(0), name), parts=parts)


def pixels(source: Source, found: Checked | None) -> tuple[int, ...]:
    """How many labelled pixels each class has; of a mixture, as often as training meets them.

    Args:
      source: labelled records.
      found: what `check` returned; without it the first `DRAWN` records are counted, enough for
        one that draws its labels itself.
    """
    if isinstance(source, MixedSource):
        shares = {part.name: part.share for part in source.parts}
        if found is not None:
            each = dict(found.parts)
        else:
            each = {
                part.name: Checked(min(len(part.source), DRAWN), pixels(part.source, None), 0)
                for part in source.parts
            }
        met = sum(
            float(shares[name] * len(source)) / one.records * np.array(one.pixels, np.float64)
            for name, one in each.items()
        )
        return tuple(int(n) for n in np.rint(met))
    if found is not None:
        return found.pixels
    counts = sum(inspect(source, index) for index in range(min(len(source), DRAWN)))
    return tuple(int(n) for n in np.asarray(counts)[: source.classes.number])


def _inspected(source: Source, index: int) -> np.ndarray | InputError:
    """Pixels by label value, or what is wrong with the record."""
    try:
        counts = inspect(source, index)
        labels.check(counts, source.classes, f"record {index}")
    except InputError as error:
        return error
    return counts


def _mark(source: Source) -> str:
    """What the cached result depends on; "" when changes of the source would go unseen."""
    seen = fingerprint(source)
    if not seen:
        return ""
    if isinstance(source, MixedSource):
        seen += f" {[(part.name, len(part.source), part.labelled) for part in source.parts]}"
    return hashlib.blake2b(f"{seen} {source.classes}".encode(), digest_size=16).hexdigest()


def _summary(problems: list[str], records: int, name: str, cache: str | Path | None) -> str:
    if len(problems) == 1:
        return problems[0]
    where = ""
    if cache is not None:
        file = Path(cache) / f"problems_{name}.txt"
        processes.once(lambda: _write_lines(file, problems))
        where = f" (all in {file})"
    return f"{len(problems)} of {records} {name} records are bad{where}; the first: {problems[0]}"


def _write_lines(file: Path, lines: list[str]) -> None:
    files.write(file, "".join(f"{line}\n" for line in lines), errors="replace")


def _known(file: Path | None, name: str, mark: str) -> dict[str, Any] | None:
    """The cached result of these very records; None where they are to be inspected."""
    entry = _load(file).get(name)
    return entry if mark and entry is not None and entry["mark"] == mark else None


def _load(file: Path | None) -> dict[str, dict[str, Any]]:
    """The cached results by name; what is missing or damaged is checked again."""
    try:
        stored = {} if file is None else json.loads(file.read_text())
        return {name: entry for name, entry in stored.items() if _is_whole(entry)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _is_whole(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("mark"), str)
        and isinstance(entry.get("counts"), list)
        and len(entry["counts"]) > 0
        and all(isinstance(row, list) and len(row) == 256 for row in entry["counts"])
        and all(type(n) is int and 0 <= n < 1 << 63 for row in entry["counts"] for n in row)
    )


def _save(file: Path, entries: dict) -> None:
    """Replace the file at once: a run that starts meanwhile reads the old or the new one."""
    files.write_json(file, entries)
