"""Of several processes none goes on for long without the others."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import arm_jax

HOST = socket.gethostname()
PACKAGE = Path(arm_jax.__file__).parent
CODE = """
import os, sys, time
def hook(kind, error, trace):  # as `main.console` ends
    print(f"{kind.__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(2)
sys.excepthook = hook
from arm_jax.system.errors import InputError
from arm_jax.system import coordinator as coordinators
from arm_jax.system import connections, peers, processes, sharding
index, port, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
coordinator = f"127.0.0.1:{port}"
peers.BEAT = 0.5
if what in ("silent", "behind"):  # else a busy machine would be either
    connections.SILENCE, peers.BEHIND = 4.0, 3.0
sharding.initialize(coordinators.Group(coordinator, 2, index))
facts = {"steps": 10 + index, "seed": 0} if what == "differ" else {"seed": 0}
print("ready" if what in ("differ", "code") else "", flush=True)
with peers.together(coordinator, facts):
    print("ready", flush=True)
    if what == "data":
        from arm_jax.data import records, sources
        source = sources.open_source("scenes", images=3, size=(32, 64))
        records.compare(source, "training")
        print("the same", flush=True)
        source = sources.open_source("scenes", images=3 + index, size=(32, 64))
        records.compare(source, "training")
    if what == "behind":
        time.sleep(2)
        for _ in range(2 - index):
            processes.moved()
        time.sleep(120)
    if what in ("wait", "silent"):
        time.sleep(120)
    if what == "fail" and index == 1:
        raise InputError("of its own")
    if what == "fail":
        time.sleep(120)
"""


def start(what: str, second: Path | None = None) -> list[subprocess.Popen]:
    """Two processes; the `second` one runs the package in another folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(index), port, what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=second if index else None,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for index in range(2)
    ]
    for process in processes:
        # Others write to the terminal too.
        assert any(line == "ready\n" for line in iter(process.stdout.readline, ""))
    return processes


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_if_one_is_killed_the_other_ends_with_one_line(killed):
    processes = start("wait")
    time.sleep(1)
    processes[killed].send_signal(signal.SIGKILL)
    began = time.monotonic()
    other = processes[1 - killed]
    _, err = other.communicate(timeout=60)
    assert time.monotonic() - began < 30
    told = [line for line in err.splitlines() if line.startswith("arm_jax: ")]
    assert len(told) == 1 and f"process {killed} of 2 on {HOST} has ended" in told[0], err
    assert "Traceback" not in err
    assert other.returncode == 1


@pytest.mark.slow
def test_one_that_fails_takes_the_other_along_and_two_that_finish_do_not():
    processes = start("fail")
    _, err = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1 and f"process 1 of 2 on {HOST} has ended" in err
    _, err = processes[1].communicate(timeout=60)
    assert "InputError: of its own" in err
    processes = start("finish")
    assert [process.wait(timeout=120) for process in processes] == [0, 0]


@pytest.mark.parametrize(
    ("what", "difference"),
    [
        ("differ", "steps is 11, not 10;"),
        pytest.param("data", "the digest of the training data is '", marks=pytest.mark.slow),
        ("code", "the file arm_jax/losses.py is '"),
    ],
)
def test_processes_that_differ_all_end_with_one_line_that_names_host_process_and_what(
    what, difference, tmp_path
):
    shutil.copytree(PACKAGE, tmp_path / "arm_jax", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "arm_jax" / "losses.py", "a") as file:
        file.write("# changed on one machine\n")
    for process in start(what, tmp_path if what == "code" else None):
        out, err = process.communicate(timeout=60)
        line = err.strip().splitlines()[-1]
        assert f"InputError: process 1 of 2 on {HOST} differs from process 0 on {HOST}:" in line
        assert difference in line and process.returncode == 2
        assert ("the same" in out) == (what == "data")


@pytest.mark.slow
def test_one_that_is_silent_and_one_that_stays_behind_are_named_and_all_end():
    processes = start("silent")
    processes[1].send_signal(signal.SIGSTOP)
    _, err = processes[0].communicate(timeout=60)
    assert f"process 1 of 2 on {HOST} has been silent for 4 s, so process 0" in err
    processes[1].send_signal(signal.SIGCONT)
    _, err = processes[1].communicate(timeout=60)
    assert f"process 1 of 2 on {HOST} has been silent for 4 s, so process 1" in err
    assert [process.returncode for process in processes] == [1, 1]
    for process in start("behind"):
        _, err = process.communicate(timeout=60)
        assert f"process 1 of 2 on {HOST} has been at one place for" in err
        assert process.returncode == 1
