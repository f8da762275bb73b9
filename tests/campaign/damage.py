"""A file of a run's folder is cut, flipped, emptied, replaced or removed, and the run is used.

Whatever uses it then either does what it would have done, or refuses with one line; a training that
goes on may begin at an older checkpoint, and what it leaves out of the history it names.
"""

import random
import shutil
from pathlib import Path

from tests.campaign import ends, rule
from tests.campaign.commands import COMMANDS
from tests.campaign.record import Verdict
from tests.campaign.world import World

USES = {"train": 4, "evaluate": 2, "predict": 2, "report": 1, "export": 1}


def trial(rng: random.Random, world: World, place: Path) -> Verdict:
    name = rng.choices([*USES], [*USES.values()])[0]
    command = COMMANDS[name]
    run = place / "run"
    place.mkdir(parents=True)
    shutil.copytree(world.run, run)
    if name == "train":  # two more steps are to be made
        shutil.rmtree(run / "checkpoints" / "8")
    files = sorted(path for path in run.rglob("*") if path.is_file())
    path = chosen(rng, run, files)
    way = rng.choice([*WAYS])
    WAYS[way](path, rng, files)
    title = f"{name} after {path.relative_to(run)} was {way}"
    more = [] if rng.random() < 0.7 or name in ("train", "report") else ["--checkpoint=best"]
    process = world.start(command, place, *more, run=run)
    ended = process.end()
    if text := rule.broken(ended, (0, 2)):
        return Verdict(title, text)
    refused = ended.status == 2
    text = rule.first(
        world.intact(),
        rule.inside(place, "run", command.leaves, ".arm_jax.jsonl"),
    )
    if not refused and not text:
        text = unlike(world, name, place, path.relative_to(run).as_posix(), ended.out, more)
    return Verdict(title, text, {"refused" if refused else "done": 1})


def chosen(rng: random.Random, run: Path, files: list[Path]) -> Path:
    """One of the files; those of checkpoints, of which there are many, half of the time."""
    in_checkpoints = [p for p in files if p.is_relative_to(run / "checkpoints")]
    others = [p for p in files if p not in in_checkpoints]
    return rng.choice(in_checkpoints if rng.random() < 0.5 else others)


def unlike(
    world: World, name: str, place: Path, damaged: str, printed: str, more: list[str]
) -> str:
    """What differs from the reference although nothing was said; "" if nothing does."""
    command = COMMANDS[name]
    expected, found = dict(world.undisturbed(name)), world.end_of(command, place)
    if command.leaves == "run":
        # The checkpoint that was damaged may stay as it is, but for the newest that was made anew.
        step = damaged.split("/")[1] if damaged.startswith("checkpoints/") else ""
        for names in (expected, found):
            if name != "train":
                names.pop(damaged, None)
            if step and not (name == "train" and step == "8"):
                for key in [k for k in names if k.startswith(f"checkpoint {step} ")]:
                    del names[key]
    said = Path(damaged).name in printed or "damaged" in printed or "history" in printed
    if damaged == "metrics.jsonl":  # has no digest (docs/reliability.md)
        for names in (expected, found):
            names.pop("metrics.jsonl", None)
            names.pop("training.png", None)
    if said and damaged in ("eval.json", "confusion.csv"):  # the pictures of both, or neither
        for names in (expected, found):
            for picture in ("confusion.png", "reliability.png"):
                names.pop(picture, None)
    if said and damaged == "classes.json":
        return ""  # names and colours are those that it has now, and that was said
    if (said and "passed over" in printed) or more:
        return ""  # another checkpoint, and that was said or asked for
    return ends.differ(expected, found, all_steps=name != "train")


def _cut(path: Path, rng: random.Random, files: list[Path]) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(max(len(data), 1))])


def _flip(path: Path, rng: random.Random, files: list[Path]) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _empty(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.write_bytes(b"")


def _replace(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.write_bytes(rng.choice(files).read_bytes())


def _rubbish(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.write_bytes(rng.choice((rng.randbytes(300), b"null\n", b"[]", b"{}", b'{"a": [1]}\n')))


def _delete(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.unlink()


def _folder(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.unlink()
    path.mkdir()


def _append(path: Path, rng: random.Random, files: list[Path]) -> None:
    with open(path, "ab") as file:
        file.write(rng.choice((b"\n", b"\0", b"null\n", rng.randbytes(40))))


WAYS = {
    "cut": _cut,
    "flipped by a bit": _flip,
    "emptied": _empty,
    "replaced by another": _replace,
    "replaced by rubbish": _rubbish,
    "deleted": _delete,
    "replaced by a folder": _folder,
    "continued": _append,
}
