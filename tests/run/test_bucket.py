"""Runs in a bucket are those on a disk, bit by bit, also when the bucket is in trouble."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from PIL import Image

import arm_jax
from arm_jax import modes
from arm_jax.data import prepare
from arm_jax.run import checkpoint_files, checkpoints, configs, loop, mirror, retries
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import buckets, sharding
from arm_jax.system.errors import InputError
from arm_jax.weights import export

ROOT = Path(__file__).parents[2]
FILES = ("metrics.jsonl", "eval.json", "confusion.csv", "images.csv", "classes.json", "config.json")
pytestmark = pytest.mark.slow


def assert_same_run(local, bucket, name, files=FILES):
    for file in files:
        assert bucket.read(f"{name}/{file}") == (local / file).read_bytes(), file
    forget()
    one, other = arm_jax.load(local), arm_jax.load(f"gs://runs-here/{name}")
    assert one.step == other.step and one.scores == other.scores
    expected, found = jax.tree.leaves(one.state), jax.tree.leaves(other.state)
    assert len(expected) == len(found) > 50
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def forget():
    """As a new process finds it."""
    mirror._mirrors.clear()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), np.uint8)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{i}.png")
    return folder


def used(folder, images):
    """What is done with a trained run."""
    modes.evaluate(None, folder)
    modes.predict(None, folder, "latest", str(images), None)
    modes.report(None, folder)


def started(workdir, *options):
    """Training in a process of its own, on one device: numbers depend on how many there are."""
    command = [sys.executable, "-m", "arm_jax.main", "--config=configs/demo.py:smoke"]
    return subprocess.Popen(
        [*command, f"--workdir={workdir}", *options],
        cwd=ROOT,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process):
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def local(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("local") / "run"
    finished(started(folder))
    used(folder, images)
    return folder


@pytest.mark.parametrize("failing", [False, True])
def test_smoke_killed_in_a_save_ends_as_on_a_disk(bucket, local, images, failing):
    import bucket_server

    name = f"smoke-{failing}/run"
    trouble = bucket_server.one_of_five() if failing else bucket.trouble
    process = None

    def killing(method, path):
        if method == "POST" and "checkpoints%2F2%2Fstate%2Fmanifest.ocdbt" in path:
            process.kill()
            return 0
        return trouble(method, path)

    bucket.trouble = killing
    process = started(f"gs://runs-here/{name}")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL, output
    assert f"{name}/checkpoints/1/commit_success.txt" in bucket.names
    assert f"{name}/checkpoints/2/commit_success.txt" not in bucket.names
    assert f"{name}/.arm_jax.lock" in bucket.names
    bucket.trouble = trouble

    finished(started(f"gs://runs-here/{name}"))
    assert f"{name}/.arm_jax.lock" not in bucket.names
    forget()
    used(f"gs://runs-here/{name}", images)
    assert_same_run(local, bucket, name)
    predicted = [p for p in (local / "predictions").rglob("*") if p.suffix in (".png", ".csv")]
    assert len(predicted) == 3
    for path in predicted:
        there = bucket.read(f"{name}/{path.relative_to(local).as_posix()}")
        assert there == path.read_bytes(), path
    assert len(bucket.read(f"{name}/report.html")) > 5000
    assert sum(failing and n % 5 == 4 for n in range(len(bucket.requests))) >= 20 * failing


def test_workdir_data_and_weights_in_one_bucket(bucket, local, tmp_path):
    data = prepare.ensure("street_scenes", tmp_path / "data", config="smoke", progress=False)
    for path in filter(Path.is_file, data.rglob("*")):
        put(f"scenes/{path.relative_to(data).as_posix()}", path.read_bytes())
    weights = tmp_path / "weights.safetensors"
    export.save_safetensors(arm_jax.load(local).model, weights)
    put("weights.safetensors", weights.read_bytes())

    def options(root, pretrained):
        return (
            "--config.data.dataset=prepared",
            f"--config.data.root={root}",
            f"--config.model.pretrained={pretrained}",
            f"--config.data.staging_folder={tmp_path / 'cache'}",
        )

    finished(started(tmp_path / "run", *options(data, weights)))
    there = "gs://runs-here/scenes", "gs://runs-here/weights.safetensors"
    finished(started("gs://runs-here/all/run", *options(*there)))
    same = [name for name in FILES if name != "config.json"]
    assert_same_run(tmp_path / "run", bucket, "all/run", same)


def put(name, data):
    buckets.write(mirror.addresses.parse(f"gs://runs-here/{name}", ("gs",)), data)


def small(monkeypatch):
    tiny.shrink(monkeypatch)
    overrides = {
        "steps": 8,
        "data.size": (32, 64),
        "data.eval_images": 3,
        "augment.crop": (32, 32),
        "log_every": 1,
        "eval_every": 4,
        "save_every": 2,
    }
    return configs.load(
        "configs/demo.py:smoke", [f"--config.{k}={v}" for k, v in overrides.items()]
    )


def step_saved(method, path):
    """The step of the checkpoint that a request writes to, if it does."""
    found = re.search(r"%2Fcheckpoints%2F(\d+)%2Fstate", path)
    return found[1] if found and method == "POST" else None


@pytest.fixture
def impatient(monkeypatch):
    """Failures within seconds, where people would wait for minutes."""
    monkeypatch.setattr(checkpoints, "TRIES", 1)
    monkeypatch.setattr(retries, "PAUSE", 0.1)
    monkeypatch.setattr(mirror, "PATIENCE", 1.0)
    monkeypatch.setattr(mirror, "PAUSE", 0.1)


def test_training_goes_on_while_the_bucket_is_gone_and_ends_well_if_it_stays_so(
    tmp_path, bucket, monkeypatch, impatient, capsys
):
    config = small(monkeypatch)
    loop.train(config, tmp_path / "run", mesh=sharding.one_device())
    denied = [0]

    def trouble(method, path):
        """Denies everything, from the first checkpoint on, forty times."""
        if denied[0] < 40 and (denied[0] or step_saved(method, path)):
            denied[0] += 1
            return 403
        return None

    bucket.trouble = trouble
    capsys.readouterr()
    loop.train(config, "gs://runs-here/away", mesh=sharding.one_device())
    assert denied[0] == 40
    told = [line for line in capsys.readouterr().err.splitlines() if "arm_jax:" in line]
    assert len(told) == 1 and "cannot be saved: the bucket denies access (403)" in told[0]
    assert_same_run(tmp_path / "run", bucket, "away", ("metrics.jsonl", "eval.json"))

    # For good. Which save is the second depends on how long the first one takes.
    monkeypatch.setattr(retries, "PATIENCE", 2.0)
    seen, gone = set(), [False]

    def trouble(method, path):
        """Denies everything once a second checkpoint is begun."""
        seen.update(filter(None, [step_saved(method, path)]))
        gone[0] = gone[0] or len(seen) > 1
        return 403 if gone[0] else None

    bucket.trouble = trouble
    with pytest.raises(InputError, match=r"nothing could be saved for 2 s: the bucket denies"):
        loop.train(config, "gs://runs-here/for-good", mesh=sharding.one_device())
    bucket.trouble = lambda method, path: None
    place = buckets.Place(mirror.addresses.parse("gs://runs-here/for-good", ("gs",)))
    assert checkpoint_files.steps(place / "checkpoints") == [2]
    forget()
    loop.train(config, "gs://runs-here/for-good", mesh=sharding.one_device())
    assert_same_run(tmp_path / "run", bucket, "for-good", ("metrics.jsonl", "eval.json"))


def test_a_damaged_checkpoint_is_set_aside_and_copies_are_compared(
    tmp_path, bucket, monkeypatch, capsys
):
    config = small(monkeypatch)
    loop.train(config, "gs://runs-here/hurt", mesh=sharding.one_device())
    # A copy on a disk is compared by the sums that the service gave.
    for name in [n for n in bucket.names if n.startswith("hurt/")]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.read(name))
    copied = tmp_path / "hurt" / "checkpoints" / "8"
    assert checkpoint_files.find_damage(copied) is None
    arrays = max((copied / "state").rglob("*"), key=lambda p: p.stat().st_size)
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(content)
    assert "was changed" in checkpoint_files.find_damage(copied)

    # In the bucket the newest is moved away, and the step is made again.
    name = f"hurt/{arrays.relative_to(tmp_path / 'hurt').as_posix()}"
    address = mirror.addresses.parse(f"gs://runs-here/{name}", ("gs",))
    buckets.write(address, bytes(content))
    before = bucket.read("hurt/metrics.jsonl")
    forget()
    with pytest.raises(InputError, match=r"gs://runs-here/hurt/checkpoints/8 is damaged \(state"):
        arm_jax.load("gs://runs-here/hurt", 8)
    loop.train(config, "gs://runs-here/hurt", mesh=sharding.one_device())
    assert "it is now gs://runs-here/hurt/damaged/8" in capsys.readouterr().out
    assert "hurt/damaged/8/commit_success.txt" in bucket.names
    assert bucket.read("hurt/metrics.jsonl") == before
    assert run_folder.is_run(mirror.folder_of("gs://runs-here/hurt"))
    assert Checkpoints(mirror.folder_of("gs://runs-here/hurt"), read_only=True).latest_step() == 8
