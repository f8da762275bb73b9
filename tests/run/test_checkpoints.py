"""Checkpoints: what is restored is what was saved, and what is kept is what was promised."""

import errno
import os
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from arm_jax.run import digests
from arm_jax.run.checkpoint_files import find_damage, read_miou, set_damaged_aside
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import sharding
from arm_jax.system.errors import InputError


def state(value: float):
    return sharding.replicate(
        sharding.make_mesh(), {"w": np.full((3, 2), value, np.float32), "n": np.int32(value)}
    )


def test_round_trip_with_input_position_and_placement(tmp_path):
    with_checkpoints = Checkpoints(tmp_path)
    assert with_checkpoints.latest_step() is None
    with_checkpoints.save(7, state(7.5), {"next_index": 56, "nested": {"a": [1, 2]}})
    with_checkpoints.close()
    restored, position = Checkpoints(tmp_path, read_only=True).restore(7, state(0))
    np.testing.assert_array_equal(restored["w"], np.full((3, 2), 7.5))
    assert restored["n"] == 7 and restored["n"].dtype == jnp.int32
    assert restored["w"].sharding == state(0)["w"].sharding
    assert position == {"next_index": 56, "nested": {"a": [1, 2]}}


def test_saving_survives_donation_of_the_state(tmp_path):
    donate = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    checkpoints = Checkpoints(tmp_path)
    large = sharding.replicate(sharding.make_mesh(), {"w": np.zeros((512, 1024), np.float32)})
    checkpoints.save(1, large, {})
    for _ in range(5):
        large = donate(large)
    checkpoints.wait()
    restored, _ = checkpoints.restore(1, large)
    assert (np.asarray(restored["w"]) == 0).all() and (np.asarray(large["w"]) == 5).all()
    checkpoints.close()


def test_keeps_the_newest_and_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    scores = {1: 30.0, 2: 50.0, 3: None, 4: 40.0, 5: None, 6: None}
    for step, miou in scores.items():
        checkpoints.save(step, state(step), {}, miou=miou)
    checkpoints.close()
    found = Checkpoints(tmp_path, read_only=True)
    assert [found.find(which) for which in ("latest", "best", "2", "5")] == [6, 2, 2, 5]
    for gone in ("1", "3", "4", "77", "nonsense"):
        with pytest.raises(InputError, match=r"there are \[2, 5, 6\]"):
            found.find(gone)


def test_a_score_is_added_once_and_again_where_a_kill_came_between_score_and_digest(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, state(1), {})
    checkpoints.wait()
    folder = tmp_path / "checkpoints" / "4"
    assert not checkpoints.has_score(4)
    (folder / "metrics").mkdir()
    (folder / "metrics" / "metrics").write_text('{"mI')  # a process that was killed here
    assert not checkpoints.has_score(4)
    checkpoints.add_score(4, 30.0)
    assert checkpoints.has_score(4) and read_miou(folder) == 30.0
    checkpoints.add_score(4, 99.0)
    assert read_miou(folder) == 30.0 and find_damage(folder) is None
    flip(folder / "metrics" / "metrics")
    assert "metrics/metrics" in find_damage(folder)
    assert not list(tmp_path.rglob(".arm_jax*"))
    checkpoints.close()


