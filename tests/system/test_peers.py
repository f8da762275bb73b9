"""Of several processes none goes on for long without the others."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

CODE = """
import sys, time
from arm_jax.system.errors import InputError
from arm_jax.system import coordinator as coordinators
from arm_jax.system import peers, sharding
index, port, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
coordinator = f"127.0.0.1:{port}"
sharding.initialize(coordinators.Group(coordinator, 2, index))
with peers.together(coordinator):
    print("ready", flush=True)
    if what == "wait":
        time.sleep(120)
    if what == "fail" and index == 1:
        raise InputError("of its own")
    if what == "fail":
        time.sleep(120)
"""


def start(what: str) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(index), port, what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for index in range(2)
    ]
    for process in processes:
        # Others write to the terminal too.
        assert any(line == "ready\n" for line in iter(process.stdout.readline, ""))
    return processes


@pytest.mark.parametrize("killed", [0, 1])
def test_if_one_is_killed_the_other_ends_with_one_line(killed):
    processes = start("wait")
    time.sleep(1)
    processes[killed].send_signal(signal.SIGKILL)
    began = time.monotonic()
    other = processes[1 - killed]
    _, err = other.communicate(timeout=60)
    assert time.monotonic() - began < 30
    told = [line for line in err.splitlines() if line.startswith("arm_jax: ")]
    assert len(told) == 1 and f"process {killed} of 2 has ended" in told[0], err
    assert "Traceback" not in err
    assert other.returncode == 1


def test_one_that_fails_takes_the_other_along_and_two_that_finish_do_not():
    processes = start("fail")
    _, err = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1 and "process 1 of 2 has ended" in err
    _, err = processes[1].communicate(timeout=60)
    assert "InputError: of its own" in err
    processes = start("finish")
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
