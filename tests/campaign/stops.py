"""Asked to stop by a signal, a command ends with its status and one line, and can go on."""

import dataclasses
import random
import signal
from pathlib import Path

from tests.campaign import ends, moments, rule
from tests.campaign.commands import COMMANDS
from tests.campaign.record import Verdict
from tests.campaign.world import World

WEIGHTS = {
    "train": 6, "evaluate": 2, "report": 2, "predict": 3, "prepare": 2, "coarsen": 2, "export": 1,
    "check": 1,
}  # fmt: skip
# Signals, and the seconds between the first and the second.
WAYS = {
    "SIGTERM": ((signal.SIGTERM,), 0.0),
    "SIGHUP": ((signal.SIGHUP,), 0.0),
    "SIGINT": ((signal.SIGINT,), 0.0),
    "SIGINT twice": ((signal.SIGINT, signal.SIGINT), 0.4),
    "SIGINT twice at once": ((signal.SIGINT, signal.SIGINT), 0.0),
    "SIGTERM, then SIGINT": ((signal.SIGTERM, signal.SIGINT), 0.1),
}


def trial(rng: random.Random, world: World, place: Path) -> Verdict:
    command = COMMANDS[rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0]]
    world.undisturbed(command.name)
    world.prepare(place, command)
    way = rng.choice([*WAYS])
    numbers, apart = WAYS[way]
    more: list[str] = []
    slow: list[str] = []
    timeline = world.timelines[command.name]
    if command.name == "train" and rng.random() < 0.1:  # compiles anew, which takes long
        slow = [f"--config.compilation_cache={place.parent / 'programs'}"]
        timeline = [0, 1, 2, 3, 8]
    if command.name == "coarsen" and rng.random() < 0.3:
        more = ["--workers=2"]
    if command.name == "train" and rng.random() < 0.1:
        more += ["--config.input.workers=1"]
    process = world.start(command, place, *more, *slow)
    moment = moments.reach(rng, process, timeline, place)
    title = f"{command.name} {' '.join(more)}, {way}, {moment}"
    process.send(numbers[0])
    for number in numbers[1:]:
        process.sleep(apart)
        process.send(number)
    ended = process.end()
    if ended.status == 0 and command.name == "train":  # asked to stop in its last step: complete
        told = [line for line in ended.err.splitlines() if "saving, then stopping" not in line]
        ended = dataclasses.replace(ended, err="\n".join(told))
    statuses = {0} | {128 + number for number in numbers}
    text = rule.broken(ended, sorted(statuses), lines=(1, 2 if command.name == "train" else 1))
    if ended.status == 0:
        text = text and f"it was at its end: {text}"
    elif not text and not all("SIG" in line for line in rule.spoken(ended)):
        text = f"it does not name the signal: {rule.spoken(ended)}"
    if text:
        return Verdict(title, text)
    stopped = int(ended.status != 0)
    if command.name == "check":  # made again each time, into the same folder
        again = world.finish(command, place, *more)
        return Verdict(title, rule.broken(again, (0,)), {"stopped": stopped})
    again = world.finish(command, place)
    text = rule.first(
        rule.broken(again, (0,)),
        ends.differ(world.undisturbed(command.name), world.end_of(command, place), all_steps=False),
        " ".join(ends.halves(place)),
        world.intact(),
        rule.inside(place, command.leaves, ".arm_jax.jsonl"),
    )
    return Verdict(title, text, {"stopped": stopped})
