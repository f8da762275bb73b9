"""What Windows lacks is not needed to import the package, and refused in one line where it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from arm_jax.data import prepare, prepared
from arm_jax.system.errors import InputError

IMPORT_ALL = """
import importlib, os, pkgutil, signal, subprocess, sys, types
for absent in ("fcntl", "resource", "termios", "pwd", "grp", "array_record"):
    sys.modules[absent] = None
sys.modules["msvcrt"] = types.ModuleType("msvcrt")  # which Windows has
del signal.SIGHUP, os.O_NONBLOCK
import arm_jax
for module in pkgutil.walk_packages(arm_jax.__path__, "arm_jax."):
    if module.name != "arm_jax.__main__":
        importlib.import_module(module.name)
"""


@pytest.mark.slow
def test_every_module_is_imported_without_what_windows_lacks():
    subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], check=True, cwd=Path(__file__).parents[2], timeout=120
    )


def test_prepared_data_names_the_package_that_windows_lacks(monkeypatch, tmp_path):
    monkeypatch.setattr(prepared.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(InputError, match=r"array_record.* no wheel for Windows; use .*'folders'"):
        prepared.TfdsSource(tmp_path, "train")
    with pytest.raises(InputError, match=r"street_scenes: .*array_record"):
        prepare.ensure("street_scenes", tmp_path)
