"""A command fills its own folders and replaces its own files, and nobody else's."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arm_jax.system import files, outputs
from arm_jax.system.errors import InputError


def write(path: Path, text: str) -> None:
    with files.whole(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_replaced_only_by_whoever_wrote_it_and_only_unchanged(tmp_path):
    mine, foreign = tmp_path / "mine.txt", tmp_path / "foreign.txt"
    for text in ("one", "two"):
        write(mine, text)
    assert mine.read_text() == "two"
    foreign.write_text("precious")
    for path in (foreign, tmp_path / "link.txt", tmp_path / "dangling.txt"):
        if not path.exists():
            path.symlink_to(mine if path.stem == "link" else "nowhere")
        with pytest.raises(InputError, match=rf"{path.name} is there already and was not written"):
            write(path, "x")
    assert foreign.read_text() == "precious" and mine.read_text() == "two"
    mine.write_text("edited by hand")
    with pytest.raises(InputError, match=r"mine\.txt is there already .* changed since"):
        write(mine, "three")
    mine.write_text("two")  # the same content, at another time
    write(mine, "three")
    assert mine.read_text() == "three"


def test_a_command_takes_an_empty_folder_and_its_own_and_no_other(tmp_path):
    out = tmp_path / "out"
    assert outputs.claim(out, "predict") == out
    write(out / "labels" / "a.png", "x")
    outputs.claim(out, "predict", planned=["labels/a.png", "labels/b.png"])
    with pytest.raises(InputError, match="holds the output of predict, not of coarsen"):
        outputs.claim(out, "coarsen")
    copied = tmp_path / "copied"  # with other times
    shutil.copytree(out, copied, copy_function=shutil.copyfile)
    outputs.claim(copied, "predict", planned=["labels/a.png"])
    (out / "labels" / "b.png").write_text("the user's")
    with pytest.raises(InputError, match=r"labels/b\.png is there already"):
        outputs.claim(out, "predict", planned=["labels/a.png", "labels/b.png"])
    used = tmp_path / "used"
    (used / "images").mkdir(parents=True)
    (used / ".DS_Store").write_text("")
    with pytest.raises(InputError, match="used holds images, which predict did not write"):
        outputs.claim(used, "predict")
    assert sorted(p.name for p in used.iterdir()) == [".DS_Store", "images"]
    (used / "images").rmdir()
    outputs.claim(used, "predict")


def test_links_are_resolved_first(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "labels").mkdir(parents=True)
    (data / "labels" / "a.png").write_text("truth")
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(InputError, match="link holds labels"):
        outputs.claim(tmp_path / "link", "predict")
    with pytest.raises(InputError, match=r"\.\./labels holds a\.png"):
        outputs.claim(data / "labels" / ".." / "labels", "predict")
    outputs.claim(out, "predict")
    (out / "labels").symlink_to(data / "labels")
    with pytest.raises(InputError, match=r"a\.png is there already"):
        write(out / "labels" / "a.png", "prediction")
    assert (data / "labels" / "a.png").read_text() == "truth"


def test_a_folder_shared_with_others_keeps_a_list_of_names(tmp_path):
    (tmp_path / "log.txt").write_text("the shell's")
    outputs.claim(tmp_path, "a run", names=["eval.json"])
    (tmp_path / "eval.json").write_text("damaged")
    write(tmp_path / "eval.json", "remade")  # the run's own, whatever happened to it
    with pytest.raises(InputError, match=r"log\.txt is there already"):
        write(tmp_path / "log.txt", "x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "eval.json").write_text("of another program")
    with pytest.raises(InputError, match=r"holds eval\.json, which a run did not write"):
        outputs.claim(other, "a run", names=["eval.json"])
    outputs.claim(other, "a run", names=["eval.json"], known_by=["eval.*"])


def test_damaged_lines_of_the_journal_vouch_for_nothing(tmp_path):
    outputs.claim(tmp_path, "predict")
    write(tmp_path / "a", "1")
    journal = tmp_path / outputs.JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'null\n[]\n\xff\xfe\n{"file": 3}\n{"file": "b", "si')
    write(tmp_path / "c", "1")  # after the line that was cut
    write(tmp_path / "c", "2")
    outputs.claim(tmp_path, "predict", planned=["a", "b", "c"])
    journal.write_bytes(b"")
    with pytest.raises(InputError, match="holds a, which predict did not write"):
        outputs.claim(tmp_path, "predict")


def test_threads_and_processes_write_into_one_folder(tmp_path):
    outputs.claim(tmp_path, "coarsen")
    code = """
import sys
from pathlib import Path
from arm_jax.system import files
for number in range(20):
    with files.whole(Path(sys.argv[1]) / sys.argv[2] / f"{number}.txt") as temporary:
        temporary.write_text("x")
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    others = [subprocess.Popen([*command, name]) for name in "ab"]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, tmp_path / "here" / f"{n}.txt", "x") for n in range(20)]:
            done.result()
    assert [other.wait() for other in others] == [0, 0]
    planned = [f"{folder}/{n}.txt" for folder in ("a", "b", "here") for n in range(20)]
    outputs.claim(tmp_path, "coarsen", planned=planned)


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path):
    outputs.claim(tmp_path, "predict")
    code = """
import os, signal, sys
from arm_jax.system import files
with files.whole(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "labels" / "a.png"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert len(os.listdir(path.parent)) == 1
    with files.whole(tmp_path / "b") as mine:
        mine.write_text("under way")
        outputs.claim(tmp_path, "predict")
        assert mine.exists()
    assert os.listdir(path.parent) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot be written"):
            outputs.claim(path, "predict")


def test_a_file_that_was_changed_since_is_known_and_a_copy_is_not_taken_for_one(tmp_path):
    outputs.claim(tmp_path / "run", "a run", names=("a.json",))
    path = tmp_path / "run" / "a.json"
    with files.whole(path) as temporary:
        temporary.write_text("1")
    assert not outputs.was_changed(path)
    shutil.copytree(tmp_path / "run", tmp_path / "copy", copy_function=shutil.copyfile)
    assert not outputs.was_changed(tmp_path / "copy" / "a.json")
    path.write_text("2")
    assert outputs.was_changed(path)
    path.unlink()
    assert not outputs.was_changed(path)
    assert not outputs.was_changed(tmp_path / "run" / "other.json")


def test_a_single_file_takes_away_what_a_killed_process_left_of_it(tmp_path):
    left = tmp_path / ".arm_jax.part.999999999.w.bin"
    other = tmp_path / ".arm_jax.part.999999999.v.bin"
    for path in (left, other):
        path.write_bytes(b"half")
    with files.whole(tmp_path / "w.bin") as temporary:
        temporary.write_bytes(b"all")
    assert not left.exists() and other.exists()


def test_a_claimed_folder_that_cannot_be_written_any_more_is_refused_before_the_work(
    tmp_path, monkeypatch
):
    outputs.claim(tmp_path, "a run")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write all
    with pytest.raises(InputError, match=r"cannot be written \(no permission, or a disk that is"):
        outputs.claim(tmp_path, "a run")
