"""Kept features: what they are, which files they need, and a run on them."""

import jax
import numpy as np
import pytest
import tiny
from flax import nnx

import arm_jax
from arm_jax import experiment as experiments
from arm_jax import networks, settings
from arm_jax.data import pipeline
from arm_jax.data.labels import STREET_SCENES, generic
from arm_jax.networks.parts import PARTS
from arm_jax.run import feature_cache, loop
from arm_jax.run.progress import Progress
from arm_jax.system import sharding
from arm_jax.system.errors import InputError, Stopped
from arm_jax.training import step
from arm_jax.weights import export
from configs import base

HEAD = {
    "model.freeze": PARTS[:4],
    "model.feature_cache": True,
    "augment.ratio": (1.0, 1.0),
    "augment.jitter": False,
    "augment.crop": (32, 64),
}


class Records:
    """Four images of two sizes."""

    classes = generic([f"class {number}" for number in range(tiny.CLASSES)])

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rng, size = np.random.default_rng(index), ((32, 64), (40, 72))[index % 2]
        return {
            "image": rng.integers(0, 256, (*size, 3), np.uint8),
            "label": rng.integers(0, tiny.CLASSES, size).astype(np.uint8),
            "id": str(index),
        }


@pytest.fixture(scope="module")
def model():
    found = tiny.segmenter()
    networks.freeze(found.backbone, PARTS[:4])
    return found


def config(folder, **changes):
    start = {"model.pretrained": "given", "model.output_stride": 16, "model.dtype": "float32"}
    start["model.feature_folder"] = str(folder)
    return settings.frozen(settings.defaults(), HEAD | start | changes)


def batches(config, kept=None):
    iterator = iter(
        pipeline.training_batches(
            Records(),
            crop=config.augment.crop,
            batch_size=8,
            seed=3,
            ratio=config.augment.ratio,
            flip=config.augment.flip,
            features=kept,
        )
    )
    batch = next(iterator)
    iterator.close()
    return batch


def test_examples_are_those_of_the_images_up_to_float16(model, tmp_path):
    # A crop of all of the larger images too: what is padded is padded before the network sees it.
    now = config(tmp_path, **{"augment.crop": (48, 80)})
    kept = feature_cache.prepare(model, Records(), now)
    found, direct = batches(now, kept), batches(now)
    for name in ("key", "index"):
        np.testing.assert_array_equal(found[name], direct[name])
    method = tiny.method({"augment.jitter": False, "model.dtype": "float32"})
    expected = model.frozen_features(step.network_input(direct, method))
    assert set(found["features"]) == {"stage1", "stage3"}
    mirrored = 0
    for row, index in enumerate(found["index"]):
        extent = tuple(direct["extent"][row])
        # Mirror images are padded on the left, so that their crops begin on the grid too.
        flipped = not np.array_equal(found["label"][row], direct["label"][row])
        mirrored += flipped
        columns = slice(80 - extent[1], None) if flipped else slice(extent[1])
        np.testing.assert_array_equal(
            found["label"][row][: extent[0], columns],
            direct["label"][row][: extent[0], : extent[1]],
        )
        if flipped or index % 2:
            continue
        for name, maps in expected.items():
            value = np.asarray(maps[row])
            np.testing.assert_array_equal(found["features"][name][row], value.astype(np.float16))
    assert 0 < mirrored < 8


def test_a_crop_is_a_part_of_the_features_of_the_whole_image(model, tmp_path):
    now = config(tmp_path, **{"augment.crop": (16, 32)})
    kept = feature_cache.prepare(model, Records(), now)
    assert set(kept.canvases) == {(32, 64), (48, 80)}
    whole = {
        name: np.concatenate(
            [np.concatenate([kept.part(0, flip, (top, left))[name] for left in (0, 32)], 1)
             for top in (0, 16)]
        )
        for flip in (True,)
        for name in kept.maps
    }  # fmt: skip
    image = Records()[0]["image"][None, :, ::-1]
    images = step.normalize(np.ascontiguousarray(image), np.array([[32, 64]]))
    for name, maps in model.frozen_features(images).items():
        np.testing.assert_array_equal(whole[name], np.asarray(maps[0]).astype(np.float16))
    # Labels and features of an example are of one place.
    batch = batches(now, kept)
    for row, index in enumerate(batch["index"]):
        label = Records()[int(index)]["label"]
        padded = np.full(kept.canvases[index], 255, np.uint8)
        padded[: label.shape[0], : label.shape[1]] = label
        places = [
            (top, left, flip)
            for flip in (False, True)
            for top in range(0, padded.shape[0] - 15, 16)
            for left in range(0, padded.shape[1] - 31, 16)
            if np.array_equal(
                (padded[:, ::-1] if flip else padded)[top : top + 16, left : left + 32],
                batch["label"][row],
            )
        ]
        assert len(places) == 1
        top, left, flip = places[0]
        for name, maps in kept.part(int(index), flip, (top, left)).items():
            np.testing.assert_array_equal(batch["features"][name][row], maps)


