"""Everything that is worth measuring on a GPU, in one command, most valuable first.

    python scripts/benchmarks/runbook.py --out results --minutes 10
    python scripts/benchmarks/runbook.py --out results --rehearse     # small, on a CPU

Each step is a process of its own with a limit of its own, since a compiler may abort and a first
run may hang. Its result is appended to OUT/results.jsonl as soon as it ends, and all output to
OUT/runbook.log, so that a machine that is taken away in the middle leaves what it had measured.
A step that no longer fits into the minutes is skipped and named. --only runs the named steps.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = "scripts/benchmarks"


@dataclasses.dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: for --only and the results.
        command: arguments for Python; {work} stands for a folder for its files, {name} for `name`.
        seconds: its limit; it is killed after that.
        full: further arguments on a GPU.
        small: further arguments of a rehearsal instead.
        needs: a package without which it is skipped.
    """

    name: str
    command: str
    seconds: int
    full: str = ""
    small: str = ""
    needs: str = ""


STEP = f"{BENCHMARKS}/benchmark.py --json {{work}}/{{name}}.json --config.model.pretrained="
R101 = "--network deeplabv3plus_resnet101 --precision bfloat16"
SMALL = "--network deeplabv3plus_resnet18 --crop 64 128 --batch 2 --precision float32 --repeat 1"
SCENES = (
    "-m arm_jax.main --config configs/street_scenes.py:arm --workdir {work}/{name}"
    " --config.data.dataset=scenes --config.data.coarsen=medium --config.arm.lr_multiplier=15"
    " --config.batch_size=8"
)
PAPER = (
    '--config.data.size="(512, 1024)" --config.augment.crop="(512, 1024)" --config.steps=150'
    " --config.model.name=deeplabv3plus_resnet101 --config.eval_every=150 --config.log_every=20"
    " --config.data.train_images=400 --config.data.eval_images=80 --config.input.threads=16"
)
TINY = (
    '--config.data.size="(64, 128)" --config.augment.crop="(64, 64)" --config.steps=2'
    " --config.model.name=deeplabv3plus_resnet18 --config.eval_every=2 --config.log_every=1"
    " --config.data.train_images=16 --config.data.eval_images=8"
)

STEPS = (
    Step("machine", f"{BENCHMARKS}/machine.py", 60),
    Step(
        "demo",
        "-m arm_jax.main --config configs/demo.py --workdir {work}/demo",
        180,
        "--config.steps=20 --config.eval_every=20",
        "--config.steps=2 --config.eval_every=2 --config.data.builder_config=smoke"
        ' --config.augment.crop="(64, 64)"',
    ),
    Step("step", f"{STEP} --step_only", 200, f"{R101} --crop 512 1024 --batch 16", SMALL),
    Step(
        "step_peer",
        f"{STEP} --peer eager --peer compile+channels_last",
        400,
        f"{R101} --crop 512 1024 --batch 8 --repeat 5",
        SMALL.replace("resnet18", "resnet50"),
        needs="torch",
    ),
    Step(
        "operations",
        f"{BENCHMARKS}/benchmark_ops.py --json {{work}}/{{name}}.json",
        200,
        "--crop 512 1024 --batch 16 --repeat 3",
        "--crop 64 128 --batch 1 --repeat 1",
    ),
    Step(
        "evaluation",
        f"{STEP} --forward",
        150,
        f"{R101} --crop 1024 2048 --batch 8 --repeat 3",
        SMALL,
    ),
    *(
        Step(f"scenes_{dtype}", f"{SCENES} --config.model.dtype={dtype}", 200, PAPER, TINY)
        for dtype in ("bfloat16", "float16", "float32")
    ),
    Step(
        "resnest",
        f"{STEP} configs/ade20k.py:arm --classes ade20k --step_only",
        240,
        "--batch 16",
        SMALL,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [step.name for step in STEPS]
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--work", type=Path, help="folder for the runs (default OUT/work)")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all steps together")
    parser.add_argument("--only", nargs="+", choices=names, metavar="STEP", help=", ".join(names))
    parser.add_argument("--rehearse", action="store_true", help="small sizes, on any device")
    arguments = parser.parse_args(argv)
    work = arguments.work or arguments.out / "work"
    for folder in (arguments.out, work):
        folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    failed = 0
    for step in STEPS:
        if arguments.only and step.name not in arguments.only:
            continue
        result = run(step, arguments.out, work, end - time.monotonic(), arguments.rehearse)
        failed += result["status"] not in ("passed", "skipped")
        with (arguments.out / "results.jsonl").open("a") as results:
            results.write(json.dumps(result) + "\n")
        print(f"{step.name:16} {result['status']:10} {result['seconds']:7.1f} s", flush=True)
    return 1 if failed else 0


def run(step: Step, out: Path, work: Path, left: float, rehearse: bool) -> dict[str, object]:
    """Run a step and return what goes into the results: name, command, status, seconds, figures.

    `left`: seconds until the end of all steps; a step whose limit is longer is cut there, and one
    that has less than a fifth of its limit is skipped.
    """
    more = step.small if rehearse else step.full
    command = f"{step.command} {more}".strip().format(work=work, name=step.name)
    result: dict[str, object] = {"name": step.name, "command": f"python {command}", "seconds": 0.0}
    limit = min(float(step.seconds), left)
    if step.needs and importlib.util.find_spec(step.needs) is None:
        return result | {"status": "skipped", "output": f"{step.needs} is not installed"}
    if limit < step.seconds / 5:
        return result | {"status": "skipped", "output": "too few minutes left"}
    start = time.monotonic()
    log = out / "runbook.log"
    with log.open("ab") as output:
        output.write(f"\n=== {step.name}: python {command}\n".encode())
        output.flush()
        begin = output.tell()
        # A group of its own: a killed step leaves no process on the device.
        process = subprocess.Popen(
            [sys.executable, *shlex.split(command)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": _python_path()},
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
            status = "passed" if code == 0 else f"exit {code}"
        except subprocess.TimeoutExpired:
            status = "timed out"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    result |= {"status": status, "seconds": round(time.monotonic() - start, 1)}
    with log.open("rb") as printed:
        printed.seek(begin)
        result["output"] = printed.read().decode(errors="replace")[-6000:]
    for figures in (work / f"{step.name}.json", work / step.name / "eval.json"):
        if status == "passed" and figures.exists():
            result["figures"] = json.loads(figures.read_text())
    return result


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    raise SystemExit(main())
