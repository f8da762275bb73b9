"""What is at the top of a checkout comes with the package, and is found from any folder."""

import subprocess
import sys
from pathlib import Path

import pytest

import arm_jax
from arm_jax.data import sources
from arm_jax.run import configs
from arm_jax.system import config_files, shipped
from arm_jax.system.errors import InputError

ROOT = Path(__file__).parents[2]


def test_folders_of_the_checkout_are_found():
    for name in ("configs", "datasets", "scripts"):
        assert shipped.folder(name) == ROOT / name


def test_a_copy_inside_the_package_goes_first(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path)
    assert shipped.folder("configs") == tmp_path / "configs"
    assert shipped.folder("scripts") == tmp_path.parent / "scripts"


@pytest.mark.parametrize("row", ["configs/demo.py:smoke", "demo.py:smoke", "demo:smoke"])
def test_configs_of_the_package_are_named_from_any_folder(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_files.load(row).steps == 2


def test_a_file_that_is_there_goes_before_the_package_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.py").write_text(
        "from arm_jax.configs import base\n"
        "def get_config():\n"
        "    return base.apply_rows(base.get_config(), 'linear')\n"
    )
    assert config_files.load("demo.py").arm.kind == "linear"


def test_a_run_is_named_by_its_config():
    assert configs.default_workdir("configs/demo.py") == "runs/demo"
    assert configs.default_workdir("/x/ade20k.py:arm,smoke") == "runs/ade20k_arm_smoke"
    with pytest.raises(InputError, match="--workdir is missing"):
        configs.default_workdir(None)


def test_the_usual_folder_of_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARM_JAX_DATA", raising=False)
    with pytest.raises(InputError, match=r"ARM_JAX_DATA.* is not set.*leftImg8bit.*register at"):
        sources.open_source("cityscapes")
    (tmp_path / "data/cityscapes").mkdir(parents=True)
    assert sources.usual_root("cityscapes") == Path("data/cityscapes")
    monkeypatch.setenv("ARM_JAX_DATA", str(tmp_path / "all"))
    assert sources.usual_root("cityscapes") == Path("data/cityscapes")
    (tmp_path / "all/cityscapes").mkdir(parents=True)
    assert sources.usual_root("cityscapes") == tmp_path / "all/cityscapes"
    with pytest.raises(InputError, match=f"camvid is not at {tmp_path}/all/camvid and "):
        sources.open_source("camvid")


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "arm_jax", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_commands_are_the_modes_and_the_scripts():
    assert run("--version").stdout == f"arm_jax {arm_jax.__version__}\n"
    assert run("show", "--config", "demo:linear,smoke").stdout.startswith("changed against")
    assert "usage: check_dataset.py" in run("check", "--help").stdout
    unknown = run("trian")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("arm_jax: no command 'trian'; there are train, evaluate,")
    assert unknown.stderr.count("\n") == 1
    missing = run("predict", "--input", "x")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
