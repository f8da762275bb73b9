"""The command line: one clear line and a status for what the user can mend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    return subprocess.run(
        [sys.executable, "-m", "arm_jax.main", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.arm.pp=3"], "--config.arm.pp: the config has no such key; did you mean arm.p?"),
        (["--config.steps=many"], "steps = 'many'; it must be a whole number of at least 1"),
        (["--mode=trian"], "value should be one of <train|evaluate|report|predict|server|show>"),
        (["--wrokdir=x"], "Unknown command line flag 'wrokdir'"),
        (["stray"], "unexpected argument 'stray'"),
        (["--processes=2"], "need --coordinator"),
        (["--mode=evaluate"], "does not exist; give --workdir the folder of a trained run"),
        (["--mode=predict"], "--mode predict needs --input"),
        (["--mode=server"], "--mode server needs --input, a folder or zip of the test images"),
        (["--config.batch_size=0"], "batch_size = 0"),
    ],
)
def test_mistakes_are_one_line_with_status_two(tmp_path, arguments, message):
    done = run(f"--workdir={tmp_path / 'run'}", "--config=configs/demo.py:smoke", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and message in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("configs/nowhere.py", "configs/nowhere.py: no such file; configs has ade20k.py"),
        ("configs/demo.py:lineer", "no row 'lineer' in this config; there are base, arm, linear"),
    ],
)
def test_a_config_that_cannot_be_loaded_is_one_line(tmp_path, config, message):
    done = run(f"--workdir={tmp_path / 'run'}", f"--config={config}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and message in done.stderr
