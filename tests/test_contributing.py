"""The worked examples of CONTRIBUTING.md are executed; what is forgotten in one is named."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx
from official_trees import save

from arm_jax import consistency, losses, networks, settings, weightings
from arm_jax.data import sources
from arm_jax.data.formats import FORMATS
from arm_jax.run import configs, loop
from arm_jax.system import config_files, sharding
from arm_jax.system.errors import InputError
from arm_jax.weights import export

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
EXAMPLES = {
    block.split()[1].removesuffix(".py:"): block
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
}
TABLES = (
    settings.BY_KEY,
    weightings.WEIGHTINGS,
    losses.LOSSES,
    networks.HEADS,
    networks.BACKBONES,
    networks.ARCHITECTURES,
    sources.DATASETS,
    FORMATS,
)


@pytest.fixture(autouse=True)
def tables_as_they_were():
    before = [dict(table) for table in TABLES]
    yield
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)


def load(folder, name, change=lambda text: text, **overrides):
    """The config of an example, with smoke's settings and its own name still there."""
    path = folder / f"{name}.py"
    path.write_text(change(EXAMPLES[name]))
    chosen = config_files.load(str(path))
    config = config_files.load(f"{path}:smoke")
    config.update_from_flattened_dict({"model.name": chosen.model.name, **overrides})
    return config


def test_they_are_short():
    assert list(EXAMPLES) == ["power", "focal", "sum_head", "plain", "drone", "boxes"]
    assert max(len(text.splitlines()) for text in EXAMPLES.values()) <= 30


@pytest.mark.slow
def test_a_weighting_trains(tmp_path, monkeypatch, capsys):
    tiny.shrink(monkeypatch)
    overrides = {"model.name": "deeplabv3plus_resnet18", "arm.gamma": 3.0}
    config = load(tmp_path, "power", **overrides)
    mesh = sharding.one_device()
    loop.train(config, tmp_path / "run", mesh=mesh)
    assert "W(v) = ((1 - v) / 2)^3" in capsys.readouterr().out
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) >= 2
    module = weightings.create(config.arm, nnx.Rngs(0))
    np.testing.assert_allclose(module(jnp.array([-1.0, 0.0, 1.0])), [1, 0.125, 0])


def test_a_setting_of_ones_own_is_recorded_with_the_run(tmp_path):
    config = load(tmp_path, "power", **{"arm.gamma": 3.0})
    (tmp_path / "config.json").write_text(json.dumps(settings.flat(config)))
    assert configs.read(tmp_path)["arm.gamma"] == 3.0
    again = settings.overridden(config, ["--config.arm.gamma=4"])
    with pytest.raises(InputError, match=r"arm\.gamma"):
        configs.continued(tmp_path, again)
    for table in (weightings.WEIGHTINGS, settings.BY_KEY):
        for name in ("power", "arm.gamma"):
            table.pop(name, None)
    with pytest.raises(InputError, match=r"arm.kind = 'power'.*what a file adds that --config nam"):
        consistency.checked(settings.overridden(configs.read(tmp_path), []))


def test_a_loss_weighs_the_sure_less(tmp_path):
    config = load(tmp_path, "focal")
    log_p = jnp.log(jnp.array([[[0.5, 0.99]]]))
    valid = jnp.ones(log_p.shape, bool)
    loss, counted, signal = losses.LOSSES["focal"].pixels(log_p, {"valid": valid}, config.loss)
    np.testing.assert_allclose(loss, [[[0.25 * np.log(2), -1e-4 * np.log(0.99)]]], rtol=1e-4)
    assert counted.all() and signal is None
    consistency.checked(config)


@pytest.mark.parametrize("name", [pytest.param("sum_head", marks=pytest.mark.slow), "plain"])
def test_a_network_scores_pixels_by_what_is_there(tmp_path, name):
    config = load(tmp_path, name)
    sizes = tiny.sizes(config.model.name, channels=8, width=4)

    @jax.jit
    def scores(images):
        model = networks.create(config.model.name, 5, output_stride=16, rngs=nnx.Rngs(0), **sizes)
        return model(images, auxiliary=True)

    main, coarse = scores(jax.random.normal(jax.random.key(0), (2, 64, 32, 3)))
    assert main.shape == (2, 16, 8, 5) and coarse.shape == (2, 4, 2, 5)
    for found in (main, coarse):
        assert jnp.isfinite(found).all() and jnp.all(jnp.std(found, axis=(0, 1, 2)) > 0)
    whole = nnx.eval_shape(lambda: networks.create(config.model.name, 5, rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match=r"by the names of mmsegmentation, which has none for \d+"):
        export.tensors(whole, "mmsegmentation")


def test_a_layout_reads_its_tree(tmp_path):
    for flight, value in (("flight1", 20), ("flight2", 0)):
        save(tmp_path / flight / "photos" / "a.png", np.zeros((6, 8, 3), np.uint8))
        save(tmp_path / flight / "masks" / "a_mask.png", np.full((6, 8), value, np.uint8))
    load(tmp_path, "drone")
    for split, label in (("train", 1), ("val", 255)):
        source = sources.open_source("drone", root=tmp_path, split=split)
        assert len(source) == 1 and source[0]["id"] == "a"
        assert (source[0]["label"] == label).all() and source.classes.names[1] == "plant"
    with pytest.raises(InputError, match="a flight is photos/NAME"):
        sources.open_source("drone", root=tmp_path / "flight1")


def test_a_label_format_is_recognised(tmp_path):
    save(tmp_path / "images" / "a.png", np.zeros((6, 8, 3), np.uint8))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.boxes").write_text("car 1 1 4 3\nroad 0 0 0 0\n")
    load(tmp_path, "boxes")
    source = sources.open_source("folders", root=tmp_path, split="", classes=("road", "car"))
    assert source.about()[0] == "labels are boxes"
    np.testing.assert_array_equal(np.argwhere(source[0]["label"] == 1)[[0, -1]], [[1, 1], [2, 3]])
    (tmp_path / "labels" / "a.boxes").write_text("car 1 1 4\n")
    with pytest.raises(InputError, match=r"a\.boxes: cannot be drawn \(not enough values"):
        source[0]


@pytest.mark.parametrize(
    ("name", "line", "lacking"),
    [
        ("power", "    observes=False,\n", "Weighting.* lacks observes"),
        ("focal", "channels=(), ", "Loss.* lacks channels"),
        ("sum_head", '"needs_coarse": False, ', "Head.* lacks needs_coarse"),
        ("plain", ', "names": lambda variant: {}', "Backbone.* lacks names"),
        ("drone", '    splits={"train": "flight1", "val": "flight2"},\n', "Layout.* lacks splits"),
        ("boxes", "    read=read,\n", "Shapes.* lacks read"),
    ],
)
def test_a_forgotten_part_is_named(tmp_path, name, line, lacking):
    assert line in EXAMPLES[name]
    with pytest.raises(InputError, match=lacking) as error:
        load(tmp_path, name, lambda text: text.replace(line, ""))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "key", "known"),
    [
        ("power", "arm.kind", "learned, .*power"),
        ("focal", "loss.kind", "ce, .*focal"),
        ("sum_head", "model.name", "deeplabv3plus_resnet50, .*sum_resnet50"),
        ("drone", "data.dataset", "folders, .*drone"),
    ],
)
def test_an_unknown_name_is_refused_with_the_list(tmp_path, name, key, known):
    config = load(tmp_path, name, **{key: "powr"})
    with pytest.raises(InputError, match=f"{key} = 'powr'.*{known}") as error:
        consistency.checked(config)
    assert "\n" not in str(error.value)
