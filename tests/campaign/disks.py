"""A disk that is full, and a limit on the size of files: one line, and with room the same end."""

import os
import random
import subprocess
from pathlib import Path

from tests.campaign import ends, rule
from tests.campaign.commands import COMMANDS
from tests.campaign.record import Verdict
from tests.campaign.world import World

WEIGHTS = {"train": 5, "evaluate": 1, "report": 1, "predict": 2, "prepare": 2, "coarsen": 2,
           "export": 1}  # fmt: skip
ENOUGH = 256 << 20  # bytes
LEAST_LIMIT = 8 << 10  # what is printed, which goes to a file too, must fit


def trial(rng: random.Random, world: World, place: Path) -> Verdict:
    command = COMMANDS[rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0]]
    world.undisturbed(command.name)
    sizes = sorted(p.stat().st_size for p in (world.reference / command.name).rglob("*"))
    needed = sum(size + 4096 for size in sizes)
    limited = rng.random() < 0.4
    if limited:
        world.prepare(place, command)
        limit = rng.randrange(LEAST_LIMIT, max(sizes[-1], LEAST_LIMIT + 1) + 1)
        title = f"{command.name}, no file above {limit:,} bytes"
        ended = world.finish(command, place, file_bytes=limit)
        return verdict(world, command, place, title, ended)
    start = sum(p.stat().st_size + 4096 for p in world.run.rglob("*"))
    room = rng.randrange(4096, needed) + (start if command.begins_with else 0)
    place.mkdir(parents=True)
    reason = mount(place, room=ENOUGH)
    if reason:
        return Verdict("a small tmpfs", skipped=f"no tmpfs can be mounted here ({reason})")
    try:
        world.prepare(place, command)
        mount(place, room=room, again=True)
        title = f"{command.name} on a disk of {room >> 10:,} KiB"
        ended = world.finish(command, place)
        text = rule.broken(ended, (0, 2))
        if not text:
            mount(place, room=ENOUGH, again=True)
        return verdict(world, command, place, title, ended)
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)


def verdict(world, command, place, title, ended) -> Verdict:
    """Whether the full disk was answered by the rule, and the same command then ends well."""
    text = rule.broken(ended, (0, 2))
    if text:
        return Verdict(title, text)
    again = world.finish(command, place)
    text = rule.first(
        rule.broken(again, (0,)),
        ends.differ(world.undisturbed(command.name), world.end_of(command, place)),
        " ".join(ends.halves(place)),
        world.intact(),
        rule.inside(place, command.leaves, ".arm_jax.jsonl"),
    )
    return Verdict(title, text, {"filled": int(ended.status != 0)})


def mount(place: Path, *, room: int, again: bool = False) -> str:
    """Mount a tmpfs, or change its size; why it cannot be done, or ""."""
    if os.geteuid() != 0:
        return "only root may"
    options = f"{'remount,' if again else ''}size={room}"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, text=True
    )
    return done.stderr.strip() if done.returncode else ""
