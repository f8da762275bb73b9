"""Asked to stop, a command says one line and ends by the signal's status, wherever it is."""

import os
import signal
import subprocess
import sys
import time

import pytest

from arm_jax.system import signals
from arm_jax.system.outputs import is_running

START = """
import signal, sys, time
if "nohup" not in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests are run by
from arm_jax.system import signals
from arm_jax.system.outputs import is_running
signals.start()
print("ready", flush=True)
"""
WAIT = """
try:
    time.sleep(60)
finally:
    print("cleaned up", flush=True)
"""
DEFERRED = """
with signals.listening() as listener, listener.deferred():
    while listener.number is None:
        time.sleep(0.01)
    print("noted", listener.number, flush=True)
    {then}
"""
# A call of minutes that Python cannot interrupt, as that of a compiler.
NATIVE = """
import hashlib
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


def start(code: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    return process


def end(process: subprocess.Popen) -> tuple[int, str, list[str]]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.splitlines()


@pytest.mark.parametrize("number", signals.STOPPING)
def test_one_line_and_the_status_of_the_signal(number):
    process = start(WAIT)
    process.send_signal(number)
    status, out, lines = end(process)
    assert status == 128 + number and out == "cleaned up\n"
    assert len(lines) == 1 and lines[0].startswith(f"arm_jax: {number.name}: stopped")


def test_one_that_python_drops_in_a_destructor_stops_the_command_all_the_same():
    code = """
class Slow:
    def __del__(self):
        time.sleep(60)
Slow()
print("went on", flush=True)
time.sleep(60)
"""
    process = start(code)
    process.send_signal(signal.SIGTERM)
    status, out, lines = end(process)
    assert status == 143 and out in ("", "went on\n")
    assert len(lines) == 1 and lines[0].startswith("arm_jax: SIGTERM: stopped;")


def test_one_that_a_library_makes_an_error_of_its_own_from_stops_the_command_too():
    """As a C extension does that is half imported."""
    code = """
try:
    time.sleep(60)
except KeyboardInterrupt as error:
    raise ImportError("initialization failed") from error
"""
    process = start(code)
    process.send_signal(signal.SIGTERM)
    status, _, lines = end(process)
    assert status == 143
    assert len(lines) == 1 and lines[0].startswith("arm_jax: SIGTERM: stopped;")


SYSTEM = {
    "GONE": "import os, tempfile; os.chdir(x := tempfile.mkdtemp()); os.rmdir(x)",
    "UNREAD": "import os; r, w = os.pipe(); os.dup2(w, 1); os.close(r)",
    "JAX_CONFIG": "exec('raise ValueError(\"no flag\")', {'__name__': 'jax._src.config'})",
    "JAX_DEVICES": "import os; os.environ['JAX_PLATFORMS'] = 'moon'; "
    "exec('assert False', {'__name__': 'jax._src.xla_bridge'})",
}


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("open('nowhere/x')", "nowhere/x: No such file or directory; correct"),
        ("open('x' * 300)", "xxx: File name too long; correct"),
        ("import os; os.write(os.open('/dev/full', 1), b'x')", "No space left on device: a file"),
        ("GONE; os.getcwd()", "the current folder is not there any more; change"),
        ("UNREAD; print('x', flush=True)", "Broken pipe: nobody reads the output any more"),
        ("JAX_CONFIG", "no flag; correct or unset this environment variable"),
        ("JAX_DEVICES", "JAX finds no such device; JAX_PLATFORMS=moon asks for it: unset that"),
        ("raise BrokenPipeError(32, 'of a socket')", None),
        ("raise OSError('of a library')", None),
        ("raise ValueError", None),
    ],
)
def test_what_the_system_refuses_and_nobody_explained_is_one_line(code, line):
    for name, meant in SYSTEM.items():
        code = code.replace(name, meant)
    status, _, lines = end(start(code))
    if line is None:
        assert status == 1 and lines[0].startswith("Traceback")
    else:
        assert status == 2 and len(lines) == 1 and line in lines[0]


def test_standard_files_that_were_closed_are_there_and_no_other_file_gets_their_number(tmp_path):
    code = """
