"""A file is whole or absent, and its folder holds nothing else afterwards."""

from pathlib import Path

import pytest

from arm_jax.system import files, outputs
from arm_jax.system.errors import InputError


def visible(folder: Path) -> list[Path]:
    """All but the journal."""
    return [path for path in folder.iterdir() if path.name != outputs.JOURNAL]


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a" / "b" / "report.png"
    with files.whole(path) as temporary:
        assert temporary.suffix == ".png"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert visible(path.parent) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    with files.whole(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(ZeroDivisionError), files.whole(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert visible(tmp_path) == [path]


def test_a_full_disk_is_one_clear_line(tmp_path):
    path = tmp_path / "report.json"
    with (
        pytest.raises(InputError, match=r"report\.json cannot be written \(No space left"),
        files.whole(path) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert visible(tmp_path) == []
