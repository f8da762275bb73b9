"""Files behind an address come to the disk once, whole, and within their limits."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import refusals
from serving import serving

from arm_jax.system.staging import failures, sets, stage

MIB = 1 << 20


@pytest.fixture
def server():
    with serving() as one:
        yield one


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short pauses, and a process that has staged nothing."""
    monkeypatch.setattr(failures, "PAUSES", (0.01, 0.01, 0.01))
    new_process()
    yield
    new_process()


def new_process():
    """As if another process asked: nothing is in use, nothing known."""
    stage._staged.clear()
    sets._held.pop_all().close()


@pytest.fixture
def cache(tmp_path):
    return stage.Cache(str(tmp_path / "cache"), 1.0)


def refusal(address, cache, **options):
    return refusals.refusal(stage.local, address, "data.root", cache, **options)


def folder(server, name="d", **files):
    for path, data in files.items() or [("a", b"1")]:
        server.files[f"{name}/{path}"] = data
    server.sums(name)
    return f"{server.address}/{name}"


def test_a_path_of_this_machine_is_no_address(tmp_path):
    assert stage.local(tmp_path, "data.root") == tmp_path


def test_a_folder_arrives_with_its_tree_and_once(server, cache):
    contents = {"images/train/ä b.png": os.urandom(3000), "big": os.urandom(3 * MIB), "empty": b""}
    address = folder(server, **contents)
    root = stage.local(address, "data.root", cache)
    assert {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} == {*contents}
    assert all((root / name).read_bytes() == data for name, data in contents.items())
    times = {name: (root / name).stat().st_mtime_ns for name in contents}
    asked = len(server.asked)
    new_process()
    assert stage.local(address, "data.root", cache) == root
    assert [path for path, _ in server.asked[asked:]] == ["d/SHA256SUMS"]
    # The stamp of a file is equal on every machine, so that runs agree on what they read.
    other = stage.local(address + "/", "", stage.Cache(cache.folder + "2", 1.0))
    assert {name: (other / name).stat().st_mtime_ns for name in contents} == times


def test_the_list_of_a_folder_that_the_page_writes_is_read(server, cache, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    command = re.search(r"`(find \. [^`]+)`", page)[1].replace("\n", " ")
    (tmp_path / "d" / "images").mkdir(parents=True)
    (tmp_path / "d" / "images" / "a b.png").write_bytes(b"1")
    subprocess.run(["sh", "-c", command], cwd=tmp_path / "d", check=True)
    for name in ("images/a b.png", "SHA256SUMS"):
        server.files[f"d/{name}"] = (tmp_path / "d" / name).read_bytes()
    root = stage.local(f"{server.address}/d", "data.root", cache)
    assert (root / "images" / "a b.png").read_bytes() == b"1"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_goes_on_where_a_cut_left_it(server, cache, ranges):
    data = server.files["x.zip"] = os.urandom(4 * MIB)
    server.ranges = ranges
    cut = []

    def spoil(path, first, number):
        if first >= 0 and len(cut) < 2:
            cut.append(first)
            return "cut"
        return None

    server.spoil = spoil
    path = stage.local(f"{server.address}/x.zip", "data.root", cache)
    assert path.name == "x.zip" and path.read_bytes() == data
    starts = server.bytes_asked("x.zip")[1:]
    assert starts[0] == 0 and len(starts) == 3
    assert (starts[1] > 0 and starts[2] > starts[1]) if ranges else starts == [0, 0, 0]


def test_a_server_that_fails_every_second_request_is_asked_again(server, cache):
    address = folder(server, **{str(i): bytes([i]) * 500 for i in range(12)})
    server.spoil = lambda path, first, number: 503 if number % 2 else None
    failures.PAUSES = (0.01,) * 8
    root = stage.local(address, "data.root", cache)
    assert sum(p.read_bytes() == bytes([int(p.name)]) * 500 for p in root.iterdir()) == 12


@pytest.mark.parametrize(
    ("status", "says", "asked"),
    [(403, "access is denied", 1), (404, "there is nothing", 1), (500, "in 4 attempts", 4)],
)
def test_what_a_server_refuses_is_one_line(server, cache, status, says, asked):
    server.spoil = lambda path, first, number: status
    message = refusal(f"{server.address}/x.zip?signature=secret", cache)
    assert f"data.root {server.address}/x.zip: " in message and says in message
    assert "secret" not in message and len(server.asked) == asked
    assert not list((sets.Path(cache.folder)).glob("x*"))


def test_a_folder_without_its_list_is_refused(server, cache):
    server.files["d/a"] = b"1"
    assert "put a file SHA256SUMS there" in refusal(f"{server.address}/d", cache)


@pytest.mark.parametrize("name", ["../../out", "/etc/x", "a/../../x", "C:\\x"])
def test_names_of_a_list_stay_in_the_cache(server, cache, name, tmp_path):
    server.files["d/SHA256SUMS"] = f"{'0' * 64}  {name}\n".encode()
    assert "the name" in refusal(f"{server.address}/d", cache)
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]


def test_a_file_that_is_a_folder_too_is_refused(server, cache):
    server.files["d/SHA256SUMS"] = "".join(f"{'0' * 64}  {n}\n" for n in ("a", "a/b")).encode()
    assert "a file and a folder" in refusal(f"{server.address}/d", cache)


