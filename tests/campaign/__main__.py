"""`python -m tests.campaign`: see the package."""

import argparse
import importlib
import shutil
import sys
import time
import traceback
from pathlib import Path

from tests.campaign import processes
from tests.campaign.record import Record, Verdict
from tests.campaign.world import World, numbered

# How many of each kind, one after the other.
ROUND = {
    "kills": 2,
    "stops": 2,
    "damage": 2,
    "disks": 1,
    "vanishing": 1,
    "crossings": 1,
    "inputs": 6,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="begin no trial after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/campaign"))
    parser.add_argument("--only", default="", help=f"of {','.join(ROUND)}")
    parser.add_argument("--trials", type=int, default=10**9, help="of each kind, at most")
    parser.add_argument(
        "--confirm", action="store_true", help="fail only for what breaks again when repeated"
    )
    parser.add_argument("--trial", default="", help="repeat one, such as kills/17; keeps its files")
    arguments = parser.parse_args()
    began = time.monotonic()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [*filter(None, arguments.only.split(","))] or [*ROUND]
    if unknown := set(kinds) - set(ROUND):
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(ROUND)}")
    processes.prepare(folder / "compiled")
    world = World(folder)
    world.make()
    if arguments.trial:
        kind, _, number = arguments.trial.partition("/")
        verdict = attempt(world, arguments.seed, kind, int(number), keep=True)
        print(f"{verdict.title}: {verdict.broken or verdict.skipped or 'as promised'}")
        print(f"its files are in {folder / 'trials'}")
        return 1 if verdict.broken else 0
    record = Record(folder / "trials.jsonl", arguments.seed)
    for kind, number in order(kinds, arguments.trials):
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        name = f"{kind}/{number}"
        if name in record.done:
            continue
        start = time.monotonic()
        verdict = attempt(world, arguments.seed, kind, number)
        record.add(name, verdict, time.monotonic() - start)
        if verdict.broken:
            print(f"{name} --seed {arguments.seed}: {verdict.title}: {verdict.broken}", flush=True)
    print("\n".join(record.summary()))
    broken = record.broken()
    if arguments.confirm:
        broken = [name for name in broken if breaks_again(world, arguments.seed, name)]
    if broken:
        print(f"{len(broken)} broken; repeat one by --trial {broken[0]} --seed {arguments.seed}")
        return 1
    return 0


def breaks_again(world: World, seed: int, name: str) -> bool:
    """Repeat a broken trial twice: the moments of kills depend on the load of the machine."""
    kind, _, number = name.partition("/")
    again = [attempt(world, seed, kind, int(number)).broken for _ in range(2)]
    print(f"{name}, repeated: {' and '.join(text or 'as promised' for text in again)}", flush=True)
    return any(again)


def order(kinds: list[str], most: int):
    """Kind and number of each trial, in turns."""
    numbers = dict.fromkeys(kinds, 0)
    while any(number < most for number in numbers.values()):
        for kind in kinds:
            for _ in range(ROUND[kind]):
                if numbers[kind] < most:
                    yield kind, numbers[kind]
                    numbers[kind] += 1


def attempt(world: World, seed: int, kind: str, number: int, keep: bool = False) -> Verdict:
    """Make one trial. What goes wrong in the campaign itself counts as broken."""
    module = importlib.import_module(f"tests.campaign.{kind}")
    trials = world.folder / "trials"
    shutil.rmtree(trials, ignore_errors=True)
    trials.mkdir()
    try:
        return module.trial(numbered(seed, kind, number), world, trials / "place")
    except Exception as error:
        traceback.print_exc()
        return Verdict("the trial itself", f"{type(error).__name__}: {error}")
    finally:
        if not keep:
            shutil.rmtree(trials, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
