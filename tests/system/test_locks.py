"""A folder has one writer; the lock ends with it, and its message names it."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from arm_jax.system import locks
from arm_jax.system.errors import InputError

HOLD = """
import sys, time
from arm_jax.system import locks
with locks.held(sys.argv[1]) as locked:
    print(locked, flush=True)
    time.sleep(600)
"""


def holder(folder) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    return process


def test_the_second_is_refused_with_host_and_process_until_the_first_is_killed(tmp_path):
    process = holder(tmp_path)
    with pytest.raises(locks.Busy) as caught, locks.held(tmp_path):
        pass
    assert f"is in use by process {process.pid} on {socket.gethostname()} since 2" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with locks.held(tmp_path) as locked:
        assert locked


def test_one_process_may_not_hold_it_twice_and_may_after_another(tmp_path):
    for _ in range(3):
        with locks.held(tmp_path), pytest.raises(locks.Busy), locks.held(tmp_path):
            pass


def test_a_lock_file_of_rubbish_is_no_hindrance(tmp_path):
    (tmp_path / locks.LOCK).write_bytes(b"\xff\xfe")
    with locks.held(tmp_path) as locked:
        assert locked
        (tmp_path / locks.LOCK).write_text(" []")
        with pytest.raises(locks.Busy, match="is in use by another process"), locks.held(tmp_path):
            pass


def test_waiting_ends_when_the_other_does(tmp_path):
    process = holder(tmp_path)
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("argv[1])", "argv[1], wait=60.0)"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    process.kill()
    process.wait()
    assert waiting.stdout.readline() == "True\n"
    waiting.kill()
    waiting.wait()


def test_without_locks_the_work_goes_on_and_a_folder_that_cannot_be_written_is_named(
    tmp_path, monkeypatch
):
    def unsupported(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(locks.filelock.FileLock, "acquire", unsupported)
        with locks.held(tmp_path) as locked:
            assert not locked
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(InputError, match="cannot be written"),
        locks.held(tmp_path / "file"),
    ):
        pass
