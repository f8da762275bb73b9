"""The stream of batches: decided by (seed, step), whoever makes it and wherever it went on."""

import json

import jax
import numpy as np
import pytest
from absl import flags

from arm_jax.data import images, jitter, pipeline, sources
from arm_jax.data.image_files import ImageFile, LabelFile
from arm_jax.data.labels import generic
from arm_jax.networks.input import normalize
from arm_jax.system.errors import InputError

CLASSES = generic(["a", "b", "c"])
CROP = (12, 16)


class Records:
    """Small random pictures of different sizes; record `bad` cannot be read."""

    classes = CLASSES

    def __init__(self, number=10, bad=None):
        self._number, self._bad = number, bad

    def __len__(self):
        return self._number

    def __getitem__(self, index):
        if index == self._bad:
            raise InputError(f"record {index} is broken")
        rng = np.random.default_rng(int(index))
        size = (14 + int(index) % 3, 18)
        return {
            "image": rng.integers(0, 256, (*size, 3), np.uint8),
            "label": rng.integers(0, 3, size).astype(np.uint8),
            "id": str(index),
        }


def stream(source=None, **options):
    options = {"crop": CROP, "batch_size": 4, "seed": 5, **options}
    return pipeline.training_batches(Records() if source is None else source, **options)


def take(batches, number):
    iterator = batches if hasattr(batches, "get_state") else iter(batches)
    taken = [next(iterator) for _ in range(number)]
    if iterator is not batches:
        iterator.close()
    return taken


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].dtype == b[key].dtype
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.fixture(scope="module")
def expected():
    return take(stream(), 9)


def test_shapes_and_types(expected):
    batch = expected[0]
    shapes = {key: (array.shape, array.dtype.name) for key, array in batch.items()}
    assert shapes == {
        "image": ((4, 12, 16, 3), "uint8"),
        "label": ((4, 12, 16), "uint8"),
        "extent": ((4, 2), "int32"),
        "key": ((4, 2), "uint32"),
        "index": ((4,), "int64"),
    }
    for batch in expected:
        for label, (height, width) in zip(batch["label"], batch["extent"], strict=True):
            assert (label[:height, :width] < 3).all()
            assert (label[height:] == 255).all() and (label[:, width:] == 255).all()


def test_seed_decides(expected):
    assert_equal(take(stream(), 9), expected)
    other = take(stream(seed=6), 3)
    assert any((a["index"] != b["index"]).any() for a, b in zip(other, expected, strict=False))
    assert all((a["key"] != b["key"]).all() for a, b in zip(other, expected, strict=False))


@pytest.mark.parametrize("threads", [0, 4])
def test_threads_change_nothing(expected, threads):
    assert_equal(take(stream(threads=threads), 9), expected)


def test_an_example_is_what_augment_makes_of_its_record():
    """With nothing left to chance: no flip, one size, a crop that is the image."""
    source = Records()
    batches = stream(source, crop=(16, 18), ratio=(1.0, 1.0), flip=False, category_limit=1.0)
    for batch in take(batches, 3):
        for place, index in enumerate(batch["index"]):
            record = source[index]
            height, width = record["label"].shape
            assert tuple(batch["extent"][place]) == (height, width)
            np.testing.assert_array_equal(batch["image"][place, :height, :width], record["image"])
            np.testing.assert_array_equal(batch["label"][place, :height, :width], record["label"])


def test_epochs_visit_every_record_once_in_their_own_order(expected):
    indices = np.concatenate([batch["index"] for batch in expected])[:30].reshape(3, 10)
    for epoch in indices:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in indices}) == 3


def test_a_record_is_augmented_anew_in_each_epoch(expected):
    keys = np.concatenate([batch["key"] for batch in expected])
    assert len(np.unique(keys, axis=0)) == len(keys)
    indices = np.concatenate([batch["index"] for batch in expected])
    images = np.concatenate([batch["image"] for batch in expected])
    first, second = images[indices == 0][:2]
    assert (first != second).any()


def test_the_order_does_not_follow_the_augmentation(expected):
    plain = take(stream(flip=False, category_limit=1.0, ratio=(1.0, 1.0)), 9)
    for a, b in zip(plain, expected, strict=True):
        np.testing.assert_array_equal(a["index"], b["index"])


