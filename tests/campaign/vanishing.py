"""Folders that cannot be written, and files that vanish while a command runs."""

import ctypes
import random
import shutil
import stat
from pathlib import Path

from tests.campaign import ends, moments, rule
from tests.campaign.commands import COMMANDS
from tests.campaign.record import Verdict
from tests.campaign.world import World

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2  # what lets root write everywhere
COMMON = ("train", "evaluate", "predict", "coarsen", "prepare", "check", "export", "report")


def trial(rng: random.Random, world: World, place: Path) -> Verdict:
    command = COMMANDS[rng.choice(COMMON)]
    world.undisturbed(command.name)
    return (_read_only if rng.random() < 0.35 else _vanishing)(rng, world, command, place)


def _read_only(rng, world, command, place) -> Verdict:
    """Some folder of what the command writes in may not be written by it."""
    if command.name not in ("evaluate", "report") and rng.random() < 0.6:
        world.prepare(place, command)
        if command.leaves not in ("w.safetensors",):
            source = world.reference / command.name / command.leaves
            shutil.copytree(source, place / command.leaves)
    else:
        world.prepare(place, command)
    folders = [place, *sorted(p for p in place.rglob("*") if p.is_dir())]
    folder = rng.choice(folders)
    title = f"{command.name}, {folder.relative_to(place.parent)} cannot be written"
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    before = ends.tree(folder)
    ended = world.finish(command, place, prelude=_obey_permissions)
    folder.chmod(0o755)
    text = rule.first(
        rule.broken(ended, (0, 2)),
        world.intact(),
        rule.untouched(before, folder) if ended.status == 2 and folder == place else "",
        " ".join(ends.halves(place)),
    )
    return Verdict(title, text, {"refused" if ended.status == 2 else "done": 1})


def _obey_permissions() -> None:
    """Have permissions hold for this process, also if it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of capabilities, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, lower and upper
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _vanishing(rng, world, command, place) -> Verdict:
    """A file or folder of what is read or written goes away at some moment."""
    world.prepare(place, command)
    given = place.parent / "given"
    for source in (world.data, world.photos):
        shutil.copytree(source, given / source.name)
    shutil.copytree(world.run, given / "run")
    process = world.start(
        command, place, data=given / "data", photos=given / "photos", run=given / "run"
    )
    moment = moments.reach(rng, process, world.timelines[command.name], place)
    trees = [given / "data", given / "photos", given / "run", place]
    weights = {"predict": (0, 4, 2, 2), "prepare": (0, 0, 0, 1), "export": (0, 0, 3, 1)}.get(
        command.name, (3, 0, 0, 2)
    )
    top = rng.choices(trees, weights)[0]
    there = sorted(p for p in top.rglob("*") if not p.name.startswith(".arm_jax.part"))
    if not there:
        process.end()
        return Verdict(command.name, skipped="nothing was there yet")
    gone = rng.choice(there)
    title = f"{command.name}, {gone.relative_to(place.parent)} vanishes at {moment}"
    try:
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    except OSError:
        process.end()
        return Verdict(title, skipped="it was gone already")
    ended = process.end()
    statuses = (0, 2)
    text = rule.first(
        rule.broken(ended, statuses),
        world.intact(),
        rule.inside(place, command.leaves, ".arm_jax.jsonl"),
    )
    return Verdict(title, text, {"refused" if ended.status == 2 else "done": 1})
