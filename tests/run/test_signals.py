"""Several processes that are asked to stop agree on the step."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

CODE = """
import sys, time
from arm_jax.system import coordinator as coordinators
from arm_jax.system import peers, sharding, signals
signals.start()
from arm_jax.run.signals import Requests
index, address = int(sys.argv[1]), sys.argv[2]
sharding.initialize(coordinators.Group(address, 2, index))
with peers.together(address), signals.listening() as listener, listener.deferred():
    requests = Requests(listener)
    for step in range(1, 3000):
        number = requests.received(step)
        if number is not None:
            print("stopped", step, number, flush=True)
            break
        if step == 1:
            print("ready", flush=True)
        time.sleep(0.02)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_processes_stop_after_the_same_step(number):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(index), address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        )
        for index in range(2)
    ]
    for process in processes:
        assert any(line == "ready\n" for line in iter(process.stdout.readline, ""))
    time.sleep(0.5)
    processes[1].send_signal(number)  # to one of them alone
    outputs = [process.communicate(timeout=90)[0] for process in processes]
    stops = [next(x for x in out.splitlines() if x.startswith("stopped")) for out in outputs]
    steps, numbers = zip(*(map(int, stop.split()[1:]) for stop in stops), strict=True)
    assert steps[0] == steps[1]
    assert numbers == (number, number)
    assert [process.returncode for process in processes] == [0, 0]