@pytest.mark.parametrize("number", [1, 3])
def test_a_data_set_may_be_smaller_than_a_batch(number):
    batches = take(stream(Records(number)), 6)
    indices = np.concatenate([batch["index"] for batch in batches])
    counts = np.bincount(indices, minlength=number)
    assert (counts == 24 // number).all()


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_batch_in_order(expected, count):
    parts = [take(stream(process_index=i, process_count=count), 5) for i in range(count)]
    joined = [
        {key: np.concatenate([part[step][key] for part in parts]) for key in expected[0]}
        for step in range(5)
    ]
    assert_equal(joined, expected[:5])


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_a_saved_position_continues_exactly(expected, stop):
    iterator = iter(stream())
    take(iterator, stop)
    state = json.loads(json.dumps(iterator.get_state()))
    take(iterator, 2)
    iterator.close()
    fresh = iter(stream())
    fresh.set_state(state)
    assert_equal(take(fresh, 9 - stop), expected[stop:])
    fresh.set_state(state)
    assert fresh.get_state() == state
    assert_equal(take(fresh, 2), expected[stop : stop + 2])
    fresh.close()


def test_a_position_is_that_of_all_processes(expected):
    second = iter(stream(process_index=1, process_count=2))
    alone = iter(stream())
    take(second, 3)
    take(alone, 3)
    assert second.get_state() == alone.get_state()
    fresh = iter(stream(process_index=0, process_count=2))
    fresh.set_state(alone.get_state())
    np.testing.assert_array_equal(next(fresh)["image"], expected[3]["image"][:2])
    for iterator in (second, alone, fresh):
        iterator.close()


def test_two_workers_give_the_same_batches_and_continue_exactly(expected):
    flags.FLAGS.unparse_flags()  # as in a script of one's own, which has none
    iterator = iter(stream(workers=2))
    assert_equal(take(iterator, 4), expected[:4])
    state = iterator.get_state()
    take(iterator, 1)
    iterator.set_state(state)
    assert_equal(take(iterator, 5), expected[4:])
    iterator.close()
    # And the position is worth as much without workers.
    fresh = iter(stream(workers=0))
    fresh.set_state(state)
    assert_equal(take(fresh, 2), expected[4:6])
    fresh.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_record_stops_with_its_own_message(workers):
    iterator = iter(stream(Records(bad=3), workers=workers))
    with pytest.raises(InputError, match="record 3 is broken"):
        take(iterator, 3)
    iterator.close()


def test_other_data_or_batch_sizes_cannot_continue():
    iterator = iter(stream())
    with pytest.raises(InputError, match="have 10 records now and had 11"):
        iterator.set_state({"examples": 8, "records": 11})
    with pytest.raises(InputError, match="10 examples, is no whole number of batches of 4"):
        iterator.set_state({"examples": 10, "records": 10})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": Records(0)}, "data are empty"),
        ({"batch_size": 3, "process_count": 2}, "batch_size = 3 cannot be split"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"crop": (0, 4)}, "crop = 0x4"),
        ({"ratio": (2.0, 0.5)}, "ratio = "),
        ({"category_limit": 0.0}, "category_limit = 0.0"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    source = options.pop("source", Records())
    with pytest.raises(InputError, match=message):
        stream(source, **options)


def test_scenes_go_all_the_way_to_the_network_input():
    source = sources.open_source("scenes", images=3, size=(32, 64), labels="coarse")
    batch = take(stream(source, crop=(32, 32), batch_size=2), 1)[0]
    inputs = normalize(jax.jit(jitter.jitter)(batch["image"], batch["key"]), batch["extent"])
    assert inputs.shape == (2, 32, 32, 3)
    plain = normalize(batch["image"], batch["extent"])
    assert 0.2 < float(np.abs(plain).mean()) < 3
    assert (batch["label"] != source.classes.ignore).any()


class Encoded(Records):
    """The same records as PNG files, which are decoded as far as they are needed."""

    reads = 0

    def encoded(self, index):
        type(self).reads += 1
        record = self[index]
        label = LabelFile(images.encode_png(record["label"]), "label")
        image = ImageFile(images.encode_png(record["image"]), "image")
        return {**record, "image": image, "label": label}


@pytest.mark.parametrize("crop", [(12, 16), (6, 8)])
def test_pictures_as_files_give_the_same_batches(crop):
    plain, encoded = take(stream(crop=crop), 6), take(stream(Encoded(), crop=crop), 6)
    assert Encoded.reads >= 24
    for a, b in zip(plain, encoded, strict=True):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
