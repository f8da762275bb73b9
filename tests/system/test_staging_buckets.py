"""Stand-ins of the services: what lies in a bucket is staged as what lies behind https."""

import os
import sys

import buckets
import pytest

from arm_jax.system.buckets import filesystem
from arm_jax.system.errors import InputError
from arm_jax.system.staging import failures, sets, stage, stores

SERVICES = {"s3": buckets.s3, "gs": buckets.gs}


@pytest.fixture(scope="module", params=SERVICES)
def service(request):
    with pytest.MonkeyPatch.context() as patch, SERVICES[request.param](patch) as files:
        yield request.param, files


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(failures, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(stores, "CHUNK", 100_000)
    stage._staged.clear()
    yield
    stage._staged.clear()
    sets._held.pop_all().close()


def test_a_folder_and_an_object_of_a_bucket(service, tmp_path):
    scheme, files = service
    contents = {"images/train/a b.png": b"abc", "big": os.urandom(350_000), "empty": b""}
    for name, data in {**contents, ".hidden": b"x"}.items():
        files.pipe_file(f"runs-here/d/{name}", data)
    files.pipe_file("runs-here/d2/other", b"x")
    cache = stage.Cache(str(tmp_path), 1.0)
    root = stage.local(f"{scheme}://runs-here/d/", "data.root", cache)
    found = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert found == contents
    single = stage.local(f"{scheme}://runs-here/d/big", "", cache, single=True)
    assert single.read_bytes() == contents["big"] and single.name == "big"
    # A new generation is a new set.
    stage._staged.clear()
    files.pipe_file("runs-here/d/big", b"new")
    other = stage.local(f"{scheme}://runs-here/d", "data.root", cache)
    assert (other / "big").read_bytes() == b"new" and (root / "big").stat().st_size == 350_000
    assert (other / "images/train/a b.png").samefile(root / "images/train/a b.png")


@pytest.mark.parametrize("path", ["runs-here/nothing", "nobucket/x"])
@pytest.mark.parametrize("single", [True, False])
def test_what_is_not_there_is_one_line(service, tmp_path, path, single):
    scheme, _ = service
    with pytest.raises(InputError, match="there is nothing") as caught:
        stage.local(f"{scheme}://{path}", "data.root", stage.Cache(str(tmp_path)), single=single)
    assert str(caught.value).startswith(f"data.root {scheme}://{path}: ")


def test_a_folder_is_no_file(service, tmp_path):
    scheme, files = service
    files.pipe_file("runs-here/e/x", b"1")
    for _ in range(2):  # also of what this process has staged
        with pytest.raises(InputError, match="is a folder, and one file is wanted"):
            stage.local(f"{scheme}://runs-here/e", "", stage.Cache(str(tmp_path)), single=True)
        stage.local(f"{scheme}://runs-here/e", "", stage.Cache(str(tmp_path)))


def test_a_file_that_was_replaced_while_it_was_read(service):
    scheme, files = service
    files.pipe_file("runs-here/f/x", b"1" * 250_000)
    store, _, (file,) = stores.find(f"{scheme}://runs-here/f")
    pieces = store.pieces(file, 0)
    assert next(pieces) == b"1" * 100_000
    files.pipe_file("runs-here/f/x", b"2" * 250_000)
    with pytest.raises(failures.Refused, match="changed while it was read"):
        list(pieces)


def test_a_public_bucket_needs_no_credentials(service, tmp_path, monkeypatch):
    scheme, files = service
    if scheme != "s3":
        pytest.skip("the driver of gs:// finds that out by itself")
    files.pipe_file("runs-here/h/x", b"1", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    root = stage.local("s3://runs-here/h", "", stage.Cache(str(tmp_path / "cache")))
    assert (root / "x").read_bytes() == b"1"


def test_a_bucket_that_fails_one_request_of_five(service, tmp_path):
    scheme, files = service
    if scheme != "gs":
        pytest.skip("the stand-in of S3 fails no request")
    import bucket_server

    contents = {f"{i}": bytes([i]) * 1000 for i in range(9)}
    for name, data in contents.items():
        files.pipe_file(f"runs-here/g/{name}", data)
    files.bucket.trouble = bucket_server.one_of_five()
    try:
        root = stage.local("gs://runs-here/g", "", stage.Cache(str(tmp_path)))
    finally:
        files.bucket.trouble = lambda method, path: None
    assert {p.name: p.read_bytes() for p in root.iterdir()} == contents


@pytest.mark.parametrize(
    ("scheme", "package", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs")]
)
def test_without_the_driver_the_line_has_the_command(monkeypatch, scheme, package, extra):
    filesystem.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{package}, .*pip install 'arm_jax\[{extra}\]'"):
        stage.local(f"{scheme}://runs-here/x")
