"""Names from elsewhere make no path out of their root, on any system."""

import pytest

from arm_jax.system import names
from arm_jax.system.errors import InputError

HOSTILE = [
    "../a.png",
    "a/../../b.png",
    "a/..",
    "..",
    "/etc/passwd",
    "\\a.png",
    "..\\a.png",
    "a\\..\\..\\b.png",
    "C:\\a.png",
    "c:a.png",
    "//host/share/a.png",
    "\\\\host\\share\\a.png",
    "a\0b.png",
    "a/" + "b" * 256,
    "a/" * 3000 + "b",
    "\ud800.png",
    "",
    ".",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_out_is_refused_in_one_line(tmp_path, name):
    for make in (lambda: names.inside(name, "x.zip"), lambda: names.below(tmp_path, name, "x.zip")):
        with pytest.raises(InputError, match=r"^x\.zip: the name ") as caught:
            make()
        assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "..a/b..png", "a b/ü.png", "a/./b.png"])
def test_ordinary_names_stay_as_they_are(tmp_path, name):
    assert names.inside(name, "x.zip") == name
    assert names.below(tmp_path / "new", name) == tmp_path / "new" / name


def test_a_long_name_is_cut_in_the_message():
    with pytest.raises(InputError) as caught:
        names.inside("../" + "a" * 5000, "x.zip")
    assert len(str(caught.value)) < 300


def test_links_may_stay_inside_and_not_lead_out(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "real").mkdir(parents=True)
    other.mkdir()
    (root / "here").symlink_to("real")
    (root / "there").symlink_to(other)
    assert names.below(root, "here/a.png") == root / "here" / "a.png"
    with pytest.raises(InputError, match=r"there is a link that leads out of .*root, to .*other"):
        names.below(root, "there/a.png")
    (root / "loop").symlink_to("loop")
    with pytest.raises(InputError):
        names.below(root, "loop/a.png")
    # The root itself may be a link.
    (tmp_path / "link").symlink_to(root)
    assert names.below(tmp_path / "link", "real/a.png") == tmp_path / "link" / "real" / "a.png"


def test_addresses_are_no_folders_and_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names.local("~/runs") == tmp_path / "runs"
    for path in ("relative/x", "/absolute", "C:/x", "with:colon"):
        assert str(names.local(path)) == path
    for address in ("gs://bucket/run", "s3://b/r", "hdfs:/a", "file:///tmp/a"):
        with pytest.raises(InputError, match=f"--workdir {address} is an address"):
            names.local(address, "--workdir")
    with pytest.raises(InputError, match="longer than a path can be"):
        names.local("x" * 5000)
    with pytest.raises(InputError, match="~nobody-of-this-name"):
        names.local("~nobody-of-this-name/x")
