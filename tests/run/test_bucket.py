"""Runs in a bucket are those on a disk, bit by bit, also when the bucket is in trouble."""

import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tiny
from bucket_runs import FILES, Denials, assert_same_run, forget, saved
from flax import nnx
from PIL import Image
from safetensors.numpy import load_file

import arm_jax
from arm_jax import modes, networks, settings
from arm_jax.data import prepare
from arm_jax.data.labels import STREET_SCENES
from arm_jax.run import arrays, checkpoint_files, configs, loop, mirror, restore, retries
from arm_jax.run import folder as run_folder
from arm_jax.run import review as reviews
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import buckets, sharding
from arm_jax.system.errors import InputError
from arm_jax.weights import export
from scripts import compare
from scripts import export as export_script

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

SMALL = "--config.model.name=deeplabv3plus_resnet10"


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
    command = [sys.executable, "-m", "arm_jax.main", "--config=configs/demo.py:smoke", SMALL]
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
def given(tmp_path_factory):
    """Prepared data, and weights to begin from, on this machine."""
    above = tmp_path_factory.mktemp("given")
    data = prepare.ensure("street_scenes", above / "data", config="smoke", progress=False)
    model = configs.load("configs/demo.py:smoke", [SMALL]).model
    network = networks.create(
        model.name,
        STREET_SCENES.number,
        output_stride=model.output_stride,
        rngs=nnx.Rngs(5),
    )
    export.save_safetensors(network, above / "weights.safetensors")
    return data, above / "weights.safetensors"


def options(data, weights, cache):
    return (
        "--config.data.dataset=prepared",
        f"--config.data.root={data}",
        f"--config.model.pretrained={weights}",
        f"--config.data.staging_folder={cache}",
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory, given, images):
    above = tmp_path_factory.mktemp("local")
    finished(started(above / "run", *options(*given, above / "cache")))
    used(above / "run", images)
    return above / "run"


@pytest.mark.long
def test_smoke_killed_in_a_save_ends_as_on_a_disk(bucket, local, given, images, tmp_path):
    """With workdir, data and weights in the bucket, of whose answers one in five fails."""
    import bucket_server

    data, weights = given
    for path in filter(Path.is_file, data.rglob("*")):
        put(f"smoke/data/{path.relative_to(data).as_posix()}", path.read_bytes())
    put("smoke/weights.safetensors", weights.read_bytes())
    above = "gs://runs-here/smoke"
    inputs = options(f"{above}/data", f"{above}/weights.safetensors", tmp_path / "cache")
    name = "smoke/run"
    trouble, process = bucket_server.one_of_five(), None

    def killing(method, path):
        if method == "POST" and "checkpoints%2F2%2Fstate%2Fmanifest.ocdbt" in path:
            process.kill()
            return 0
        return trouble(method, path)

    bucket.trouble = killing
    process = started(f"gs://runs-here/{name}", *inputs)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL, output
    assert f"{name}/checkpoints/1/commit_success.txt" in bucket.names
    assert f"{name}/checkpoints/2/commit_success.txt" not in bucket.names
    assert f"{name}/.arm_jax.lock" in bucket.names
    bucket.trouble = trouble

    finished(started(f"gs://runs-here/{name}", *inputs))
    assert f"{name}/.arm_jax.lock" not in bucket.names
    forget()
    used(f"gs://runs-here/{name}", images)
    assert_same_run(local, bucket, name, [file for file in FILES if file != "config.json"])
    predicted = [p for p in (local / "predictions").rglob("*") if p.suffix in (".png", ".csv")]
    drawn = list(local.glob("*.png"))
    assert len(predicted) == 3 and len(drawn) >= 4
    for path in [*predicted, *drawn]:
        there = bucket.read(f"{name}/{path.relative_to(local).as_posix()}")
        assert there == path.read_bytes(), path
    assert len(bucket.read(f"{name}/report.html")) > 5000
    assert len(bucket.requests) // 5 >= 20


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


@pytest.fixture
def impatient(monkeypatch):
    """Failures within seconds, where people would wait for minutes."""
    monkeypatch.setattr(arrays, "TRIES", 1)
    monkeypatch.setattr(retries, "PAUSE", 0.1)
    monkeypatch.setattr(mirror, "PATIENCE", 1.0)
    monkeypatch.setattr(mirror, "PAUSE", 0.1)


