"""Checkpoints: what is restored is what was saved, and what is kept is what was promised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Checkpoints(tmp_path / "nowhere", read_only=True)
