"""Eight simulated devices, quick compilation, strict broadcasting, absl flags marked as read."""

import atexit
import os
import shutil
import signal
import tempfile
import threading

# All take effect only before jax is imported, and in the processes that tests start.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
# XLA's usual level is 3, which takes a sixth longer to compile a small network's step, and three
# times as long for single operations.
os.environ["XLA_FLAGS"] = " ".join(
    ["--xla_backend_optimization_level=2", os.environ.get("XLA_FLAGS", "")]
)

# A shell that runs the tests in the background ignores Ctrl-C for them, which what they start
# inherits; a handler is not inherited.
if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)

# No test writes to the user's cache of compiled programs, nor needs what is there. What several
# tests, workers or the processes they start need is compiled once, operations of one line too.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    programs = tempfile.mkdtemp(prefix="arm_jax_tests.")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs  # the workers inherit it
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, programs, ignore_errors=True)

import jax
import psutil
import pytest
from absl import flags

# A (b, 1) weight that meets a (b,) loss is a bug, not a broadcast.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Grain reads an absl flag, and raises if nobody has parsed the command line.
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()

# `browser` and `open_page`, for tests of pages.
pytest_plugins = ["browsing"]


@pytest.fixture(scope="module", autouse=True)
def _programs_are_dropped():
    """Compiled programs of all tests would be 5 GB, and few are those of two modules."""
    yield
    if psutil.Process().memory_info().rss > 1.5e9:
        jax.clear_caches()


@pytest.fixture(scope="module")
def tiny_network():
    """The smallest network of the paper's experiments is tiny, wherever this module makes it."""
    import tiny

    with pytest.MonkeyPatch.context() as patch:
        tiny.shrink(patch)
        yield


@pytest.fixture(scope="session")
def bucket_service():
    """A server of one bucket, where this process and those that it starts look for gs://."""
    import bucket_server

    with bucket_server.running() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket_server.environment(found).items():
            patch.setenv(name, value)
        yield found


@pytest.fixture
def bucket(bucket_service, monkeypatch):
    """The same without troubles, and without what this process remembers of it."""
    from arm_jax.run import mirror

    monkeypatch.setattr(bucket_service, "trouble", lambda method, path: None)
    monkeypatch.setattr(mirror, "_mirrors", [])
    bucket_service.requests.clear()
    return bucket_service
