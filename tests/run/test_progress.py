"""The log: ARM's two numbers in it, and the warning that its weights stayed uniform."""

import json
import types

import jax.numpy as jnp
import pytest

from arm_jax import schedules
from arm_jax.run import folder as run_folder
from arm_jax.run.progress import Progress
from arm_jax.system import peers
from arm_jax.training.records import Logged, Window
from configs import base

STEPS = 100


@pytest.fixture
def log(tmp_path):
    """Logs every tenth step of a run that leaves the given window; returns the records."""

    run_folder.claim(tmp_path)

    def run(row, *, first=10, last=STEPS, ratios=(), multiplier=1.0, **window):
        config = base.get_config(row)
        config.steps, config.log_every = STEPS, 10
        config.arm.lr_multiplier = multiplier
        progress = Progress(
            config,
            tmp_path,
            types.SimpleNamespace(waited=0.0, blocked=0.0),
            types.SimpleNamespace(latest_step=lambda: None),
            first_step=first - 10,
            schedule=schedules.learning_rate(STEPS),
        )
        sums = {"loss": 30.0, "mean_loss": 20.0, "auxiliary_loss": 5.0, "labelled": 6.0}
        sums |= {"steps": 10, "applied": 10, "overflows": 0, "unlabelled": 0, "first_bad_step": 0}
        sums |= {"holder_ratio": 0.97, "loss_ratio": 1.5, "stayed_uniform": False} | window
        for number, step in enumerate(range(first, last + 1, 10)):
            sums |= {"loss_ratio": ratios[number]} if number < len(ratios) else {}
            arrays = {name: jnp.asarray(value) for name, value in sums.items()}
            counted = Window(**{name: arrays.pop(name) for name in Window._fields})
            progress.after_step(step, Logged(counted, **arrays))
        progress.flush()
        progress.close()
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return run


def test_a_run_with_an_arm_logs_the_hoelder_ratio_and_the_factor_of_the_loss(log):
    (record,) = log("arm", last=10)
    assert (record["step"], record["loss"], record["mean_loss"]) == (10, 3.0, 2.0)
    assert record["holder_ratio"] == pytest.approx(0.97)
    assert record["loss_ratio"] == pytest.approx(1.5)
    assert not {"holder_ratio", "loss_ratio"} & set(log("base", last=10)[0])


def test_uniform_weights_are_warned_of_once_a_quarter_into_the_run(log, capsys):
    records = log("arm", holder_ratio=0.471, stayed_uniform=True)
    assert len(records) == 10
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert lines == [
        "warning: at step 30 ARM's weights are still almost uniform (Hölder ratio 0.471), so this"
        " is plain ce so far; set arm.lr_multiplier, which is 1.0, to auto"
    ]


@pytest.mark.parametrize(
    ("ratios", "multiplier", "words"),
    [
        # The weights had begun to differ, and differ no more.
        ((1.05, 1.03, 1.0), 15.0, "gone back towards uniform (their factor on the loss was 1.050"),
        ((1.05, 1.03, 1.0), 15.0, "set arm.lr_multiplier, which is 15.0, to auto"),
        ((1.05, 1.03, 1.0), "auto", "lower optimizer.learning_rate, which is 0.02"),
        ((0.9, 0.95, 0.99), 5.0, "ARM has died"),
        # They never did.
        ((1.002, 1.001, 1.0), 5.0, "set arm.lr_multiplier, which is 5.0, to auto"),
        ((1.002, 1.001, 1.0), "auto", "arm.lr_multiplier is auto already, so train for more steps"),
        ((1.02, 1.04, 1.06), 1.0, "are still almost uniform"),
    ],
)
def test_an_arm_that_died_is_told_from_one_that_has_not_moved(
    log, capsys, ratios, multiplier, words
):
    log("arm", ratios=ratios, multiplier=multiplier, last=30, stayed_uniform=True)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert words in line
    assert ("died" in line) == (ratios[0] in (1.05, 0.9))


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("arm", {"stayed_uniform": False}),
        ("arm", {"stayed_uniform": True, "last": 20}),  # early: it may still leave
        ("linear_focusing", {"stayed_uniform": True}),  # has no plateau to leave
        ("norm1", {"stayed_uniform": True}),  # its optimum is a single bin
    ],
)
def test_nothing_else_is_warned_of(log, capsys, row, options):
    log(row, **options)
    assert "warning" not in capsys.readouterr().out


def test_each_host_is_logged_and_a_straggler_is_named_once_until_it_keeps_up_again(
    log, monkeypatch, tmp_path, capsys
):
    own = {}
    monkeypatch.setattr(peers, "note", lambda values: own.update(values))

    def notes() -> dict[int, dict]:
        if not own:
            return {}
        slow = own["step"] in (20, 30, 50)
        times = {"step_seconds": 1.0, "own_seconds": 0.9 if slow else 0.2, "waiting_seconds": 0.15}
        quick = {**own, "step_seconds": 1.0, "own_seconds": 0.1, "host": "a"}
        return {0: quick, 1: {**own, **times, "host": "b"}}

    monkeypatch.setattr(peers, "notes", notes)
    log("arm")
    lines = [line for line in capsys.readouterr().out.splitlines() if "holds the others" in line]
    assert lines == 2 * [
        "warning: process 1 of 2 on b holds the others up: it takes 0.90 s a step by itself, 0.15 s"
        " of it waiting for input; the median of the others is 0.10 s"
    ]
    written = [json.loads(line) for line in (tmp_path / "hosts.jsonl").read_text().splitlines()]
    assert [(one["process"], one["step"]) for one in written] == [
        (process, step) for step in range(10, STEPS + 1, 10) for process in (0, 1)
    ]
    assert written[1]["host"] == "b" and written[1]["host_gib"] > 0.05
    assert own["own_seconds"] <= own["step_seconds"]
