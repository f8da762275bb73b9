"""Compiled programs kept in a folder, and scalars that are computed once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from arm_jax.system import caches, compilation
from arm_jax.system.errors import InputError

ROOT = Path(__file__).parents[2]
NAMES = (
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture
def settings():
    before = {name: getattr(jax.config, name) for name in NAMES}
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compile_anew(folder):
    """Name and time of each program that is kept, after one was needed."""
    jax.clear_caches()
    assert jax.jit(lambda x: jnp.sin(x) * 3)(0.0) == 0
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*-cache")}


@pytest.mark.slow
def test_a_program_is_written_once_and_found_again(settings, tmp_path):
    folder = tmp_path / "not there yet" / "programs"
    compilation.keep_in(str(folder))
    first = compile_anew(folder)
    assert first
    assert compile_anew(folder) == first


def test_programs_of_another_kind_of_machine_are_not_seen(settings, tmp_path, monkeypatch):
    compilation.keep_in(str(tmp_path))
    first = compile_anew(tmp_path)
    monkeypatch.setattr(compilation, "machine", lambda: "another")
    compilation.keep_in(str(tmp_path))
    assert len(list(tmp_path.rglob("*-cache"))) == len(first)
    compile_anew(tmp_path)
    assert len(list(tmp_path.rglob("*-cache"))) == 2 * len(first)


def test_a_program_cut_off_while_written_is_made_again(settings, tmp_path):
    compilation.keep_in(str(tmp_path))
    first = compile_anew(tmp_path)
    for program in tmp_path.rglob("*-cache"):
        program.write_bytes(program.read_bytes()[:50])
        program.with_name(program.name.removesuffix("-cache") + "-atime").unlink()
    compilation.keep_in(str(tmp_path))
    assert not list(tmp_path.rglob("*-cache"))
    again = compile_anew(tmp_path)
    assert set(again) == set(first) and again != first


def test_the_oldest_programs_go_when_there_are_too_many(settings, tmp_path, monkeypatch):
    compilation.keep_in(str(tmp_path))
    compile_anew(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*-cache"))
    monkeypatch.setattr(compilation, "MOST_BYTES", 2 * size)
    compilation.keep_in(str(tmp_path))
    for factor in range(4, 9):
        jax.jit(lambda x, factor=factor: jnp.sin(x) * factor)(0.0)
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*-cache"))
    assert 0 < kept <= 2 * size


def test_the_users_folder_unless_jax_has_one(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(
        caches.platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "own")
    )
    compilation.keep_in("auto")
    assert compile_anew(tmp_path / "own" / "programs")
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    compilation.keep_in("auto")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "jax")


def test_no_folder_no_change(settings):
    compilation.keep_in("")
    assert jax.config.jax_compilation_cache_dir is None


def test_a_named_folder_that_cannot_be_made_is_refused(settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"compilation_cache = .*file.* name another folder"):
        compilation.keep_in(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("full", [False, True])
def test_a_cache_folder_that_cannot_be_written_costs_a_line(
    settings, tmp_path, monkeypatch, capsys, full
):
    (tmp_path / "file").write_text("")
    place = tmp_path if full else tmp_path / "file"
    monkeypatch.setattr(caches.platformdirs, "user_cache_dir", lambda *_, **__: str(place))
    if full:
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(compilation.shutil, "disk_usage", lambda path: usage)
    compilation.keep_in("auto")
    printed = capsys.readouterr()
    words = printed.out + printed.err
    assert words.count("\n") == 1
    reason = "No space left on device" if full else "Not a directory"
    assert "compiled programs are not kept" in words and reason in words
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.long
def test_a_second_run_takes_the_programs_of_the_first_and_trains_the_same(tmp_path):
    def train(name):
        # As for people, and not in the quick way and with the cache of the tests.
        ours = (
            "XLA_FLAGS",
            "JAX_COMPILATION_CACHE_DIR",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        )
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        environment |= {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
        environment["JAX_ENABLE_COMPILATION_CACHE"] = "true"
        command = ["-m", "arm_jax.main", "--config=configs/demo.py:smoke"]
        command += [f"--workdir={tmp_path / name}", "--config.model.name=deeplabv3plus_resnet10"]
        command += [f"--config.compilation_cache={tmp_path / 'programs'}"]
        child = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        programs = {p.name: p.stat().st_mtime_ns for p in tmp_path.rglob("*train_step*-cache")}
        metrics = (tmp_path / name / "metrics.jsonl").read_text()
        return programs, metrics, usage.ru_utime + usage.ru_stime

    programs, metrics, seconds = train("first")
    assert programs
    again, same, quickly = train("second")
    assert (again, same) == (programs, metrics)
    assert quickly < 0.7 * seconds


def test_a_scalar_that_is_computed_once_is_no_part_of_the_kernels_that_use_it():
    def step(rate, tensors, once):
        factor = jnp.maximum(rate * 3, 1.0)
        factor = compilation.computed_once(factor) if once else factor
        return [tensor * factor for tensor in tensors]

    tensors = [jnp.ones((size, 7)) for size in (64, 80, 96)]
    texts = [
        jax.jit(step, static_argnums=2).lower(jnp.float32(0.5), tensors, once).compile().as_text()
        for once in (False, True)
    ]
    assert [text.count(" maximum(") for text in texts] == [3, 1]
    for once in (False, True):
        for result, tensor in zip(step(0.5, tensors, once), tensors, strict=True):
            assert (result == 1.5 * tensor).all()


def test_all_true():
    assert compilation.all_true(jnp.array([True, True]))
    assert not compilation.all_true(jnp.array([True, False, True]))
