"""Freed blocks are kept where JAX runs on CPUs, and only there."""

import os
import subprocess
import sys

import pytest

# Pages faulted in by writing 64 MiB twice, from a thread as XLA's are.
PROGRAM = """
import resource, sys, threading
import numpy as np
from arm_jax.system import host_memory
done = host_memory.keep_freed() if sys.argv[1] == "keep" else False

def write():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.full(2**26, 1, np.uint8)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

faults = []
thread = threading.Thread(target=write)
thread.start()
thread.join()
print(done, *faults)
"""


def faults(way, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, way],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    done, first, second = result.stdout.split()
    return done == "True", int(first), int(second)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_a_second_block_reuses_the_pages_of_the_first():
    done, first, second = faults("keep")
    if not done:
        pytest.skip("an accelerator's plugin is installed, or this is no glibc")
    assert second < first / 10
    _, first, second = faults("leave")
    assert second > first / 2


def test_a_chosen_allocator_is_left_alone():
    done, _, _ = faults("keep", MALLOC_ARENA_MAX="4")
    assert not done
