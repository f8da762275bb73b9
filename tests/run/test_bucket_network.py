"""A run in a bucket behind a network that loses connections, or lets nothing through any more."""

import time

import proxy
import pytest
from bucket_runs import assert_same_run
from group import Groups, Phase

pytestmark = pytest.mark.slow

SETTINGS = {"steps": 9, "eval_every": 9, "save_every": 3}
# Seconds after which a request that stands still is made again.
STILL = {"arm_jax.system.buckets.ANSWER": 2.0}


@pytest.fixture
def network(bucket, monkeypatch):
    """Between the bucket and the processes that the test starts; this process has it directly."""
    with proxy.between(bucket.url) as found:
        yield found


@pytest.fixture
def behind(network, monkeypatch):
    """The same, in the environment of processes that are started within the block."""

    def run(groups, *phases):
        with monkeypatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", network.url)
            patch.setenv("TENSORSTORE_GCS_HTTP_URL", network.url)
            patch.setenv("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", "2")
            return groups.run(*phases)

    return run


def lines(ended):
    """What a run reports of the bucket; libraries' own lines are not to be there."""
    assert "Traceback" not in ended.err, ended.err[-3000:]
    return [line for line in ended.err.splitlines() if line.startswith("arm_jax:")]


def test_lost_connections_cost_waiting_and_no_step(bucket, network, behind, tmp_path):
    groups = Groups(tmp_path / "printed")
    ((here,),) = groups.run(Phase([("train", {"workdir": str(tmp_path / "run"), **SETTINGS})]))
    assert here.status == 0, here.err[-3000:]
    kinds = (proxy.CUT, proxy.LATE, proxy.LOST, proxy.LATE, proxy.HALF, proxy.STILL)
    network.trouble = proxy.one_of_five(*kinds)
    train = ("train", {"workdir": "gs://runs-here/network/run", **SETTINGS})
    ((there,),) = behind(groups, Phase([("hurry", STILL), train]))
    assert there.status == 0, (there.out[-800:], there.err[-3000:])
    assert set(network.troubles) == set(kinds) and sum(network.troubles.values()) > 20
    assert lines(there) == []
    assert_same_run(tmp_path / "run", bucket, "network/run", ("metrics.jsonl", "eval.json"))


def test_a_network_that_lets_nothing_through_ends_the_run_in_time(
    bucket, network, behind, tmp_path
):
    """From the second save on, requests are taken and never answered."""
    gone = []

    def trouble(method, path):
        if method == "POST" and "checkpoints%2F6%2Fstate" in path:
            gone.append(time.monotonic())
        return proxy.STILL if gone else None

    network.trouble = trouble
    limits = STILL | {
        "arm_jax.run.retries.PATIENCE": 5.0,
        "arm_jax.run.mirror.PATIENCE": 1.0,
        "arm_jax.run.arrays.TRIES": 1,
    }
    train = ("train", {"workdir": "gs://runs-here/still/run", **SETTINGS})
    groups = Groups(tmp_path / "printed")
    ((ended,),) = behind(groups, Phase([("hurry", limits), train]))
    took = time.monotonic() - gone[0]
    assert ended.status == 2, (ended.out[-800:], ended.err[-3000:])
    told = lines(ended)
    assert "cannot be saved: the bucket does not answer" in told[0] and len(told) <= 3, told
    assert "nothing could be saved for 5 s" in told[-1]
    assert took < 120
    # The last whole checkpoint is there, and the same command goes on from it.
    assert "still/run/checkpoints/3/commit_success.txt" in bucket.names
    assert "still/run/checkpoints/6/commit_success.txt" not in bucket.names
    network.trouble = lambda method, path: None
    again = ("train", {"workdir": "gs://runs-here/still/run", **SETTINGS})
    ((ended,),) = groups.run(Phase([again]))
    assert ended.status == 0, ended.err[-3000:]
    assert "continuing from step 3" in ended.out
