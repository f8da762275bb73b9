"""Folders of files: what is no file is never waited for, and every name can be reported."""

import os
import tarfile
import time
import unicodedata
import zipfile

import numpy as np
import pytest
from hostile_images import no_files
from PIL import Image

from arm_jax.data import check
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import generic
from arm_jax.data.trees import Folder, Zip, locate
from arm_jax.system import files
from arm_jax.system.errors import InputError

CLASSES = generic(["a", "b"])


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(value, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 3)))
        write(tmp_path / "labels" / f"{name}.png", np.eye(4))
    return tmp_path


def test_pipes_sockets_devices_and_dead_links_are_named_at_once(tmp_path):
    names = no_files(tmp_path)
    tree = Folder(tmp_path)
    assert tree.names() == names
    start = time.monotonic()
    said = {}
    for name in names:
        with pytest.raises(InputError, match=f"^{tmp_path / name}: ") as caught:
            tree.read(name)
        said[name] = str(caught.value)
    assert time.monotonic() - start < 1
    assert "is a device and not a file" in said["device.png"]
    assert "is a pipe and not a file" in said["pipe.png"]
    assert "is a socket and not a file" in said["socket.png"]
    assert "No such file" in said["gone.png"] and "symbolic links" in said["itself.png"]
    with pytest.raises(InputError, match="is a folder and not a file"):
        files.read_bytes(tmp_path / "folder.png")


def test_a_pipe_that_is_called_a_zip_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    for read in (Zip(tmp_path / "a.zip").names, lambda: locate(tmp_path, "images", "hint")):
        with pytest.raises(InputError, match=r"a\.zip: is a pipe and not a file"):
            read()
    with pytest.raises(InputError, match=r"b\.zip: cannot be read \(No such file"):
        Zip(tmp_path / "b.zip").names()


def test_a_file_larger_than_the_limit_is_not_read(tmp_path):
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(InputError, match=r"has 4,398,046,511,104 bytes, and the limit is"):
        files.read_bytes(tmp_path / "sparse.png")


def test_a_pipe_among_the_images_is_found_by_the_check(root):
    (root / "images" / "two.png").unlink()
    os.mkfifo(root / "images" / "two.png")
    with pytest.raises(InputError, match=r"images/two\.png: is a pipe"):
        check.check(FolderSource(root, "", CLASSES), progress=False)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path / "a" / "deep" / "x.png", [[1]])
    write(tmp_path / "elsewhere" / "y.png", [[1]])
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "deep" / "up").symlink_to("..")
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "outside").symlink_to("..")  # where the folder itself lies
    assert Folder(tmp_path / "a").names() == ["again/y.png", "deep/x.png", "linked/y.png"]


def test_names_in_composed_and_decomposed_letters_belong_together(tmp_path):
    nfc = unicodedata.normalize("NFC", "Straße/é")
    nfd = unicodedata.normalize("NFD", nfc)
    assert nfc != nfd
    write(tmp_path / "images" / f"{nfd}.png", np.zeros((4, 4, 3)))
    write(tmp_path / "labels" / f"{nfc}.png", np.eye(4))
    source = FolderSource(tmp_path, "", CLASSES)
    assert source[0]["id"] == nfc and source.inspect(0)[1] == 4
    write(tmp_path / "images" / f"{nfc}.png", np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match="has the same name as"):
        FolderSource(tmp_path, "", CLASSES)


def test_a_name_that_is_no_text_is_reported_and_listed(root):
    for name in (b"\xff\xfe1.png", b"line\nbreak.png"):
        for folder, value in (("images", np.zeros((4, 4, 3))), ("labels", np.full((4, 4), 9))):
            write(root / folder / "new.png", value)
            os.rename(root / folder / "new.png", os.fsencode(root / folder) + b"/" + name)
    with pytest.raises(InputError) as caught:
        check.check(FolderSource(root, "", CLASSES), progress=False, cache=root / "run")
    message = str(caught.value)
    assert message.startswith("2 of 4 data records are bad (all in ") and "\n" not in message
    listed = (root / "run" / "problems_data.txt").read_text().splitlines()
    assert len(listed) == 2
    assert "line\\nbreak.png: label values 9" in listed[0]
    assert "\\udcff\\udcfe1.png: label values 9" in listed[1]


def test_a_file_that_vanishes_after_the_check_is_named(root):
    source = FolderSource(root, "", CLASSES)
    check.check(source, progress=False)
    (root / "images" / "two.png").unlink()
    for read in (source.__getitem__, source.encoded, source.inspect):
        with pytest.raises(InputError, match=r"two\.png: cannot be read \(No such file"):
            read(1)


def test_a_zip_that_has_a_file_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("labels/a.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("labels/a.png", b"two")
    with pytest.raises(InputError, match=r"a\.zip:labels/a\.png: is in the zip twice"):
        Zip(tmp_path / "a.zip").names()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_systems_keep_beside_files_is_left_out(tmp_path, kind):
    hidden = (".DS_Store", "._a.png", "@eaDir/a.png", ".cache/a.png", "__MACOSX/b/a.png")
    write(tmp_path / "x/b/a.png", np.eye(4))
    for name in hidden:
        write(tmp_path / "x" / name.replace(".DS_Store", ".a.png"), np.eye(4))
    tree = Folder(tmp_path / "x")
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for path in (tmp_path / "x").rglob("*.png"):
                archive.write(path, path.relative_to(tmp_path / "x"))
        tree = Zip(tmp_path / "x.zip")
    assert tree.names() == ["b/a.png"]


def test_a_tar_archive_is_to_be_unpacked(root):
    with tarfile.open(root / "x.tar.gz", "w:gz") as archive:
        archive.add(root / "images", "images")
    for read in (Zip(root / "x.tar.gz").names, lambda: FolderSource(root / "x.tar.gz", "", "ab")):
        with pytest.raises(InputError, match=r"x.tar.gz: is a .*; unpack it$"):
            read()