def test_training_goes_on_while_the_bucket_is_gone(
    tmp_path, bucket, monkeypatch, impatient, capsys
):
    config = small(monkeypatch)
    loop.train(config, tmp_path / "run", mesh=sharding.one_device())
    bucket.trouble = denials = Denials(40)
    capsys.readouterr()
    loop.train(config, "gs://runs-here/away", mesh=sharding.one_device())
    assert denials.left == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "arm_jax:" in line]
    assert len(told) == 1 and "cannot be saved: the bucket denies access (403)" in told[0]
    assert_same_run(tmp_path / "run", bucket, "away", ("metrics.jsonl", "eval.json"))


def test_training_ends_well_when_the_bucket_is_gone_for_good(
    tmp_path, bucket, monkeypatch, impatient, capsys
):
    """It was removed. Which save is the second depends on how long the first takes."""
    config, name = small(monkeypatch), "gone"
    loop.train(config, tmp_path / "run", mesh=sharding.one_device())
    monkeypatch.setattr(retries, "PATIENCE", 2.0)
    seen, gone = set(), [False]

    def trouble(method, path):
        """Answers nothing else once a second checkpoint is begun."""
        seen.update(filter(None, [saved(method, path)]))
        gone[0] = gone[0] or len(seen) > 1
        return 404 if gone[0] else None

    bucket.trouble = trouble
    capsys.readouterr()
    with pytest.raises(InputError, match="nothing could be saved for 2 s: there is no such bucket"):
        loop.train(config, f"gs://runs-here/{name}", mesh=sharding.one_device())
    told = [line for line in capsys.readouterr().err.splitlines() if "arm_jax:" in line]
    assert len(told) == 1 and "cannot be saved" in told[0], told
    bucket.trouble = lambda method, path: None
    place = buckets.Place(mirror.addresses.parse(f"gs://runs-here/{name}", ("gs",)))
    assert checkpoint_files.steps(place / "checkpoints") == [2]
    forget()
    loop.train(config, f"gs://runs-here/{name}", mesh=sharding.one_device())
    assert_same_run(tmp_path / "run", bucket, name, ("metrics.jsonl", "eval.json"))


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


def test_a_table_an_export_and_a_review_of_runs_in_the_bucket(tmp_path, bucket, monkeypatch):
    config = small(monkeypatch)
    rows = [f"{ROOT / 'configs' / 'base.py'}:smoke,{name}" for name in ("base", "arm")]
    names = ("data.size", "data.eval_images", "augment.crop", "log_every")
    overrides = [f"--config.{name}={config[name]}" for name in names]
    overrides += ["--config.steps=4", "--config.eval_every=4", "--config.data.train_images=6"]

    def made(above, exported):
        command = [*rows, "--seeds=0", f"--workdir={above}", *overrides]
        assert compare.main(command, mesh=sharding.one_device()) == 0
        run = f"{above}/smoke+arm/seed_0"
        assert export_script.main([f"--workdir={run}", f"--output={exported}"]) == 0
        reviews.review(None, run)

    made(tmp_path / "table", tmp_path / "here.safetensors")
    forget()
    made("gs://runs-here/table", tmp_path / "there.safetensors")
    exported = [load_file(tmp_path / f"{name}.safetensors") for name in ("here", "there")]
    assert exported[0].keys() == exported[1].keys() and len(exported[0]) > 50
    for key, array in exported[0].items():
        np.testing.assert_array_equal(exported[1][key], array)
    for name in ("table.csv", "smoke+arm/seed_0/review/review.csv"):
        assert bucket.read(f"table/{name}") == (tmp_path / "table" / name).read_bytes()
    for name in ("compare.html", "smoke+arm/seed_0/review/index.html"):
        assert len(bucket.read(f"table/{name}")) > 5000
    # Another run may begin from one there.
    first = restore.tensors(tmp_path / "table" / "smoke+arm" / "seed_0")
    found = loop.first_weights(
        types.SimpleNamespace(
            config=settings.frozen(
                config, {"model.pretrained": "gs://runs-here/table/smoke+arm/seed_0"}
            )
        )
    )
    assert first.keys() == found.keys() and len(found) > 50
    for name, array in first.items():
        np.testing.assert_array_equal(found[name], array)
    # Complete runs are read there, not made again.
    before = [name for name in bucket.names if "/checkpoints/" in name]
    generations = [bucket.generation(name) for name in before]
    forget()
    assert compare.main([*rows, "--seeds=0", "--workdir=gs://runs-here/table", *overrides]) == 0
    assert [bucket.generation(name) for name in before] == generations
    assert bucket.read("table/table.csv") == (tmp_path / "table" / "table.csv").read_bytes()
