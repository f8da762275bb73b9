"""What a command may answer, and what it may leave, whatever is done to it.

It ends with one of the documented statuses, within seconds, in bounded memory; what it has to say
is one line; there is never a traceback; files that it was given are as they were; nothing lies
outside of its output; and no process stays behind.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.campaign import ends
from tests.campaign.processes import Ended

SECONDS = 200.0  # of processor time; compiling for many scales takes long
REFUSAL_SECONDS = 30.0
MEGABYTES = 3_000.0
# A network of another size, that a changed config asks for, takes what it takes.
DONE_MEGABYTES = 6_000.0
# The file or key, the value and the remedy do not fit into less, nor on a terminal into more.
LENGTHS = (20, 1_500)
_OURS = re.compile(r"(arm_jax|error): \S")
_NEVER = ("Traceback", "Segmentation fault", "core dumped", "Exception ignored", "Fatal Python")
# Bars of progress and remarks, which are on stderr beside the one line, and what the libraries that
# decode images print by themselves (docs/reliability.md).
_PROGRESS = re.compile(
    r"^(\s*$|skipped: |warning: |note: |libpng |Corrupt JPEG|Premature end of JPEG|Invalid SOS"
    r"|Unsupported marker|\[ *(WARN|ERROR):\d+@)"
)


def spoken(ended: Ended) -> list[str]:
    """The lines on stderr that are not progress."""
    lines = (line.rpartition("\r")[2] for line in ended.err.splitlines())
    return [line for line in lines if not _PROGRESS.match(line)]


def broken(ended: Ended, statuses: Sequence[int], *, lines: tuple[int, int] = (1, 1)) -> str:
    """What of the rule an answer breaks, in a few words; "" if nothing.

    Args:
      ended: the answer.
      statuses: the valid ones.
      lines: fewest and most lines on stderr if the status is not 0; with 0 there is none.
    """
    for word in _NEVER:
        if word in ended.err or word in ended.out:
            where = (ended.err + ended.out).split(word, 1)[1]
            return f"{word}{where[:60]!r} ... {ended.brief()}"
    if ended.status not in statuses:
        return f"status {ended.status}, not {' or '.join(map(str, statuses))}; {ended.brief()}"
    said = spoken(ended)
    low, high = (0, 0) if ended.status == 0 else lines
    if ended.status >= 0 and not low <= len(said) <= high:
        return f"{len(said)} lines on stderr: {said[:4]}"
    for line in said:
        if not _OURS.match(line):
            return f"not ours: {line[:300]!r}"
        if not LENGTHS[0] <= len(line) <= LENGTHS[1]:
            return f"a line of {len(line)} characters: {line[:300]!r}"
    if ended.left:
        return f"processes stay behind: {ended.left}"
    most = SECONDS if ended.status == 0 else REFUSAL_SECONDS
    if ended.cpu_seconds > most:
        return f"{ended.cpu_seconds:.0f} s of processor time"
    if ended.megabytes > (DONE_MEGABYTES if ended.status == 0 else MEGABYTES):
        return f"{ended.megabytes:,.0f} MB of memory"
    return ""


def untouched(given: dict[str, str], *folders: Path) -> str:
    """Which of the files that were given are changed, lost, or have company."""
    found: dict[str, str] = {}
    for folder in folders:
        found |= ends.tree(folder)
    expected = {
        name: content
        for name, content in given.items()
        if any(Path(name).is_relative_to(folder) for folder in folders)
    }
    found = {name: x for name, x in found.items() if name in expected or not _of_locks(name)}
    text = ends.differ(expected, found)
    return f"given files: {text}" if text else ""


def _of_locks(name: str) -> bool:
    return Path(name).name == ".arm_jax.lock"


def inside(place: Path, *entries: str) -> str:
    """What lies in the place beside the entries."""
    more = sorted({path.name for path in place.iterdir()} - set(entries))
    return f"outside of the output: {', '.join(more)}" if more else ""


def first(*texts: str) -> str:
    return next((text for text in texts if text), "")
