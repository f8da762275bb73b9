"""The file of trials: one JSON line for each, so that a campaign that was stopped can go on."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Verdict:
    """What a trial found.

    Attributes:
      title: what was done.
      broken: what promise was broken, in a few words; "" if all were kept.
      counts: such as how many processes were killed.
      skipped: why it could not be tried here; "" if it was.
    """

    title: str
    broken: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    skipped: str = ""


class Record:
    """The trials made so far.

    Args:
      path: of the file; lines that cannot be read, as after a kill, are left out.
      seed: of the campaign; lines of other seeds do not count.
    """

    def __init__(self, path: Path, seed: int):
        self._path, self._seed = path, seed
        self.done: dict[str, dict] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry.get("seed") == seed:
                    self.done[entry["trial"]] = entry

    def add(self, name: str, verdict: Verdict, seconds: float) -> None:
        entry = {"trial": name, "seed": self._seed, "seconds": round(seconds, 2), **asdict(verdict)}
        self.done[name] = entry
        whole = not self._path.exists() or self._path.read_bytes()[-1:] in (b"", b"\n")
        with open(self._path, "a") as file:
            file.write(("" if whole else "\n") + json.dumps(entry) + "\n")

    def broken(self) -> list[str]:
        return [name for name, entry in self.done.items() if entry["broken"]]

    def summary(self) -> list[str]:
        """One line a kind: how many of how many were kept, and what was counted."""
        kinds: dict[str, list[dict]] = {}
        for name, entry in self.done.items():
            kinds.setdefault(name.partition("/")[0], []).append(entry)
        lines = []
        for kind, entries in sorted(kinds.items()):
            tried = [entry for entry in entries if not entry["skipped"]]
            counts: Counter[str] = Counter()
            for entry in tried:
                counts.update(entry["counts"])
            text = f"{kind}: {sum(not e['broken'] for e in tried)} of {len(tried)} as promised"
            if counts:
                text += f" ({', '.join(f'{n} {what}' for what, n in sorted(counts.items()))})"
            for reason in sorted({entry["skipped"] for entry in entries} - {""}):
                text += f"; {len(entries) - len(tried)} not tried: {reason}"
            lines.append(text)
        return lines
