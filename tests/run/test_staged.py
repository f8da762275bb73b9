"""Runs whose data and weights lie at an address."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import serving
from test_end_to_end import final_state, finish, start

from arm_jax import settings
from arm_jax.data import prepare, sources
from arm_jax.run import inputs, staged
from arm_jax.system.errors import InputError
from arm_jax.system.staging import sets, stage
from arm_jax.weights import weight_files


@pytest.fixture
def server():
    stage._staged.clear()
    with serving() as one:
        yield one
    stage._staged.clear()
    stage._found.clear()
    sets._held.pop_all().close()


def upload(server, folder: Path, name: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            server.files[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    server.sums(name)
    return f"{server.address}/{name}"


def own_data(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, shape in (("images", (16, 16, 3)), ("labels", (16, 16))):
            (folder / kind / split).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256 if kind == "images" else 2, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / kind / split / f"{number}.png")
    return folder


def config(tmp_path, **changes):
    changes = {f"data.{key}": value for key, value in changes.items()}
    changes |= {"data.classes": ("a", "b"), "data.staging_folder": str(tmp_path / "cache")}
    pretrained = changes.pop("data.pretrained", "")
    return settings.frozen(settings.defaults(), changes | {"model.pretrained": pretrained})


def test_folders_of_a_server_are_read_as_those_of_a_disk(server, tmp_path):
    folder = own_data(tmp_path / "own")
    here = inputs.training_source(config(tmp_path, root=str(folder)))
    address = upload(server, folder, "own")
    there = config(tmp_path, root=address)
    staged.bring(there, "train")
    asked = len(server.asked)
    source = inputs.training_source(there)
    evaluated = inputs.evaluation_source(there, source.classes)
    assert len(server.asked) == asked and len(evaluated) == 3  # all of it was staged
    for one, other in zip(here, source, strict=True):
        assert one["id"] == other["id"]
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["label"], other["label"])
    # Below an address, a source of several is its own set.
    stage._staged.clear()
    several = config(tmp_path, root=server.address, sources=({"root": "own", "share": 1.0},))
    assert list(inputs.addresses_of(several, "review")) == [address]


def test_all_addresses_are_looked_at_before_one_is_staged(server, tmp_path):
    address = upload(server, own_data(tmp_path / "own"), "own")
    weights = f"{server.address}/nowhere.safetensors"
    asked = config(tmp_path, root=address, pretrained=weights)
    assert list(inputs.addresses_of(asked, "train")) == [address, weights]
    assert list(inputs.addresses_of(asked, "evaluate")) == [address]
    assert not inputs.addresses_of(asked, "predict")
    with pytest.raises(InputError, match=r"model.pretrained .*nowhere.*: there is nothing"):
        staged.bring(asked, "train")
    assert not list((tmp_path / "cache").glob("own*"))


@pytest.mark.parametrize("root", ["gs:/b", "gs://B/x", "ftp://a/b", "https://"])
def test_addresses_that_cannot_be_are_refused_before_jax_is_imported(tmp_path, root):
    with pytest.raises(InputError, match=r"^data.root .*; (give|write|correct)|names no machine"):
        inputs.addresses_of(config(tmp_path, root=root), "train")


def test_weights_of_a_server(server, tmp_path):
    from safetensors.numpy import save

    server.files["w.safetensors"] = save({"a": np.arange(3.0)})
    address = f"{server.address}/w.safetensors"
    weight_files.locate(address, stage.Cache(str(tmp_path / "cache")))
    np.testing.assert_array_equal(weight_files.read(address)["a"], np.arange(3.0))
    assert weight_files.is_staged(address) and weight_files.is_staged("gs://bucket/x.pth")
    assert not any(map(weight_files.is_staged, ("gs://bucket/run", "hf://a/b", "w.safetensors")))


@pytest.mark.slow
def test_a_run_on_a_prepared_set_of_a_server_is_that_on_a_disk(server, tmp_path):
    folder = prepare.ensure("street_scenes", tmp_path / "data", config="smoke", progress=False)
    address = upload(server, folder, "scenes")
    options = ["--config.data.dataset=prepared", "--config.steps=4", "--config.eval_every=4"]
    cache = [f"--config.data.staging_folder={tmp_path / 'cache'}"]
    finish(start(tmp_path / "here", *options, f"--config.data.root={folder}"))
    there = [*options, *cache, f"--config.data.root={address}"]
    output = finish(start(tmp_path / "there", *there))
    assert f"staging      {address}: " in output
    here, there_ = final_state(tmp_path / "here"), final_state(tmp_path / "there")
    assert here.keys() == there_.keys()
    for path in here:
        np.testing.assert_array_equal(here[path], there_[path], err_msg=path)
    # Two processes of one machine fetch each file once.
    server.asked.clear()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = [*there[:1], "--config.steps=1", f"--config.data.staging_folder={tmp_path / 'second'}"]
    group = [f"--coordinator=127.0.0.1:{port}", "--processes=2"]
    both = [
        start(tmp_path / "two", *other, there[-1], *group, f"--process={number}", devices=2)
        for number in range(2)
    ]
    for process in both:
        finish(process)
    fetched = [path for path, first in server.asked if first >= 0 and "SHA256SUMS" not in path]
    assert sorted(fetched) == sorted(set(fetched)) and len(fetched) >= 3


def test_what_is_written_before_it_is_read_has_no_address(server, tmp_path):
    asked = config(tmp_path, dataset="street_scenes", root=server.address)
    assert not inputs.addresses_of(asked, "train")
    with pytest.raises(InputError, match="written there before it is read"):
        sources.open_source("street_scenes", root=server.address)
