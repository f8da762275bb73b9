"""A run that goes on with other numbers of processes and devices is the same run."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from group import Groups, Phase
from test_end_to_end import final_state

pytestmark = pytest.mark.slow

STEPS = 8
# Processes, devices of each, and the step after which it is asked to stop.
PHASES = ((1, 1, 2), (2, 1, 4), (4, 1, 6), (1, 2, 0))
# What the order of sums changed, as a share of all weights; measured: 7e-9 and 4e-8 (arm).
BY_ORDER = 1e-6


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("resized")
    whole = Phase([("train", {"workdir": str(place / "whole"), "seen": str(place / "seen")})])
    resized = [
        Phase(
            [
                (
                    "train",
                    {
                        "workdir": str(place / "resized"),
                        "until": until,
                        "seen": str(place / f"seen{number}"),
                    },
                )
            ],
            processes,
            devices,
        )
        for number, (processes, devices, until) in enumerate(PHASES)
    ]
    ended = Groups(place / "printed").run(whole, *resized)
    expected = [0, *(143 if until else 0 for _, _, until in PHASES)]
    for group, status in zip(ended, expected, strict=True):
        for one in group:
            assert one.status == status, (one.out[-500:], one.err[-3000:])
    for number, group in enumerate(ended[1:]):
        for index, one in enumerate(group):
            (place / f"printed{number}.{index}").write_text(one.out)
    return place


def _seen(path: Path, processes: int) -> list[list[str]]:
    """Digests of the examples of each batch, in the global order."""
    parts = [
        [json.loads(line) for line in Path(f"{path}.{index}").read_text().splitlines()]
        for index in range(processes)
    ]
    return [list(itertools.chain(*batch)) for batch in zip(*parts, strict=False)]


def test_the_batches_are_the_same_in_the_same_order_and_augmentation(runs):
    whole = _seen(runs / "seen", 1)[:STEPS]
    assert len({digest for batch in whole for digest in batch}) == 4 * STEPS
    first = 0
    for number, (processes, _, until) in enumerate(PHASES):
        last = until or STEPS
        seen = _seen(runs / f"seen{number}", processes)[: last - first]
        assert seen == whole[first:last], f"steps {first + 1} to {last} with {processes} processes"
        first = last


def test_the_result_differs_by_the_order_of_sums_alone(runs):
    whole, resized = final_state(runs / "whole"), final_state(runs / "resized")
    assert whole.keys() == resized.keys() and len(whole) > 100
    for player in ("segmenter", "arm"):
        paths = [path for path in whole if path.startswith(f"/params/{player}")]

        def norm(of, paths=paths) -> float:
            return float(np.sqrt(sum(np.sum(np.square(of(path))) for path in paths)))

        assert norm(lambda path: whole[path] - resized[path]) < BY_ORDER * norm(whole.get), player
        first = final_state(runs / "resized", STEPS - 2)
        assert norm(lambda path, first=first: first[path] - resized[path]) > 0
    logged = [
        [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "resized")
    ]
    assert [line["step"] for line in logged[0]] == [line["step"] for line in logged[1]]
    for before, after in zip(*logged, strict=True):
        if "loss" in before:
            assert after["loss"] == pytest.approx(before["loss"], rel=1e-4)


@pytest.mark.parametrize("number", [1, 2])
def test_one_process_reads_the_state_and_the_others_nothing_of_it(runs, number):
    # Not the size of the files: what writing left behind in them differs from run to run.
    arrays = sum(array.nbytes for array in final_state(runs / "resized").values())
    read = []
    for index in range(PHASES[number][0]):
        lines = (runs / f"printed{number}.{index}").read_text().splitlines()
        read += [int(line.split()[-1]) for line in lines if line.startswith("bytes read ")]
    assert len(read) == PHASES[number][0]
    assert read[0] > 0.9 * arrays
    assert all(other < 1000 for other in read[1:]), (read, arrays)


def test_every_host_is_logged_where_there_are_several(runs):
    text = (runs / "resized" / "hosts.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["process"] for line in lines} == {0, 1, 2, 3}
    for line in lines:
        assert 0 <= line["own_seconds"] <= line["step_seconds"] and line["host_gib"] > 0.1
    assert not (runs / "whole" / "hosts.jsonl").exists()
