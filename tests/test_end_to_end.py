"""Whole runs as users start them: killed, terminated, split over processes, at full size."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def start(
    workdir: Path, *arguments: str, devices: int = 1, recorded: bool = False
) -> subprocess.Popen:
    """The program in a process of its own; with the settings that its folder has if `recorded`."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
    }
    command = [sys.executable, "-m", "arm_jax.main", f"--workdir={workdir}"]
    if not recorded:
        command += ["--config=configs/demo.py:smoke", "--config.steps=12"]
        command += ["--config.model.name=deeplabv3plus_resnet10"]
        command += ["--config.save_every=3", "--config.eval_every=6"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def final_state(workdir: Path, step: int | None = None) -> dict[str, np.ndarray]:
    """Every array of the last checkpoint, or of that of a step, by Orbax's own reader."""
    steps = [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal()]
    step = max(steps) if step is None else step
    newest = (workdir / "checkpoints" / str(step) / "state").absolute()
    reader = ocp.PyTreeCheckpointer()
    as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
        reader.metadata(newest).item_metadata.tree,
    )
    tree = reader.restore(newest, restore_args=as_numpy)
    leaves = {}

    def walk(path: str, node: object) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(f"{path}/{key}", value)
        elif isinstance(node, list | tuple):
            for key, value in enumerate(node):
                walk(f"{path}/{key}", value)
        elif node is not None:
            leaves[path] = np.asarray(node)

    walk("", tree)
    return leaves


def assert_same_run(one: Path, other: Path) -> None:
    expected, found = final_state(one), final_state(other)
    assert expected.keys() == found.keys() and len(expected) > 100
    for path, array in expected.items():
        np.testing.assert_array_equal(array, found[path], err_msg=path)
    for name in ("metrics.jsonl", "eval.json", "confusion.csv"):
        assert (one / name).read_text() == (other / name).read_text(), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    finish(start(workdir))
    return workdir


# The campaign of faults, which CI runs, kills and stops commands too.
@pytest.mark.long
def test_killed_at_several_moments_it_ends_bit_identically(tmp_path, uninterrupted):
    workdir = tmp_path / "run"
    for moment in (1, 4, 8):  # the third is during or after the first evaluation
        process = start(workdir)
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and process.poll() is None:
            lines = (
                (workdir / "metrics.jsonl").read_text()
                if workdir.exists() and (workdir / "metrics.jsonl").exists()
                else ""
            )
            if any(json.loads(x)["step"] >= moment for x in lines.splitlines() if x.endswith("}")):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(start(workdir))
    assert_same_run(uninterrupted, workdir)


@pytest.mark.long
def test_sigterm_saves_first_and_the_same_command_continues(tmp_path, uninterrupted):
    workdir = tmp_path / "run"
    process = start(workdir, "--config.save_every=1000")
    for line in process.stdout:
        if line.startswith("step 4/"):
            process.send_signal(signal.SIGTERM)
            break
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 143
    assert "SIGTERM: saved at step" in output
    saved = [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal()]
    assert max(saved) >= 4
    assert "continuing from step" in finish(start(workdir))
    assert_same_run(uninterrupted, workdir)


def test_a_folder_is_enough_to_go_on_for_more_steps_and_to_evaluate(tmp_path):
    workdir, moved = tmp_path / "run", tmp_path / "moved"
    finish(start(workdir, "--config.steps=2"))
    workdir.rename(moved)
    output = finish(start(moved, "--config.steps=4", "--config.log_every=2", recorded=True))
    assert "goes on to step 4, not 2" in output and "continuing from step 2 of 4" in output
    assert "without effect on weights or scores: log_every = 2" in output
    logged = [json.loads(x)["step"] for x in (moved / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(logged)) == [1, 2, 4]
    during = (moved / "eval.json").read_text()
    evaluated = finish(start(moved, "--mode=evaluate", recorded=True))
    assert "restored step 4" in evaluated
    assert (moved / "eval.json").read_text() == during
    refused = start(moved, "--config.arm.p=3", recorded=True)
    output, _ = refused.communicate(timeout=300)
    assert refused.returncode == 2 and "(arm.p: 2.0 there, 3.0 now)" in output


def test_two_processes_equal_one(tmp_path):
    """Four devices in one process, and twice two.

    One step, since the sums' order differs and training multiplies the rounding at each step.
    """
    short = ["--config.steps=1", "--config.eval_every=1"]
    # SGD's momentum is the gradient; the demo's optimisers divide it by its own size.
    short += ["--config.optimizer.kind=sgd", "--config.arm.lr_multiplier=15"]
    finish(start(tmp_path / "one", *short, devices=4))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        start(
            tmp_path / "two",
            f"--coordinator=127.0.0.1:{port}",
            "--processes=2",
            f"--process={i}",
            *short,
            devices=2,
        )
        for i in range(2)
    ]
    for process in processes:
        finish(process)
    one, two = final_state(tmp_path / "one"), final_state(tmp_path / "two")
    momentum = {path for path in one if "/trace/" in path}  # after one step, the gradient
    assert len(momentum) > 50
    for path in one.keys() - momentum:
        np.testing.assert_allclose(one[path], two[path], rtol=1e-5, atol=1e-4, err_msg=path)
    # BatchNorm of few nearly equal values enlarges rounding: changing the image by one unit in
    # the last place moves some gradients by 0.8 % of their norm. Statistics or norms by the
    # process would move them by tens of per cent.
    for player in ("segmenter", "arm"):
        paths = [path for path in momentum if f"/trace/{player}/" in path]
        whole = np.sqrt(sum(np.sum(np.square(one[path])) for path in paths))
        for path in paths:
            error = np.linalg.norm(one[path] - two[path])
            assert error <= 0.03 * np.linalg.norm(one[path]) + 1e-3 * whole, (path, error)
    assert (tmp_path / "one" / "confusion.csv").read_text() == (
        tmp_path / "two" / "confusion.csv"
    ).read_text()
    for name in ("one", "two"):
        assert (tmp_path / name / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.long), "float16"])
def test_the_paper_configuration_makes_a_step_at_full_size(tmp_path, dtype):
    """ResNet-101 at output stride 8 with all its channels; only the crop is small."""
    output = finish(
        start(
            tmp_path / dtype,
            "--config.model.name=deeplabv3plus_resnet101",
            "--config.model.output_stride=8",
            f"--config.model.dtype={dtype}",
            "--config.batch_size=2",
            "--config.steps=2",
            "--config.eval_every=2",
            "--config.evaluation.batch_size=1",
            "--config.data.eval_images=1",
            "--config.augment.crop=(64, 64)",
        )
    )
    assert "deeplabv3plus_resnet101, output stride 8, " + dtype in output
    records = [json.loads(x) for x in (tmp_path / dtype / "metrics.jsonl").read_text().splitlines()]
    first = next(r for r in records if "loss" in r)
    # ln(11) = 2.40: an untrained classifier with small weights knows nothing.
    assert first["loss"] == pytest.approx(np.log(11), abs=0.3) or first["skipped"] == 1
