"""Kept features of two processes are those of one, in one folder or in a folder of each."""

import re
from pathlib import Path

import numpy as np
import pytest
from group import Groups, Phase
from test_end_to_end import final_state

from arm_jax.networks.parts import PARTS

pytestmark = pytest.mark.slow

STEPS = 2
HEAD = {
    "steps": STEPS,
    "eval_every": STEPS,
    "augment.ratio": (1.0, 1.0),
    "augment.jitter": False,
    "augment.crop": (32, 64),
    "model.freeze": PARTS[:4],
    "model.feature_cache": True,
}
BY_ORDER = 1e-6  # what another order of sums changes, as a share of all weights


def entries(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_processes_share_the_work_where_they_share_the_folder(tmp_path):
    start = str(tmp_path / "start")
    first = [("train", {"workdir": start, "steps": 1, "eval_every": 1})]

    def phase(name: str, folder: str, processes: int) -> Phase:
        where = {"workdir": str(tmp_path / name), "model.feature_folder": str(tmp_path / folder)}
        return Phase([("train", {**HEAD, "model.pretrained": start, **where})], processes)

    ended = Groups(tmp_path / "printed").run(
        Phase(first), phase("one", "f1", 1), phase("two", "f2", 2), phase("own", "own-PROCESS", 2)
    )
    for group in ended:
        for one in group:
            assert one.status == 0, (one.out[-500:], one.err[-3000:])
    expected = entries(tmp_path / "f1")
    assert len(expected) == 20  # ten images and their mirror images
    for name in ("f2", "own-0", "own-1"):
        assert entries(tmp_path / name) == expected
    for number in (1, 2, 3):
        (count,) = re.findall(r"(\d+) entries of .* (\d+) of them to compute", ended[number][0].out)
        assert count == ("20", "20")
    written = [
        [int(re.findall(r"features written (\d+)", one.out)[0]) for one in group] for group in ended
    ]
    assert written == [[0], [20], [10, 10], [20, 20]]
    one, two = final_state(tmp_path / "one"), final_state(tmp_path / "two")
    paths = [path for path in one if path.startswith("/params/")]

    def norm(of) -> float:
        return float(np.sqrt(sum(np.sum(np.square(of(path))) for path in paths)))

    assert len(paths) > 20 and norm(lambda path: one[path] - two[path]) < BY_ORDER * norm(one.get)
    for path, value in final_state(tmp_path / "own").items():
        np.testing.assert_array_equal(value, two[path])
