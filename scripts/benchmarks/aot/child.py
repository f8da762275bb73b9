"""Compile in a process of its own, which the compiler may abort, and report what became of it."""

import importlib.util
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arm_jax.system.errors import InputError

BENCHMARKS = Path(__file__).resolve().parents[1]
CHECKOUT = BENCHMARKS.parents[1]
PLUGINS = {"cuda": "jax_plugins.xla_cuda13", "tpu": "libtpu"}
UNTIL = ("end", "hlo")
POLL_SECONDS = 0.25
# Where a GPU is there, XLA times Triton's and cuBLAS's kernels of each matrix product and leaves
# out what cannot be compiled. Without one it takes Triton's, and fails if that finds no tiles.
# The second is how jaxlib 0.11 words it.
NO_TILES = ("Couldn't find output tile sizes", "No supported config found for HLO: %gemm_fusion")
BY_CUBLAS = "--xla_gpu_enable_triton_gemm=false"
MOST_OF_A_MESSAGE = 300


@dataclass(frozen=True)
class Job:
    """What to compile.

    Attributes:
      row: a config file, with rows behind a colon.
      overrides: such as "--config.batch_size=8".
      platform: "cuda" or "tpu".
      topology: see `targets.device`.
      evaluate: labels of whole images, instead of the training step.
      size: height and width of these images.
      classes: a benchmark's name or a number, where the config does not say.
    """

    row: str
    overrides: tuple[str, ...] = ()
    platform: str = "cuda"
    topology: str = "1x1x1"
    evaluate: bool = False
    size: tuple[int, int] | None = None
    classes: str | None = None

    @property
    def program(self) -> str:
        """The compiler's name of it."""
        return "jit_evaluate" if self.evaluate else "jit_train_step"


class CompileError(RuntimeError):
    """The compiler refused the program, or aborted; the message is one line."""


@dataclass(frozen=True)
class Result:
    """What the compiler left.

    Attributes:
      facts: as from `program.trace`, and "cpu_seconds" of the whole process.
      text: of the optimised program.
      memory: the compiler's report of how much memory it needs.
    """

    facts: dict[str, Any]
    text: str
    memory: str


def require(platform: str, find: Any = importlib.util.find_spec) -> None:
    """That this Python has the compiler of a platform.

    Raises:
      InputError: it has not; names the remedy.
    """
    try:
        found = find(PLUGINS[platform])
    except ModuleNotFoundError:
        found = None
    if not found:
        raise InputError(
            f"--platform {platform}: {sys.executable} has no {PLUGINS[platform]}, the compiler for"
            " it; run `make aot`, then this with .venv-aot/bin/python"
        )


def run(job: Job, folder: Path, until: str = "end", timeout: float = 7200) -> Result:
    """Compile, to the end or until the optimised program and its memory are known.

    If Triton finds no tiles for a matrix product, which costs a program nothing where a GPU is,
    then once more with all products by cuBLAS; the facts "products" say so.

    Args:
      job: what.
      folder: exists and is empty; keeps the compiler's files and its log.
      until: "end"; or "hlo", without generating code for each kernel, which takes longest.
      timeout: seconds.

    Raises:
      InputError: the job cannot be built; the message names the value.
      CompileError: the compiler fails, or takes longer than `timeout`.
    """
    try:
        result = _run(job, folder, until, timeout, ())
    except CompileError as error:
        if not any(words in str(error) for words in NO_TILES):
            raise
        again = folder / "cublas"
        again.mkdir()
        result = _run(job, again, until, timeout, (BY_CUBLAS,))
        result.facts["products"] = f"by cuBLAS alone; with Triton: {error}"
    return result


def _run(job: Job, folder: Path, until: str, timeout: float, flags: tuple[str, ...]) -> Result:
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, str(BENCHMARKS / "aot" / "program.py"), str(folder)],
            env=environment(folder / "dump", flags),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            stopped = _wait(process, folder, job, until, timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not stopped and process.returncode != 0:
        raise failure(folder, process.returncode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = json.loads((folder / "facts.json").read_text())
    facts["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    text, memory = _dumped(folder, job)
    if text is None or memory is None:
        raise CompileError(f"the compiler left no program of {job.program} in {folder / 'dump'}")
    return Result(facts, text.read_text(), memory.read_text())


def environment(
    dump: Path, more: Sequence[str] = (), variables: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables of the process that compiles, with `more` of XLA's flags."""
    flags = [
        variables.get("XLA_FLAGS", ""),
        *more,
        f"--xla_dump_to={dump}",
        "--xla_dump_hlo_as_text=true",
        "--xla_gpu_autotune_level=0",  # or it would run the kernels
    ]
    paths = [str(BENCHMARKS), str(CHECKOUT), variables.get("PYTHONPATH", "")]
    return {
        # libtpu asks the network for the machine that it runs on, unless it is told.
        **{"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"},
        **variables,
        "XLA_FLAGS": " ".join(filter(None, flags)),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
    }


def _wait(
    process: subprocess.Popen[bytes], folder: Path, job: Job, until: str, timeout: float
) -> bool:
    """Until the process ends, or has gone far enough. Returns whether it did the latter."""
    start, sizes = time.monotonic(), [0, 0]
    while process.poll() is None:
        if time.monotonic() - start > timeout:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CompileError(f"it takes longer than {timeout:.0f} s; see --timeout")
        time.sleep(POLL_SECONDS)
        if until == "hlo":
            # Either may be there before the other, and is whole once it has stopped growing.
            found = _dumped(folder, job)
            previous, sizes = sizes, [path.stat().st_size if path else 0 for path in found]
            if min(sizes) > 0 and sizes == previous:
                return True
    return False


def _dumped(folder: Path, job: Job) -> tuple[Path | None, Path | None]:
    """The optimised program and its memory report, where they are there."""

    def newest(end: str) -> Path | None:
        return max((folder / "dump").glob(f"*{job.program}.*{end}"), default=None)

    return (
        newest("after_optimizations.txt"),
        newest("after_optimizations-memory-usage-report.txt"),
    )


def failure(folder: Path, status: int) -> Exception:
    """What a process that ended with another status than 0 has to say."""
    if (folder / "error.json").exists():
        error = json.loads((folder / "error.json").read_text())
        if error["input"]:
            return InputError(error["message"])
        return CompileError(one_line(error["message"]))
    log = (folder / "log").read_text(errors="replace")
    checks = re.findall(r"[\w.]+\.(?:cc|h):\d+\] .*", log)
    checks.sort(key=lambda line: "Check failed" in line)  # the last is what ended it
    if status < 0:
        name = signal.Signals(-status).name
        said = one_line(checks[-1]) if checks else f"it gave no reason; see {folder / 'log'}"
        return CompileError(f"the compiler aborted ({name}): {said}")
    lines = [line for line in log.splitlines() if line.strip()]
    return CompileError(one_line(lines[-1]) if lines else f"exit status {status}")


def one_line(text: str) -> str:
    """The text without line breaks, cut where it gets long."""
    text = " ".join(text.split())
    return text if len(text) <= MOST_OF_A_MESSAGE else text[: MOST_OF_A_MESSAGE - 3] + "..."