def test_damaged_entries_are_made_again_and_others_are_not(model, tmp_path, monkeypatch):
    now = config(tmp_path)
    kept = feature_cache.prepare(model, Records(), now)
    paths = [path for entries in kept.entries for path in entries]
    contents = [path.read_bytes() for path in paths]
    assert len(set(paths)) == 8
    paths[0].write_bytes(contents[0][:-1])  # cut
    paths[1].write_bytes(bytes([contents[1][0] ^ 1]) + contents[1][1:])  # one bit
    paths[2].unlink()
    computed = []
    monkeypatch.setattr(
        feature_cache.features, "write", spy(feature_cache.features.write, computed)
    )
    feature_cache.prepare(model, Records(), now)
    assert set(computed) == set(paths[:3])
    assert [path.read_bytes() for path in paths] == contents
    computed.clear()
    feature_cache.prepare(model, Records(), now)
    assert not computed
    paths[4].unlink()
    with pytest.raises(InputError, match=r"features was removed or cut .* same command makes it"):
        for _ in range(2):
            batches(now, kept)


def spy(function, seen):
    def called(path, *others):
        seen.append(path)
        return function(path, *others)

    return called


def test_other_weights_have_other_entries_and_the_folder_keeps_its_bound(model, tmp_path):
    first = feature_cache.prepare(model, Records(), config(tmp_path))
    used = sum(path.stat().st_size for path in tmp_path.rglob("*.features"))
    other = tiny.segmenter(seed=1)
    networks.freeze(other.backbone, PARTS[:4])
    assert feature_cache.weights_digest(other) != feature_cache.weights_digest(model)
    bound = {"model.feature_gib": 1.5 * used / 2**30}
    second = feature_cache.prepare(other, Records(), config(tmp_path, **bound))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.features")) <= 1.5 * used
    assert all(path.exists() for entries in second.entries for path in entries)
    there = [path.exists() for entries in first.entries for path in entries]
    assert 0 < sum(there) < len(there)
    bound = {"model.feature_gib": 0.9 * used / 2**30}
    with pytest.raises(
        InputError, match=r"features of 4 images have .* GiB, and model.feature_gib"
    ):
        feature_cache.prepare(other, Records(), config(tmp_path, **bound))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model.freeze": ("stage1",)},
            "model.freeze = .* must be the first parts of stem, stage1",
        ),
        ({"model.freeze": ("stem", "stage2")}, "in this order and without a gap"),
        ({"model.freeze": ("trunk",)}, "must be names out of stem, stage1, .* or stage4"),
        ({"model.pretrained": ""}, "would keep random weights as they are; set model.pretrained"),
        ({"model.freeze": ()}, "model.feature_cache = True has no effect without model.freeze"),
        ({"augment.ratio": (0.5, 2.0)}, r"augment.ratio = .* it must be \(1, 1\)"),
        ({"augment.jitter": True}, "augment.jitter = True .* must be False"),
        ({"augment.crop": (32, 60)}, "multiples of model.output_stride = 16"),
        ({"model.feature_gib": 0}, "model.feature_gib = 0; it must be a number above 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        config(tmp_path, **changes)


@pytest.mark.slow
def test_a_run_of_a_head_resumes_bit_identically_and_can_be_loaded(tmp_path, monkeypatch):
    tiny.shrink(monkeypatch)
    start = networks.create(
        "deeplabv3plus_resnet18", STREET_SCENES.number, output_stride=16, rngs=nnx.Rngs(5)
    )
    export.save_safetensors(start, tmp_path / "start.safetensors")
    changes = {
        "steps": 4,
        "data.size": (32, 64),
        "data.train_images": 8,
        "data.eval_images": 3,
        "eval_every": 4,
        "save_every": 2,
        "model.pretrained": str(tmp_path / "start.safetensors"),
        "model.feature_folder": str(tmp_path / "features"),
    }
    settings = base.get_config("smoke")
    settings.update_from_flattened_dict(HEAD | changes)
    mesh = sharding.one_device()
    whole = loop.train(settings, tmp_path / "whole", mesh=mesh)

    def interrupted(self, number, window):
        if number == 3:
            raise KeyboardInterrupt
        return after_step(self, number, window)

    after_step = Progress.after_step
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "after_step", interrupted)
        with pytest.raises((KeyboardInterrupt, Stopped)):
            loop.train(settings, tmp_path / "broken", mesh=mesh)
    continued = loop.train(settings, tmp_path / "broken", mesh=mesh)
    np.testing.assert_array_equal(whole.matrix, continued.matrix)
    runs = [arm_jax.load(tmp_path / name) for name in ("whole", "broken")]
    for one, other in zip(*(jax.tree.leaves(run.state) for run in runs), strict=True):
        np.testing.assert_array_equal(one, other)
    trunk = export.tensors(start)
    for name, value in export.tensors(runs[0].model).items():
        if name.startswith("backbone.") and "stages.3" not in name:
            np.testing.assert_array_equal(value, trunk[name])
    experiment = experiments.build(settings, STREET_SCENES)
    assert experiment.config.model.freeze == PARTS[:4]
    assert runs[0].predict(np.zeros((40, 50, 3), np.uint8)).shape == (40, 50)

    # What the weights lack cannot be frozen.
    changes["model.pretrained"] = str(tmp_path / "half.safetensors")
    tensors = {k: v for k, v in trunk.items() if not k.startswith("backbone.stages.1")}
    from safetensors.numpy import save_file

    save_file(tensors, tmp_path / "half.safetensors")
    settings.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=r"model.freeze names stage2, which .* does not have"):
        loop.train(settings, tmp_path / "half", mesh=mesh)
