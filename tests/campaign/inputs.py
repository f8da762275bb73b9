"""Every input of every command, changed: an answer by the rule, and files that are whole."""

import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import mutations

from tests.campaign import ends, rule, texts
from tests.campaign.commands import CLASSES, COMMANDS, CONFIG
from tests.campaign.processes import CHECKOUT, Process
from tests.campaign.record import Verdict
from tests.campaign.world import World


def trial(rng: random.Random, world: World, place: Path) -> Verdict:
    given = place.parent / "given"
    given.mkdir()
    place.mkdir()
    way = rng.choices([*WAYS], [*WAYS.values()])[0]
    title, line, leaves = way(rng, world, place, given)
    before = ends.tree(given)
    ended = Process(line, place).end()
    text = rule.first(
        # A learning rate that makes the loss infinite is answered by 3.
        rule.broken(ended, (0, 2, 3) if way is _override else (0, 2)),
        world.intact(),
        rule.untouched(before, given),
        rule.inside(place, *leaves, ".arm_jax.jsonl"),
        " ".join(ends.halves(place)),
    )
    return Verdict(title, text, {"refused" if ended.status else "accepted": 1})


# What stands where a file is expected.


def garbled(path: Path, rng: random.Random, corpus: list[Path]) -> str:
    """Make a file a bad one in one of many ways; says which."""
    name = rng.choices([*BAD], [*BAD.values()])[0]
    name(path, rng, corpus)
    return name.__name__.strip("_")


