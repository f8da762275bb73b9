"""Objects of a bucket, the folder that stands for one, and its lock. Nothing here needs JAX."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from arm_jax.run import mirror, retries
from arm_jax.system import addresses, bucket_locks, buckets, errors, outputs
from arm_jax.system.buckets import BucketError
from arm_jax.system.errors import InputError
from arm_jax.system.locks import Busy


def address(text):
    return addresses.parse(f"gs://runs-here/{text}", ("gs",))


def test_objects_are_written_for_a_generation_listed_and_removed(bucket):
    one = address("objects/a b.txt")
    first = buckets.write(one, b"1")
    with pytest.raises(buckets.Changed):
        buckets.write(one, b"2", generation=0)
    second = buckets.write(one, b"22", generation=first.generation)
    assert (second.size, buckets.read(one)) == (2, b"22")
    with pytest.raises(buckets.Changed):
        buckets.remove(one, generation=first.generation)
    buckets.copy(one, address("objects/below/c"))
    folder = address("objects")
    assert list(buckets.listing(folder)) == ["a b.txt"]
    found = buckets.listing(folder, recursive=True)
    assert found["a b.txt"].md5 == found["below/c"].md5 == "b6d767d2f8ed5d21a44b0e5886680cb9"
    buckets.remove(one)
    buckets.remove(one)
    assert buckets.find(one) is None
    with pytest.raises(FileNotFoundError):
        buckets.read(one)


def test_a_bucket_that_is_missing_or_denies_is_named_in_a_line(bucket):
    for given, message in (
        ("gs://no-such-bucket/run", "there is no bucket no-such-bucket; make it, or correct"),
        ("gs://runs-here", "--workdir gs://runs-here is a whole bucket; name a folder in it"),
        ("s3://runs-here/run", "has the scheme s3://, which does not work here; give gs://"),
    ):
        with pytest.raises(InputError, match=message):
            mirror.folder_of(given)
    bucket.trouble = lambda method, path: 403
    with pytest.raises(BucketError, match=r"gs://runs-here/x: the bucket denies access \(403\)"):
        mirror.folder_of("gs://runs-here/x")
    bucket.trouble = lambda method, path: 401
    with pytest.raises(BucketError, match=r"\(401\); gcloud auth application-default login"):
        mirror.folder_of("gs://runs-here/x")


def test_a_request_that_fails_for_a_moment_is_made_again(bucket, monkeypatch):
    failed = []

    def trouble(method, path):
        failed.append(path)
        return 503 if len(failed) == 1 else None

    bucket.trouble = trouble
    buckets.write(address("again"), b"x")
    assert bucket.read("again") == b"x" and len(failed) == 2


def test_without_gcsfs_the_extra_is_named():
    code = (
        "import sys; sys.modules['gcsfs'] = None\n"
        "from arm_jax.run import mirror\n"
        "try: mirror.folder_of('gs://runs-here/x')\n"
        "except ValueError as error: print(error)\n"
        "assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs the package gcsfs, which is not installed; pip install 'arm_jax[gcs]'" in (
        done.stdout
    ), done.stderr


def test_files_travel_whole_and_only_where_they_changed(bucket):
    for name in ("config.json", "checkpoints/1/x", "events.1", "review/a.csv", "old.txt"):
        buckets.write(address(f"run/{name}"), name.encode())
    folder = mirror.folder_of("gs://runs-here/run/")
    assert mirror.folder_of("gs://runs-here/run") == folder and folder.name == "run"
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "old.txt"]
    assert str(mirror.place(folder) / "checkpoints") == "gs://runs-here/run/checkpoints"
    assert str(mirror.place(folder / "row" / "seed_0")) == "gs://runs-here/run/row/seed_0"
    assert mirror.place("runs/a").is_absolute()

    # What a person reads names the address.
    assert str(InputError(f"{folder}/config.json is bad")) == (
        "gs://runs-here/run/config.json is bad"
    )
    mirror.fetch(folder / "review", below=True)
    assert (folder / "review" / "a.csv").read_text() == "review/a.csv"

    (folder / "metrics.jsonl").write_text("{}\n")
    (folder / outputs.temporary_name(folder / "x").name).write_text("half")
    (folder / outputs.LOCK).write_text("")
    (folder / "old.txt").unlink()
    bucket.requests.clear()
    mirror.push(folder)
    assert [method for method, _ in bucket.requests] == ["POST", "DELETE"]
    assert bucket.read("run/metrics.jsonl") == b"{}\n"
    assert not any("part" in name or outputs.LOCK in name for name in bucket.names)
    bucket.requests.clear()
    mirror.push(folder)
    assert bucket.requests == []

    # Two commands that add to a journal both keep their lines.
    journal = folder / outputs.JOURNAL
    journal.write_text('{"a": 1}\n')
    buckets.write(address(f"run/{outputs.JOURNAL}"), b'{"b": 2}\n')
    mirror.push(folder)
    assert bucket.read(f"run/{outputs.JOURNAL}") == b'{"b": 2}\n{"a": 1}\n'


def test_names_in_a_bucket_do_not_lead_out_of_the_folder(bucket, monkeypatch):
    folder = mirror.folder_of("gs://runs-here/evil")
    # The emulator takes no such name, and the service does.
    found = {"../x": buckets.Object(1, "", 1)}
    monkeypatch.setattr(buckets, "listing", lambda *_, **__: found)
    with pytest.raises(InputError, match="leads out of its folder"):
        mirror.fetch(folder, below=True)


def test_what_cannot_be_uploaded_at_the_end_is_kept_and_named(bucket, monkeypatch, capsys):
    monkeypatch.setattr(mirror, "PATIENCE", 1.0)
    monkeypatch.setattr(mirror, "PAUSE", 0.05)
    with (
        pytest.raises(InputError, match=r"\(403\).*what was not uploaded stays in") as caught,
        mirror.opened("gs://runs-here/kept") as folder,
    ):
        (folder / "eval.json").write_text("1")
        bucket.trouble = lambda method, path: 403
    kept = str(caught.value).split("stays in ")[1].split(",")[0]
    assert Path(kept, "eval.json").read_text() == "1"
    assert "trying again" in capsys.readouterr().err
    assert str(folder) not in errors.STAND_INS


def test_one_process_holds_the_lock_of_a_folder(bucket, monkeypatch, capsys):
    monkeypatch.setattr(bucket_locks, "BEAT", 0.1)
    monkeypatch.setattr(bucket_locks, "STALE", 1.0)
    monkeypatch.setattr(bucket_locks, "LOOK", 0.02)
    folder = address("locked")
    lock = f"locked/{outputs.LOCK}"
    with bucket_locks.held(folder):
        holder = json.loads(bucket.read(lock))
        # From this system, the process is looked for.
        with pytest.raises(Busy, match=r"gs://runs-here/locked is in use by process .* on"):
            bucket_locks.Lock(folder.below(outputs.LOCK)).take()
        # From another one, the lock is watched.
        monkeypatch.setattr(bucket_locks, "_machine", lambda: "another")
        with pytest.raises(Busy, match=f"process {holder['process']} on"):
            bucket_locks.Lock(folder.below(outputs.LOCK)).take()
        assert "waiting up to 1 s" in capsys.readouterr().err
    assert lock not in bucket.names

    # A holder that ended without a word: elsewhere after STALE, here at once.
    left = json.dumps({**holder, "machine": "third", "process": 1}).encode()
    buckets.write(folder.below(outputs.LOCK), left)
    start = time.monotonic()
    with bucket_locks.held(folder):
        assert 1.0 <= time.monotonic() - start < 5
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = json.dumps({**holder, "machine": "another", "process": ended.pid}).encode()
    buckets.write(folder.below(outputs.LOCK), gone)
    start = time.monotonic()
    with bucket_locks.held(folder):
        assert time.monotonic() - start < 0.9

    # Of several that take over a stale lock at once, one gets it.
    monkeypatch.setattr(bucket_locks, "STALE", 0.2)
    buckets.write(folder.below(outputs.LOCK), left)
    taken = [bucket_locks.Lock(folder.below(outputs.LOCK)) for _ in range(4)]
    for number, one in enumerate(taken):
        one._text["machine"] = str(number)
    got, refused = [], []

    def take(one):
        try:
            one.take()
            got.append(one)
        except Busy:
            refused.append(one)

    threads = [threading.Thread(target=take, args=(one,)) for one in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 3)
    got[0].release()


def test_a_holder_that_lost_its_lock_is_told(bucket, monkeypatch):
    monkeypatch.setattr(bucket_locks, "BEAT", 0.05)
    folder = address("lost")
    with bucket_locks.held(folder):
        bucket_locks.check(folder)
        other = {"host": "b", "process": 7, "since": "now", "token": "other"}
        buckets.write(folder.below(outputs.LOCK), json.dumps(other).encode())
        deadline = time.monotonic() + 10
        with pytest.raises(InputError, match="lost was taken over by process 7 on b since now"):
            while time.monotonic() < deadline:
                bucket_locks.check(folder)
                time.sleep(0.02)
    assert json.loads(bucket.read(f"lost/{outputs.LOCK}"))["token"] == "other"


def test_a_bucket_that_does_not_answer_is_not_asked_again_at_the_end(bucket, monkeypatch):
    """What ends a run for want of answers neither uploads nor unlocks: each would take minutes."""
    monkeypatch.setattr(bucket_locks, "BEAT", 0.05)
    name = f"silent/{outputs.LOCK}"
    beats = []

    def trouble(method, path):
        beats.append(path)
        return 403

    with (
        pytest.raises(BucketError, match="given up"),
        mirror.opened("gs://runs-here/silent") as folder,
        bucket_locks.held(address("silent")),
    ):
        (folder / "eval.json").write_text("1")
        bucket.trouble = trouble
        deadline = time.monotonic() + 30
        while len(beats) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        raise BucketError("given up")
    assert len(beats) >= 2 and all(outputs.LOCK in path for path in beats)
    assert not any(method == "DELETE" for method, _ in bucket.requests)
    assert name in bucket.names and "silent/eval.json" not in bucket.names


def test_an_answer_that_was_lost_does_not_lose_the_lock(bucket):
    name = f"answer/{outputs.LOCK}"
    lock = bucket_locks.Lock(address(name))
    writes = []

    def trouble(method, path):
        """The first write arrives, and its answer does not."""
        if method != "POST":
            return None
        writes.append(path)
        if len(writes) > 1:
            return None
        described = {"name": name, "bucket": "runs-here", "generation": "17"}
        described |= {"size": "1", "crc32c": "", "md5Hash": ""}
        content = json.dumps(lock._text).encode()
        bucket.storage.create_file("runs-here", name, content, described)
        return 503

    bucket.trouble = trouble
    lock.take()
    assert len(writes) == 2 and name in bucket.names
    lock.release()
    assert name not in bucket.names


def test_saves_are_tried_for_a_while_and_then_no_more(bucket, monkeypatch, capsys):
    monkeypatch.setattr(retries, "PAUSE", 0.01)
    place = buckets.Place(address("run/checkpoints"))
    found = retries.Retries(place)
    found.failed(40, OSError("Forbidden: x"))
    assert "checkpoints/40 cannot be saved: the bucket denies access" in capsys.readouterr().err
    found.wait()
    assert found.may_try
    found.failed(41, OSError("Forbidden: x"))
    assert capsys.readouterr().err == ""  # one line for all
    found.succeeded()
    monkeypatch.setattr(retries, "PATIENCE", 0.0)
    with pytest.raises(retries.GivenUp, match="nothing could be saved for 0 s"):
        found.failed(42, OSError("Forbidden: x"))
        time.sleep(0.01)
        found.check()