def test_an_unfinished_checkpoint_is_not_taken_for_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1), {})
    checkpoints.close()
    # What Orbax leaves behind when it is killed while writing.
    (tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp").mkdir()
    again = Checkpoints(tmp_path)
    assert again.latest_step() == 1
    again.close()


def test_another_network_and_a_damaged_file_are_one_line(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1), {})
    checkpoints.wait()
    other = sharding.replicate(sharding.make_mesh(), {"v": np.zeros((3, 2), np.float32)})
    with pytest.raises(InputError, match="does not fit this config or is damaged") as caught:
        checkpoints.restore(1, other)
    assert "\n" not in str(caught.value)
    checkpoints.close()
    for path in (tmp_path / "checkpoints" / "1" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(InputError, match="does not fit this config or is damaged"):
        Checkpoints(tmp_path, read_only=True).restore(1, state(0))
    with pytest.raises(InputError, match=r"checkpoints/1 is damaged \(state/.* has 0 bytes of"):
        Checkpoints(tmp_path, read_only=True).find("1")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Checkpoints 1, 2 (the best) and 3."""
    folder = tmp_path_factory.mktemp("three")
    checkpoints = Checkpoints(folder)
    for step, miou in ((1, 30.0), (2, 50.0), (3, None)):
        checkpoints.save(step, state(step), {"examples": step}, miou=miou)
    checkpoints.close()
    return folder


def names(folder):
    return [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]


def flip(path):
    """One bit of the middle byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


DAMAGES = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "replaced": lambda path: path.write_bytes(b"\xff" * len(path.read_bytes())),
    "deleted": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_file_damaged_in_every_way_is_noticed_and_the_one_before_taken(three, tmp_path, kind):
    seen = 0
    for name in names(three / "checkpoints" / "3"):
        if name.name in digests.IGNORED - {digests.FILE}:
            continue
        if (kind, name.name) == ("deleted", digests.FILE):
            continue  # see below
        run = tmp_path / str(seen)
        shutil.copytree(three, run)
        DAMAGES[kind](run / "checkpoints" / "3" / name)
        reader = Checkpoints(run, read_only=True)
        assert reader.find("latest") == 2, name
        with pytest.raises(InputError, match=r"checkpoints/3 is damaged"):
            reader.find("3")
        assert (run / "checkpoints" / "3").is_dir()  # readers move nothing
        set_damaged_aside(run)
        writer = Checkpoints(run)
        assert writer.latest_step() == 2, name
        restored, position = writer.restore(2, state(0))
        assert restored["n"] == 2 and position == {"examples": 2}
        writer.save(3, state(3), {"examples": 3})
        writer.close()
        assert len(names(run / "damaged" / "3")) >= len(names(three / "checkpoints" / "3")) - 1
        assert Checkpoints(run, read_only=True).find("latest") == 3
        seen += 1
    assert seen >= 8


def test_what_orbax_adds_at_the_end_may_be_lost(three, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(three, run)
    for name in digests.IGNORED - {digests.FILE}:
        for path in (run / "checkpoints" / "3").rglob(name):
            path.write_bytes(b"\xff\xfe")
    set_damaged_aside(run)
    writer = Checkpoints(run)
    restored, _ = writer.restore(writer.find("latest"), state(0))
    assert restored["n"] == 3
    writer.close()


def test_best_passes_over_damage_and_over_scores_that_cannot_be_read(three, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(three, run)
    files = [p for p in (run / "checkpoints" / "2" / "state").rglob("*") if p.is_file()]
    array = max(files, key=lambda path: path.stat().st_size)
    flip(array)
    assert Checkpoints(run, read_only=True).find("best") == 1
    assert capsys.readouterr().out.count("\n") == 1
    for text in ("{", "null", "[]", '{"loss": 3}', '{"mIoU": null}', "\0"):
        (run / "checkpoints" / "1" / "metrics" / "metrics").write_text(text)
        assert Checkpoints(run, read_only=True).find("best") == 3
        again = tmp_path / "again"
        shutil.copytree(run, again)
        set_damaged_aside(again)  # an older one: its arrays are not read, its scores are
        assert sorted(p.name for p in (again / "damaged").iterdir()) == ["1"]
        Checkpoints(again).close()
        shutil.rmtree(again)


@pytest.mark.parametrize("text", ["", "{", "null", "[1]", "3"])
def test_a_checkpoint_without_digests_is_restored_with_a_word_unless_it_cannot_be(
    three, tmp_path, capsys, text
):
    run = tmp_path / "run"
    shutil.copytree(three, run)
    (run / "checkpoints" / "3" / digests.FILE).unlink()
    reader = Checkpoints(run, read_only=True)
    reader.restore(reader.find("latest"), state(0))
    assert "restored without a check" in capsys.readouterr().out
    (run / "checkpoints" / "3" / "input" / "metadata").write_text(text)
    assert reader.find("latest") == 2


def test_if_none_is_good_the_run_does_not_begin_anew_by_itself(three, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(three, run)
    for step in "123":
        flip(run / "checkpoints" / step / "state" / "manifest.ocdbt")
    with pytest.raises(InputError, match="all checkpoints are damaged, and were moved to"):
        set_damaged_aside(run)
    assert len(list((run / "damaged").iterdir())) == 3
    set_damaged_aside(run)
    writer = Checkpoints(run)
    assert writer.latest_step() is None
    writer.close()


def test_checkpoints_that_are_a_file_are_named(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(InputError, match="checkpoints is a file"):
        set_damaged_aside(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        Checkpoints(tmp_path, read_only=True)


FULL = """
import resource, sys
import numpy as np
from absl import logging
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import sharding
from arm_jax.system.errors import InputError
logging.set_verbosity(logging.FATAL)  # as arm_jax.main does
rng = np.random.default_rng(0)
arrays = {str(i): rng.normal(size=(100, 1000)).astype(np.float32) for i in range(40)}
state = sharding.replicate(sharding.make_mesh(), arrays)
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, {"0": state["0"]}, {})
checkpoints.wait()
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    checkpoints.save(2, state, {})
    checkpoints.close()
except InputError as error:
    print(error, file=sys.stderr)
checkpoints.close()
"""


def test_a_disk_that_takes_no_more_is_one_line_in_all(tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "checkpoints/2 cannot be saved (File too large)" in result.stderr
    assert "goes on from step 1" in result.stderr


def test_a_save_that_fails_is_one_line_with_the_reason_and_where_the_run_goes_on(
    tmp_path, monkeypatch
):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1), {})
    checkpoints.wait()

    def full(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(digests, "write", full)
        checkpoints.save(2, state(2), {})
        with pytest.raises(InputError, match=r"/2 cannot be saved \(No space left") as caught:
            checkpoints.wait()
    assert "goes on from step 1" in str(caught.value) and "\n" not in str(caught.value)
    checkpoints.close()
    again = Checkpoints(tmp_path)
    assert again.latest_step() == 1
    again.save(2, state(2), {})
    again.close()
    assert Checkpoints(tmp_path, read_only=True).find("latest") == 2


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Checkpoints(tmp_path / "nowhere", read_only=True)


def test_a_checkpoint_fits_a_state_that_has_learnt_another_field_since(tmp_path):
    """A run without a teacher, from before there were teachers."""

    @struct.dataclass
    class Before:
        w: jax.Array

    @struct.dataclass
    class Now:
        w: jax.Array
        beliefs: jax.Array | None = None

    w = state(3.5)["w"]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, Before(w), {})
    checkpoints.save(2, Now(w), {})
    checkpoints.close()
    reader = Checkpoints(tmp_path, read_only=True)
    for step in (1, 2):
        restored, _ = reader.restore(step, Now(state(0)["w"]))
        np.testing.assert_array_equal(restored.w, w)
        assert isinstance(restored, Now) and restored.beliefs is None
    with pytest.raises(InputError, match="does not fit"):
        reader.restore(1, Now(w, beliefs=w))