def test_content_of_another_digest_never_arrives(server, cache):
    address = folder(server, a=b"right")
    server.files["d/a"] = b"wrong"
    message = refusal(address, cache)
    assert f"{address}: a: cannot be read (its sha256 is" in message
    assert not [p for p in sets.Path(cache.folder).rglob("a") if p.is_file()]


def test_a_file_that_changes_meanwhile_is_refused(server, cache):
    server.files["x.zip"] = b"1" * 2 * MIB

    def spoil(path, first, number):
        if number == 2:
            server.files["x.zip"] = b"2" * 2 * MIB
        return "cut" if number == 1 else None

    server.spoil = spoil
    assert "changed while it was read" in refusal(f"{server.address}/x.zip", cache)
    path = stage.local(f"{server.address}/x.zip", "data.root", cache)
    assert path.read_bytes() == b"2" * 2 * MIB


def test_without_a_network_what_was_staged_serves(server, cache, capsys):
    address = folder(server, a=b"1")
    root = stage.local(address, "data.root", cache)
    new_process()
    server.spoil = lambda path, first, number: 500
    assert stage.local(address, "data.root", cache) == root
    assert "uses what was staged on 20" in capsys.readouterr().out
    new_process()
    server.spoil = lambda path, first, number: 403
    assert "denied" in refusal(address, cache)  # a right that was taken back counts


def test_new_content_is_a_new_set_that_shares_what_is_equal(server, cache):
    address = folder(server, a=b"1" * 100, b=b"2")
    before = stage.local(address, "data.root", cache)
    address = folder(server, b=b"3")
    new_process()
    asked = len(server.asked)
    after = stage.local(address, "data.root", cache)
    assert (before / "b").read_bytes() == b"2" and (after / "b").read_bytes() == b"3"
    assert (after / "a").samefile(before / "a")
    assert "d/a" not in [path for path, first in server.asked[asked:] if first >= 0]
    (after / "b").unlink()  # somebody tidied up
    new_process()
    assert (stage.local(address, "data.root", cache) / "b").read_bytes() == b"3"


def test_the_set_unused_for_longest_goes_first_and_none_in_use(server, cache, capsys):
    cache = stage.Cache(cache.folder, 2.5 / 1024)
    for name in ("a.zip", "b.zip", "c.zip", "d.zip"):
        server.files[name] = os.urandom(MIB)
    found = {}
    for name in ("a.zip", "b.zip", "a.zip"):
        found[name] = stage.local(f"{server.address}/{name}", "data.root", cache)
        new_process()
        time.sleep(0.02)
    third = stage.local(f"{server.address}/c.zip", "data.root", cache)
    assert not found["b.zip"].exists() and found["a.zip"].exists() and third.exists()
    assert stage.local(f"{server.address}/a.zip", "data.root", cache) == found["a.zip"]
    message = refusal(f"{server.address}/d.zip", cache)
    assert "other runs use 2.0 MiB" in message and "data.staging_gib" in message
    assert third.exists() and found["a.zip"].exists()
    server.files["e.zip"] = os.urandom(3 * MIB)
    assert "has 3.0 MiB, and data.staging_gib = " in refusal(f"{server.address}/e.zip", cache)
    assert not list(sets.Path(cache.folder).glob("[de].zip-*/manifest.json"))


def test_space_is_checked_before_the_first_byte(server, cache, monkeypatch):
    server.files["x.zip"] = b"1" * MIB
    usage = type("Usage", (), {"free": 32 * MIB})
    monkeypatch.setattr(sets.shutil, "disk_usage", lambda path: usage)
    message = refusal(f"{server.address}/x.zip", cache)
    assert "1.0 MiB are to be staged" in message and "32.0 MiB free" in message
    assert server.bytes_asked("x.zip") == [-1]  # it was only looked at


def test_two_names_of_a_disk_that_is_no_folder(server, tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal(f"{server.address}/x.zip", stage.Cache(str(tmp_path / "file" / "c"), 1.0))
    assert message.startswith("data.staging_folder = ")


def test_another_process_takes_over_from_one_that_was_killed(server, cache, capsys):
    data = server.files["x.zip"] = os.urandom(4 * MIB)
    address = f"{server.address}/x.zip"
    server.blocked = threading.Event()
    server.spoil = lambda path, first, number: "cut" if number == 1 else None
    code = f"from arm_jax.system.staging import stage; stage.local({address!r}, '', {cache!r})"
    first = subprocess.Popen([sys.executable, "-c", code.replace("Cache(", "stage.Cache(")])
    try:
        found = []
        waiting = threading.Thread(
            target=lambda: found.append(stage.local(address, "data.root", cache))
        )
        deadline = time.monotonic() + 60
        while not any(p.stat().st_size for p in sets.Path(cache.folder).rglob("*.part")):
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.02)
        waiting.start()
        while "waits for another process" not in capsys.readouterr().out:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        waiting.join(30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            first.kill()
        first.wait()
        server.blocked.set()
    assert found and found[0].read_bytes() == data
    assert server.bytes_asked("x.zip")[-1] > MIB  # from what the killed one had
