"""A run of two processes in a bucket is that of two processes on a disk."""

from pathlib import Path

import numpy as np
import pytest
from bucket_runs import assert_same_run
from group import Groups, Phase
from PIL import Image

pytestmark = pytest.mark.slow

STEPS = 12
SETTINGS = {"steps": STEPS, "eval_every": 6, "save_every": 4}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")
    return folder


def test_two_processes_train_are_signalled_go_on_and_use_the_run(bucket, tmp_path, images):
    def phase(workdir, *tasks, **more):
        return Phase([("train", {"workdir": workdir, **SETTINGS, **more}), *tasks], 2)

    def used(workdir, output):
        predict = {"workdir": workdir, "images": str(images), "output": str(tmp_path / output)}
        return [
            ("evaluate", {"workdir": workdir}),
            ("predict", predict),
            ("predict", {**predict, "output": None}),
            ("predict", {**predict, "output": None}),
            ("review", {"workdir": workdir}),
        ]

    name, local = "gs://runs-here/two/run", tmp_path / "run"
    ended = Groups(tmp_path / "printed").run(
        phase(str(local), *used(str(local), "here")),
        phase(name, signalled=5),
        phase(name, *used(name, "there")),
    )
    for group, status in zip(ended, (0, 143, 0), strict=True):
        for one in group:
            assert one.status == status, (one.out[-800:], one.err[-3000:])
    assert "SIGTERM: saved at step" in ended[1][0].out
    assert "continuing from step" in ended[2][0].out
    assert_same_run(local, bucket, "two/run")
    assert not [name for name in bucket.names if name.endswith(".arm_jax.lock")]
    reviewed = [path for path in (local / "review").rglob("*.csv") if path.is_file()]
    assert len(reviewed) >= 4
    for path in reviewed:
        there = bucket.read(f"two/run/{path.relative_to(local).as_posix()}")
        assert there == path.read_bytes(), path
    predicted = [path for path in (tmp_path / "here").rglob("*.*") if path.suffix != ".jsonl"]
    assert len(predicted) > 9
    for path in predicted:
        there = tmp_path / "there" / path.relative_to(tmp_path / "here")
        assert there.read_bytes() == path.read_bytes(), path
    # Each process uploads what it predicted, and may replace it.
    for place in (local / "predictions", tmp_path / "here"):
        for path in filter(Path.is_file, place.rglob("[!.]*")):
            there = bucket.read(f"two/run/predictions/{path.relative_to(place).as_posix()}")
            assert there == path.read_bytes(), path
    journal = bucket.read("two/run/predictions/.arm_jax.jsonl").decode()
    assert all(f'"labels/{number}.png"' in journal for number in range(3))
