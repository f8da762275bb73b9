"""Addresses are told apart from paths, taken apart, and refused in one line."""

import pytest

from arm_jax.system import addresses
from arm_jax.system.errors import InputError


def test_addresses_and_paths_are_told_apart():
    for text in ("gs://b/r", "gs:/b/r", "S3://b", "https://x.org/a.zip", "file:///tmp"):
        assert addresses.is_address(text)
    for text in ("runs/a", "/runs/a", "~/a", "C:/a", "with:colon", "a/b:/c", ""):
        assert not addresses.is_address(text)


def test_an_address_is_taken_apart():
    found = addresses.parse("GS://my-bucket/some/run/", ("gs",))
    assert (found.scheme, found.host, found.key) == ("gs", "my-bucket", "some/run")
    assert found.name == "run"
    assert str(found) == "gs://my-bucket/some/run"
    assert str(found.below("a/b.png")) == "gs://my-bucket/some/run/a/b.png"
    bucket = addresses.parse("gs://my-bucket", ("gs",))
    assert (bucket.key, bucket.name, str(bucket.below("x"))) == (
        "",
        "my-bucket",
        "gs://my-bucket/x",
    )
    page = addresses.parse("https://example.org/a b/x.zip", ("s3", "https"))
    assert (page.host, page.key) == ("example.org", "a b/x.zip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "s3://bucket/r",
            "--workdir s3://bucket/r has the scheme s3://.*give gs://..., or a folder",
        ),
        ("ftp://h/r", "--workdir ftp://h/r has the scheme ftp://"),
        ("file:///r", "--workdir file:///r has the scheme file://"),
        ("gs:/bucket/r", "one slash where an address has two"),
        ("gs://b/r", "the bucket 'b', but a bucket's name has 3"),
        ("gs:///r", "the bucket ''"),
        ("gs://Bucket/r", "the bucket 'Bucket'"),
        ("gs://user@bucket/r", "the bucket 'user@bucket'"),
        ("gs://bucket/a//r", "an empty part"),
        ("gs://bucket/../r", "an empty part, '.' or '..'"),
        ("gs://bucket/r*", "holds one of"),
        ("gs://bucket/r\n2", "holds one of"),
        ("gs://bucket/" + "x" * 1000, "longer than 900 bytes"),
    ],
)
def test_what_does_not_work_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        addresses.parse(text, ("gs",), "--workdir")
