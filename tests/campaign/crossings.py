"""Two commands in one folder, and files of a user where a command would write its own."""

import os
import random
import shutil
from pathlib import Path

from tests.campaign import ends, rule
from tests.campaign.commands import COMMANDS
from tests.campaign.processes import Process
from tests.campaign.record import Verdict
from tests.campaign.world import World

TWICE = ("train", "predict", "coarsen", "prepare")
# What each command writes, below its place, of which a user may have a file.
NAMES = {
    "train": ("run", "run/checkpoints", "run/metrics.jsonl", "run/classes.json", "run/eval.json",
              "run/training.png", "run/damaged", "run/events.mine", "run/notes.txt"),
    "evaluate": ("run/mine/eval.json", "run/notes.txt"),
    "predict": ("out", "out/labels", "out/labels/a.png", "out/overlays/a.jpg", "out/notes.txt"),
    "coarsen": ("c", "c/images/train/train_0.png", "c/labels/val/val_0.png", "c/classes.txt",
                "c/notes.txt"),
    "prepare": ("prepared/street_scenes/mine.txt", "prepared/street_scenes", "prepared",
                "prepared/street_scenes/smoke/1.0.0/mine.txt", "prepared/other.txt"),
    "check": ("sheets", "sheets/train.png", "sheets/notes.txt"),
    "export": ("w.safetensors", "w.safetensors/mine.txt"),
}  # fmt: skip
# Outputs that are a user's folders.
WRONG = {"predict": "--output=", "coarsen": "--out=", "check": "--out=", "train": "--workdir=",
         "prepare": "--data_dir="}  # fmt: skip


def trial(rng: random.Random, world: World, place: Path) -> Verdict:
    return rng.choice((_twice, _in_the_way, _in_the_way, _into_given))(rng, world, place)


def _twice(rng: random.Random, world: World, place: Path) -> Verdict:
    """Two processes with one output: one ends as alone, the other is refused or comes after."""
    command = COMMANDS[rng.choice(TWICE)]
    world.undisturbed(command.name)
    world.prepare(place, command)
    other = place.parent / "other"
    other.mkdir()
    first = world.start(command, place)
    first.sleep(rng.random() * world.seconds[command.name])
    line = command.line(world, place)
    second = Process(line, other)
    both = [first.end(), second.end()]
    title = f"{command.name} twice at once: {', '.join(str(one.status) for one in both)}"
    text = rule.first(*(rule.broken(one, (0, 2)) for one in both))
    refusals = [one for one in both if one.status == 2]
    if not text and len(refusals) > 1:
        text = "both were refused"
    if not text and refusals and "is in use by" not in refusals[0].err:
        text = f"the refusal names no process: {refusals[0].err}"
    text = rule.first(
        text,
        ends.differ(world.undisturbed(command.name), world.end_of(command, place)),
        " ".join(ends.halves(place)),
        rule.inside(place, command.leaves, ".arm_jax.jsonl"),
        rule.inside(other),
    )
    return Verdict(title, text, {"refused": len(refusals)})


def _in_the_way(rng: random.Random, world: World, place: Path) -> Verdict:
    """A file of the user by a name that the command would use."""
    command = COMMANDS[rng.choice([*NAMES])]
    world.prepare(place, command)
    path = place / rng.choice(NAMES[command.name])
    kind = rng.choice(("a file", "a link", "a dangling link", "a folder"))
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = place.parent / "mine"
    mine.mkdir()
    (mine / "file").write_bytes(rng.randbytes(100))
    if kind == "a file":
        path.write_bytes(rng.randbytes(100))
    elif kind == "a link":
        path.symlink_to(mine / "file")
    elif kind == "a dangling link":
        path.symlink_to(mine / "nothing")
    else:
        path.mkdir(parents=True, exist_ok=True)
        (path / "file").write_bytes(rng.randbytes(100))
    before = {name: x for name, x in ends.tree(place).items() if _users(name, path)}
    before |= ends.tree(mine)
    ended = world.finish(command, place)
    after = ends.tree(place)
    lost = [
        name for name, content in before.items() if (after | ends.tree(mine)).get(name) != content
    ]
    text = rule.first(
        rule.broken(ended, (0, 2)),
        f"a user's file is lost: {lost}" if lost else "",
        # Through a link that is the output itself the user has asked to write.
        "" if path == place / command.leaves else rule.untouched(before, mine),
        world.intact(),
        "" if ended.status else rule.inside(place, command.leaves, ".arm_jax.jsonl"),
    )
    title = f"{command.name}, {kind} at {path.relative_to(place)}"
    return Verdict(
        title, text, {"refused" if ended.status == 2 else "done": 1, "files": len(before)}
    )


def _users(name: str, path: Path) -> bool:
    return Path(name) == path or path in Path(name).parents


def _into_given(rng: random.Random, world: World, place: Path) -> Verdict:
    """The output is a folder of the user's: the data, a part of it, or a link to it."""
    command = COMMANDS[rng.choice([*WRONG])]
    place.mkdir()
    given = place.parent / "given"
    shutil.copytree(world.data, given / "data")
    shutil.copytree(world.photos, given / "photos")
    folders = [given / "data", *sorted(p for p in given.rglob("*") if p.is_dir())]
    target = rng.choice(folders)
    if rng.random() < 0.4:
        link = place.parent / "link"
        link.symlink_to(target)
        target = link
    elif rng.random() < 0.3:
        target = Path(os.path.relpath(target, place))
    before = ends.tree(given)
    line = [a for a in command.line(world, place) if not a.startswith(WRONG[command.name])]
    line = [a.replace(str(world.data), str(given / "data")) for a in line]
    line = [a.replace(str(world.photos), str(given / "photos")) for a in line]
    ended = Process([*line, f"{WRONG[command.name]}{target}"], place).end()
    after = ends.tree(given)
    lost = [name for name, content in before.items() if after.get(name) != content]
    more = sorted(after.keys() - before.keys())
    # A run's folder, and that of prepared data, may hold other files.
    refuses = command.name not in ("train", "prepare")
    text = rule.first(
        rule.broken(ended, (2,) if refuses else (0, 2)),
        f"a user's files are lost: {lost}" if lost else "",
        f"written among a user's files: {more}" if more and refuses else "",
    )
    return Verdict(f"{command.name} into {target}", text, {"files": len(before)})
