"""A run of two processes in a bucket is that of two processes on a disk."""

import signal

import numpy as np
import pytest
from bucket_runs import Denials, assert_same_run, saved, whole
from group import Groups, Phase
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_network")]

STEPS = 12
SETTINGS = {"steps": STEPS, "eval_every": STEPS, "save_every": 4, "log_images": False}


def train(workdir, **more):
    return ("train", {"workdir": workdir, **SETTINGS, **more})


def used(workdir, images, output):
    predict = {"workdir": workdir, "images": str(images), "output": output}
    return [("evaluate", {"workdir": workdir}), ("predict", predict)]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with images, an undisturbed `run` on a disk, and what it predicts of them."""
    above = tmp_path_factory.mktemp("here")
    (above / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(above / "images" / f"{number}.png")
    run = str(above / "run")
    tasks = [train(run), *used(run, above / "images", str(above / "predicted"))]
    (group,) = Groups(above / "printed").run(Phase(tasks, 2))
    assert [one.status for one in group] == [0, 0], group[0].err[-3000:]
    return above


def test_two_processes_are_signalled_and_killed_go_on_and_use_the_run(bucket, tmp_path, here):
    """The last process alone gets the signal, and is killed in a save when it had gone on."""
    name = "gs://runs-here/two/run"
    groups = Groups(tmp_path / "printed")
    ended = groups.run(
        Phase([train(name, signalled=5)], 2),
        # Between the saves at 8 and 12, of which the first is on its way.
        Phase([train(name, signalled=9, number=signal.SIGKILL)], 2),
    )
    left = whole(bucket, "two/run")
    evaluate, predict = used(name, here / "images", None)
    # Twice into the run: each process uploads what it predicted, and may replace it.
    ended += groups.run(Phase([train(name), evaluate, predict, predict], 2))
    statuses = [[one.status for one in group] for group in ended]
    printed = [(one.out[-800:], one.err[-2000:]) for group in ended for one in group]
    assert statuses == [[143, 143], [1, -signal.SIGKILL], [0, 0]], printed
    assert "SIGTERM: saved at step" in ended[0][0].out
    assert "process 1 of 2" in ended[1][0].err and "has ended" in ended[1][0].err
    assert f"continuing from step {left[-1]} of {STEPS}" in ended[2][0].out and left[-1] < STEPS
    assert_same_run(here / "run", bucket, "two/run")
    assert not [name for name in bucket.names if name.endswith(".arm_jax.lock")]
    files = [path for path in (here / "predicted").rglob("[!.]*") if path.is_file()]
    assert len(files) > 9
    for path in files:
        there = bucket.read(
            f"two/run/predictions/{path.relative_to(here / 'predicted').as_posix()}"
        )
        assert there == path.read_bytes(), path
    journal = bucket.read("two/run/predictions/.arm_jax.jsonl").decode()
    assert all(f'"labels/{number}.png"' in journal for number in range(3))


HURRY = {"mirror.PATIENCE": 1.0, "arrays.TRIES": 1, "retries.PAUSE": 0.1}


def hurried(**more):
    return ("hurry", {f"arm_jax.run.{key}": value for key, value in {**HURRY, **more}.items()})


def test_two_processes_go_on_while_the_bucket_denies(bucket, tmp_path, here):
    """The first one alone saves, and makes the save again; all end with the same weights."""
    bucket.trouble = denials = Denials(40)
    groups = Groups(tmp_path / "printed")
    (group,) = groups.run(Phase([hurried(), train("gs://runs-here/away/run")], 2))
    assert [one.status for one in group] == [0, 0], [one.err[-3000:] for one in group]
    assert denials.left == 0
    told = [line for one in group for line in one.err.splitlines() if "cannot be saved" in line]
    assert len(told) == 1 and "the bucket denies access (403)" in told[0], told
    assert "Training goes on" in told[0]
    assert_same_run(here / "run", bucket, "away/run")


@pytest.mark.long
def test_two_processes_end_where_the_bucket_denies_for_good_and_go_on(bucket, tmp_path, here):
    training = train("gs://runs-here/denied/run")
    seen = set()

    def trouble(method, path):
        seen.update(filter(None, [saved(method, path)]))
        return 403 if len(seen) > 1 else None

    bucket.trouble = trouble
    groups = Groups(tmp_path / "printed")
    (group,) = groups.run(Phase([hurried(**{"retries.PATIENCE": 2.0}), training], 2))
    for one in group:
        assert one.status in (1, 2), (one.out[-800:], one.err[-3000:])
        assert "Traceback" not in one.err, one.err[-3000:]
    told = [line for one in group for line in one.err.splitlines() if line.startswith("arm_jax:")]
    assert any("nothing could be saved for 2 s: the bucket denies" in line for line in told), told
    bucket.trouble = lambda method, path: None
    (left,) = whole(bucket, "denied/run")
    assert left == min(seen)
    (group,) = groups.run(Phase([training], 2))
    assert [one.status for one in group] == [0, 0], group[0].err[-3000:]
    assert f"continuing from step {left} of {STEPS}" in group[0].out
    assert_same_run(here / "run", bucket, "denied/run")