def _changed(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.write_bytes(mutations.changed(path.read_bytes(), rng))


def _emptied(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.write_bytes(b"")


def _another(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.write_bytes(rng.choice(corpus).read_bytes())


def _rubbish(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.write_bytes(rng.randbytes(rng.choice((1, 20, 3000))))


def _folder(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.unlink()
    path.mkdir()


def _missing(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.unlink()


def _fifo(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.unlink()
    if len(str(path)) < 100:
        socket.socket(socket.AF_UNIX).bind(str(path))


def _link_to_itself(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling_link(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _endless(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    path.unlink()
    path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "/proc/self/mem")))


def _huge(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    os.truncate(path, rng.choice((1 << 30, 1 << 36)))  # of holes


def _strange_name(path: Path, rng: random.Random, corpus: list[Path]) -> None:
    end = path.suffix.encode()
    name = rng.choice(
        (b"a\nb", b"\xff\xfe", b"-rf", "é\u0301".encode(), b" ", b"x" * 240, b"a'\"b")
    )
    os.rename(os.fsencode(path), os.path.join(os.fsencode(path.parent), name + end))


BAD: dict[Callable, int] = {
    _changed: 12, _emptied: 1, _another: 2, _rubbish: 1, _folder: 1, _missing: 1, _fifo: 1,
    _socket: 1, _link_to_itself: 1, _dangling_link: 1, _endless: 1, _huge: 1, _strange_name: 2,
}  # fmt: skip


# Which input of which command.


def _data(rng, world, place, given):
    """An image or label of a data set."""
    shutil.copytree(world.data, given / "data")
    files = sorted(p for p in (given / "data").rglob("*") if p.is_file())
    path = rng.choice(files)
    name = rng.choices(("coarsen", "check", "train", "evaluate"), (4, 4, 2, 2))[0]
    return _used(rng, world, place, name, path, [*files, *world.torch_weights], data=given / "data")


def _photo(rng, world, place, given):
    """An image to label."""
    shutil.copytree(world.photos, given / "photos")
    path = rng.choice(sorted(p for p in (given / "photos").rglob("*") if p.is_file()))
    corpus = [path, CONFIG, *world.torch_weights]
    return _used(rng, world, place, "predict", path, corpus, photos=given / "photos")


def _used(rng, world, place, name, path, corpus, **folders):
    command = COMMANDS[name]
    world.prepare(place, command)
    way = garbled(path, rng, corpus)
    title = f"{name}, {path.parent.name}/{path.name} {way}"
    return title, command.line(world, place, **folders), [command.leaves]


def _city(rng, world, place, given):
    """A zip, a polygon file or an image of Cityscapes."""
    zipped = rng.random() < 0.5
    root = given / "city"
    shutil.copytree(world.city_zips if zipped else world.city, root)
    path = rng.choice(sorted(p for p in root.rglob("*") if p.is_file()))
    if zipped and rng.random() < 0.5:
        texts.hostile_names(path, rng)
        way = "with hostile names"
    elif path.suffix == ".json" and rng.random() < 0.6:
        path.write_bytes(mutations.changed_json(path.read_bytes(), rng))
        way = "with another value"
    else:
        way = garbled(path, rng, [path, *world.torch_weights])
    name = rng.choice(("coarsen", "check"))
    more = ["--preset=hard", f"--out={place}/c", "--splits=train"]
    if name == "check":
        more = [f"--out={place}/c", "--splits=train", "--labels=coarse"]
    script = {"coarsen": "coarsen", "check": "check_dataset"}[name]
    line = [str(CHECKOUT / "scripts" / f"{script}.py"), "cityscapes", f"--root={root}", *more]
    return f"{name} cityscapes, {path.name} {way}", line, ["c"]


def _weights(rng, world, place, given):
    """A weight file to start from."""
    whole = rng.choice([world.weights, *world.torch_weights])
    path = given / whole.name
    shutil.copy(whole, path)
    if path.suffix == ".pth" and rng.random() < 0.6:
        path.write_bytes(mutations.changed_pickle(path.read_bytes(), rng))
        way = "with another pickle"
    else:
        way = garbled(path, rng, [world.weights, CONFIG, *world.torch_weights])
    line = COMMANDS["train"].line(world, place, f"--config.model.pretrained={path}")
    return f"train from {path.name} {way}", [*line, "--config.steps=1"], ["run"]


def _config(rng, world, place, given):
    """A config file."""
    path = given / "config.py"
    shutil.copy(CONFIG, path)
    if rng.random() < 0.8:
        path.write_text(texts.changed_program(path.read_text(), rng))
        way = "with another line"
    else:
        way = garbled(path, rng, [CONFIG, *world.torch_weights])
    line = COMMANDS["train"].line(world, place, "--config.steps=1")
    line = [a.replace(str(CONFIG), str(path)) for a in line]
    return f"train, config {way}", line, ["run"]


def _override(rng, world, place, given):
    """A setting on the command line."""
    override = texts.override(rng)
    more = ["--config.steps=1", override] + ([texts.override(rng)] if rng.random() < 0.2 else [])
    line = COMMANDS["train"].line(world, place, *more)
    return f"train {' '.join(more[1:])}"[:300], line, ["run"]


def _flag(rng, world, place, given):
    """A flag or argument of any command."""
    command = COMMANDS[rng.choice([*COMMANDS])]
    world.prepare(place, command)
    line = command.line(world, place)
    flags = texts.flags(line, rng, given)
    return f"{command.name} {' '.join(flags)}"[:300], flags, [command.leaves, *texts.ALSO]


def _classes(rng, world, place, given):
    """The classes, label values and other arguments of the scripts."""
    name = rng.choice(("coarsen", "check"))
    value = texts.value(rng)
    argument = rng.choice(("--classes", "--label-values", "--ignore", "--splits", "--images",
                           "--orientation", "--image-folder", "--label-folder"))  # fmt: skip
    line = [a for a in COMMANDS[name].line(world, place) if not a.startswith(argument + "=")]
    title = f"{name} {argument}={value!r} (classes {CLASSES})"
    return title[:300], [*line, f"{argument}={value}"], [COMMANDS[name].leaves]


WAYS: dict[Callable, int] = {
    _data: 5, _photo: 3, _city: 4, _weights: 3, _config: 2, _override: 3, _flag: 3, _classes: 3,
}  # fmt: skip