import sys
from arm_jax.system import signals
signals.start()
print("x")
print("y", file=sys.stderr)
file = open(sys.argv[1], "w")
file.write(str(file.fileno()))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    closed = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command]
    assert subprocess.run(closed, timeout=60).returncode == 0
    assert int((tmp_path / "x").read_text()) > 2


def test_a_deferred_signal_is_noted_and_the_second_of_the_keyboard_ends_at_once():
    process = start(DEFERRED.format(then="print('saved', flush=True)"))
    process.send_signal(signal.SIGTERM)
    status, out, lines = end(process)
    assert (status, out) == (0, "noted 15\nsaved\n")
    assert len(lines) == 1 and "SIGTERM: saving, then stopping" in lines[0]

    process = start(DEFERRED.format(then="time.sleep(60)"))
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "noted 2\n"
    for number in (signal.SIGTERM, signal.SIGHUP):  # these change nothing
        process.send_signal(number)
    time.sleep(signals.APART + 0.1)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    status, _, lines = end(process)
    assert status == 130 and time.monotonic() - began < 5
    assert len(lines) == 2 and "stopped at once" in lines[1]


def test_a_ctrl_c_that_a_launcher_passes_on_as_well_is_one():
    process = start(DEFERRED.format(then="time.sleep(0.5)"))
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert end(process)[0] == 0


def test_what_python_cannot_interrupt_ends_after_a_while_and_at_the_second_at_once():
    process = start(NATIVE)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status, _, lines = end(process)
    assert status == 143 and len(lines) == 1
    assert signals.GRACE - 1 < time.monotonic() - began < 4 * signals.GRACE
    process = start(NATIVE)
    process.send_signal(signal.SIGINT)
    time.sleep(signals.APART + 0.1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    status, _, lines = end(process)
    assert status == 130 and len(lines) == 1 and time.monotonic() - began < signals.GRACE


def test_under_nohup_a_closed_terminal_stops_nothing():
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + START + "time.sleep(1)"
    command = [sys.executable, "-c", code, "nohup"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 0


def test_within_a_deferred_part_another_may_be_left():
    with signals.listening() as listener, listener.deferred():
        with pytest.raises(signals.Interrupted) as caught, listener.raising():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        assert caught.value.number == listener.number == signal.SIGINT
        with pytest.raises(signals.Interrupted), listener.raising():
            pytest.fail("a signal that was noted leaves the next such part too")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


WORKERS = """
import os, sys, time
from arm_jax.system import parallel
def work(number):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece, unlike print
    time.sleep(600)
if __name__ == "__main__":
    from arm_jax.system import signals
    signals.start()
    list(parallel.ordered(work, range(2), 2))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path, number):
    (tmp_path / "script.py").write_text(WORKERS)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    found = [int(process.stdout.readline()) for _ in range(2)]
    if number == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, number)  # as a terminal does: the workers get it too
    _, err = process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while any(map(is_running, found)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, found))
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert len(err.splitlines()) == 1, err


def test_what_is_closed_behind_a_deferred_part_may_take_its_time(monkeypatch):
    ended = []
    monkeypatch.setattr(signals, "GRACE", 0.05)
    monkeypatch.setattr(signals, "end_at_once", ended.append)
    with signals.Listener() as listener:
        with listener.deferred():
            signal.raise_signal(signal.SIGTERM)
        assert listener.number == signal.SIGTERM
        time.sleep(0.3)
    assert not ended


def test_a_signal_that_was_noted_at_the_end_of_a_run_keeps_the_next_from_beginning():
    """As in a grid, whose run is asked to stop in its last step."""
    code = """
import signal
from arm_jax.system import signals
signals.start()
signals.heed()
with signals.listening() as listener, listener.deferred():
    signal.raise_signal(signal.SIGTERM)
print("complete", flush=True)
signals.heed()
print("begun", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 143 and done.stdout == "complete\n"
    assert done.stderr.splitlines()[-1].startswith("arm_jax: SIGTERM: stopped; the same command")


def test_an_error_that_a_library_made_of_a_signal_is_the_signal():
    code = """
import signal
from arm_jax.system import command_line, signals
from arm_jax.system.errors import InputError
signals.start()

@command_line.answered
def main():
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException as error:
        raise InputError("an array cannot be read") from error

main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("arm_jax: SIGINT: stopped; the same command")
