"""A run in a bucket behind a network that loses connections, delays answers, or stands still."""

import itertools
import time

import proxy
import pytest
from bucket_runs import assert_same_run, saved, whole
from group import Groups, Phase

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny_network")]

SETTINGS = {"steps": 30, "eval_every": 30, "save_every": 3, "log_images": False}
# Seconds after which a request that stands still is made again.
STILL = {"arm_jax.system.buckets.ANSWER": 2.0}
# One request is made twice, so that saves fail within seconds.
FAILING = STILL | {"arm_jax.run.arrays.TRIES": 1, "arm_jax.run.retries.PAUSE": 0.5}


@pytest.fixture
def network(bucket):
    """Between the bucket and the processes that the test starts; this process has it directly."""
    with proxy.between(bucket.url) as found:
        yield found


@pytest.fixture
def behind(network, monkeypatch):
    """Run phases whose processes have that network."""

    def run(groups, *phases):
        with monkeypatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", network.url)
            patch.setenv("TENSORSTORE_GCS_HTTP_URL", network.url)
            patch.setenv("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", "2")
            return groups.run(*phases)

    return run


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The same run on a disk."""
    above = tmp_path_factory.mktemp("here")
    run = above / "run"
    ((ended,),) = Groups(above / "printed").run(
        Phase([("train", {"workdir": str(run), **SETTINGS})])
    )
    assert ended.status == 0, ended.err[-3000:]
    return run


def lines(ended):
    """What a run reports of the bucket; libraries' own lines are not to be there."""
    assert "Traceback" not in ended.err, ended.err[-3000:]
    return [line for line in ended.err.splitlines() if line.startswith("arm_jax:")]


def test_lost_connections_cost_waiting_and_no_step(bucket, network, behind, here, tmp_path):
    """Every fifth request is cut off, late, answered in vain or by half, or stands still."""
    kinds = (proxy.CUT, proxy.LATE, proxy.LOST, proxy.HALF, proxy.STILL)
    network.trouble = proxy.one_of_five(*kinds)
    train = ("train", {"workdir": "gs://runs-here/network/run", **SETTINGS})
    ((there,),) = behind(Groups(tmp_path / "printed"), Phase([("hurry", STILL), train]))
    assert there.status == 0, (there.out[-800:], there.err[-3000:])
    assert set(network.troubles) == set(kinds) and sum(network.troubles.values()) > 20
    assert lines(there) == []
    assert_same_run(here, bucket, "network/run", ("metrics.jsonl", "eval.json"))


def test_training_goes_on_while_the_network_stands_still(bucket, network, behind, here, tmp_path):
    """From the first save on, until a late step is made and the run has reported the failure."""
    groups, reached = Groups(tmp_path / "printed"), tmp_path / "reached"
    kinds, begun = itertools.cycle((proxy.STILL, proxy.CUT)), []

    def trouble(method, path):
        begun.extend(filter(None, [saved(method, path)]))
        printed = groups.place / "plan0.0.0.err"
        over = reached.exists() and "cannot be saved" in printed.read_text()
        return next(kinds) if begun and not over else None

    network.trouble = trouble
    mark = {"marked": SETTINGS["steps"] - 1, "mark": str(reached)}
    train = ("train", {"workdir": "gs://runs-here/back/run", **mark, **SETTINGS})
    ((there,),) = behind(groups, Phase([("hurry", FAILING), train]))
    assert there.status == 0, (there.out[-800:], there.err[-3000:])
    (told,) = lines(there)
    assert f"checkpoints/{begun[0]} cannot be saved: the bucket does not answer" in told
    assert "Training goes on" in told
    assert set(network.troubles) == {proxy.STILL, proxy.CUT}
    assert_same_run(here, bucket, "back/run", ("metrics.jsonl", "eval.json"))


@pytest.mark.long
def test_a_network_that_lets_nothing_through_ends_the_run_in_time(
    bucket, network, behind, here, tmp_path
):
    """From the second save on, requests are taken and never answered."""
    seen, gone = set(), []

    def trouble(method, path):
        seen.update(filter(None, [saved(method, path)]))
        if len(seen) > 1:
            gone.append(time.monotonic())
        return proxy.STILL if gone else None

    network.trouble = trouble
    limits = FAILING | {"arm_jax.run.retries.PATIENCE": 5.0, "arm_jax.run.mirror.PATIENCE": 1.0}
    run = {"workdir": "gs://runs-here/still/run", **SETTINGS}
    groups = Groups(tmp_path / "printed")
    ((ended,),) = behind(groups, Phase([("hurry", limits), ("train", run)]))
    took = time.monotonic() - gone[0]
    assert ended.status == 2, (ended.out[-800:], ended.err[-3000:])
    failed, ends = lines(ended)
    assert "cannot be saved: the bucket does not answer" in failed
    assert "nothing could be saved for 5 s" in ends and "the last whole checkpoint" in ends
    assert took < 400  # on a busy machine; the limits above come to some 40 s

    # The last whole checkpoint is there, and the same command goes on from it.
    (last,) = whole(bucket, "still/run")
    assert last == min(seen)
    ((ended,),) = groups.run(Phase([("train", run)]))
    assert ended.status == 0, ended.err[-3000:]
    assert f"continuing from step {last} of" in ended.out
    assert_same_run(here, bucket, "still/run", ("metrics.jsonl", "eval.json"))
