"""Killed (SIGKILL) at random moments, once or several times, a command ends as it would have."""

import random
import signal
from pathlib import Path

from tests.campaign import ends, moments, rule
from tests.campaign.commands import COMMANDS
from tests.campaign.record import Verdict
from tests.campaign.world import World

WEIGHTS = {
    "train": 10, "evaluate": 2, "report": 2, "predict": 3, "prepare": 2, "coarsen": 2, "export": 1,
}  # fmt: skip


def trial(rng: random.Random, world: World, place: Path) -> Verdict:
    command = COMMANDS[rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0]]
    world.undisturbed(command.name)
    world.prepare(place, command)
    more: list[str] = []
    if command.name == "train" and rng.random() < 0.05:
        more = ["--config.input.workers=1"]  # without effect on the end
    # Compiling takes long, so that many of these are killed while they do.
    slow = [f"--config.compilation_cache={place.parent / 'programs'}"]
    compiles = command.name == "train" and rng.random() < 0.1
    warm = rng.random() < 0.9
    killed, called = 0, []
    # Training to the end takes long: many kills before it.
    most = (2, 3, 4, 6) if command.name == "train" else (1, 1, 2)
    for _ in range(rng.choice(most)):
        if compiles:
            compiles = False
            process = world.start(command, place, *more, *slow, warm=warm)
            called.append("compiling, " + moments.reach(rng, process, [0, 1, 2, 3, 8], place))
            process.send(signal.SIGKILL)
        elif warm and rng.random() < 0.5:
            number = moments.change(rng, world.changes[command.name])
            process = world.start(command, place, *more, end_at=number)
            called.append(f"change {number}")
        else:
            process = world.start(command, place, *more, warm=warm)
            called.append(moments.reach(rng, process, world.timelines[command.name], place))
            process.send(signal.SIGKILL)
        ended = process.end()
        if ended.status == -signal.SIGKILL:
            killed += 1
        elif text := rule.broken(ended, (0,)):
            return Verdict(f"{command.name}, {', '.join(called)}", text)
        if ended.left:
            return Verdict(f"{command.name}, {', '.join(called)}", f"left {ended.left}")
    title = f"{command.name}{'' if warm else ' (cold)'}, {', '.join(called)}"
    ended = world.finish(command, place)
    text = rule.first(
        rule.broken(ended, (0,)),
        ends.differ(world.undisturbed(command.name), world.end_of(command, place)),
        " ".join(ends.halves(place)),
        world.intact(),
        rule.inside(place, command.leaves, ".arm_jax.jsonl"),
    )
    return Verdict(title, text, {"killed": killed})
