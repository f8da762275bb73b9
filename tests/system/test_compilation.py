"""Compiled programs kept in a folder."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from arm_jax.system import compilation
from arm_jax.system.errors import InputError


@pytest.fixture
def settings():
    before = {
        name: getattr(jax.config, name)
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_a_program_is_written_once_and_found_again(settings, tmp_path):
    folder = tmp_path / "not there yet" / "programs"
    compilation.keep_in(str(folder))

    def compile_anew():
        jax.clear_caches()
        assert jax.jit(lambda x: jnp.sin(x) * 3)(0.0) == 0
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*-cache")}

    first = compile_anew()
    assert first
    assert compile_anew() == first


def test_no_folder_no_change(settings):
    before = jax.config.jax_compilation_cache_dir
    compilation.keep_in("")
    assert jax.config.jax_compilation_cache_dir == before


def test_a_folder_that_cannot_be_made(settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"compilation_cache = .*file.* name another folder"):
        compilation.keep_in(str(tmp_path / "file" / "below"))
