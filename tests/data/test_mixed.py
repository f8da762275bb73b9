"""Several sources in one run: exact shares, an order of one number, and what is refused."""

import json
from fractions import Fraction

import cv2
import numpy as np
import pytest

from arm_jax import settings
from arm_jax.data import check, pipeline, shares, sources
from arm_jax.data.labels import generic
from arm_jax.data.mixed import Composition, MixedSource, Part
from arm_jax.run import configs, inputs
from arm_jax.system.errors import InputError

CLASSES = generic(["sky", "road"])
SHARES = (Fraction(1, 2), Fraction(3, 8), Fraction(1, 8))


class Plain:
    """Images of one colour, which is the number of their source."""

    classes = CLASSES

    def __init__(self, color, number):
        self._color, self._number = color, number

    def __len__(self):
        return self._number

    def __getitem__(self, index):
        image = np.full((8, 8, 3), self._color, np.uint8)
        return {"image": image, "label": np.eye(8, dtype=np.uint8), "id": f"{self._color}/{index}"}


def mixture(numbers=(3, 5, 7), weigh=(False, True, True)):
    parts = [
        Part(str(k), Plain(k, number), share, weighs)
        for k, (number, share, weighs) in enumerate(zip(numbers, SHARES, weigh, strict=True))
    ]
    return MixedSource(parts)


def stream(source, **options):
    options = {"crop": (8, 8), "batch_size": 4, "seed": 3, "threads": 0} | options
    return pipeline.training_batches(source, **options)


def take(batches, number):
    iterator = iter(batches)
    found = [next(iterator) for _ in range(number)]
    iterator.close()
    return {key: np.concatenate([batch[key] for batch in found]) for key in found[0]}


@pytest.mark.parametrize(
    "parts",
    [(1,), (1, 1), (1, 29), (2, 3, 5), (7, 1, 1, 1), (13, 11, 5, 3, 1), (1, 1, 1, 1, 1, 1, 31)],
)
def test_each_source_has_its_share_of_every_beginning_to_less_than_one(parts):
    shares = [Fraction(part, sum(parts)) for part in parts]
    order, counts = Composition(shares), [0] * len(parts)
    for example in range(2 * order.period):
        source, before = order[example]
        assert before == counts[source]
        counts[source] += 1
        for count, share in zip(counts, shares, strict=True):
            assert abs(count - (example + 1) * share) < 1
    assert counts == [2 * order.period * share for share in shares]
    far = 10**9 * order.period
    assert [order[far + p][0] for p in range(order.period)] == order._source
    assert order[far] == (order[0][0], 10**9 * parts[order[0][0]])


def test_batches_hold_the_shares_and_every_source_its_own_epochs():
    source = mixture()
    found = take(stream(source), 20)
    of = np.array([source.part_of(index) for index in found["index"]])
    assert np.bincount(of).tolist() == [40, 30, 10]
    np.testing.assert_array_equal(found["image"][:, 0, 0, 0], of)
    np.testing.assert_array_equal(found["weighed"], of != 0)
    assert "corrected" not in found and "completed" not in found  # done to all
    for batch in of.reshape(10, 8):  # the period
        assert np.bincount(batch).tolist() == [4, 3, 1]
    for part, (start, number) in enumerate(((0, 3), (3, 5), (8, 7))):
        seen = found["index"][of == part]
        epochs = seen[: len(seen) // number * number].reshape(-1, number)
        assert all(sorted(epoch) == list(range(start, start + number)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1 or len(epochs) == 1
    other = take(stream(source, seed=4), 20)
    assert (other["index"] != found["index"]).any()
    np.testing.assert_array_equal(other["weighed"], found["weighed"])  # the shares decide


def test_a_mixture_goes_on_where_it_was_and_on_any_number_of_processes():
    source = mixture()
    whole = take(stream(source), 6)
    halves = [take(stream(source, process_index=i, process_count=2), 6) for i in (0, 1)]
    for key, values in whole.items():
        parts = [half[key].reshape(6, 2, *values.shape[1:]) for half in halves]
        joined = np.concatenate(parts, axis=1).reshape(values.shape)
        np.testing.assert_array_equal(joined, values, err_msg=key)
    first = iter(stream(source))
    for _ in range(2):
        next(first)
    state = first.get_state()
    first.close()
    again = iter(stream(source))
    again.set_state(state)
    rest = [next(again) for _ in range(4)]
    again.close()
    for key, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([b[key] for b in rest]), values[8:])
    moved = iter(stream(mixture((4, 4, 7))))
    with pytest.raises(InputError, match=r"sources have \[4, 4, 7\] records now and had \[3, 5"):
        moved.set_state(state)


def test_nothing_is_added_where_all_are_weighed():
    assert mixture(weigh=(True, True, True)).marks() == {}
    assert "weighed" not in take(stream(mixture(weigh=(True, True, True))), 1)
    alone = MixedSource([Part("a", Plain(0, 5), Fraction(1))])
    np.testing.assert_array_equal(
        take(stream(alone), 5)["index"], take(stream(Plain(0, 5)), 5)["index"]
    )


@pytest.fixture
def folders(tmp_path):
    """fine/, coarse/ and rest/, of which the last has no labels."""
    for name, images in (("fine", 2), ("coarse", 3), ("rest", 4)):
        (tmp_path / name / "images").mkdir(parents=True)
        for k in range(images):
            image = np.full((8, 8, 3), 10 * k, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"images/{k}.png"), image)
            if name != "rest":
                (tmp_path / name / "labels").mkdir(exist_ok=True)
                cv2.imwrite(str(tmp_path / name / f"labels/{k}.png"), np.eye(8, dtype=np.uint8))
    return tmp_path


THREE = (
    {"root": "fine", "share": 0.25, "weigh": False},
    {"root": "coarse", "share": 0.5},
    {"root": "rest", "share": 0.25, "labelled": False},
)


def config(root, given, **changes):
    changes = {
        "data.root": str(root),
        "data.train_split": "",
        "data.classes": ("sky", "road"),
        "targets.average": 0.1,
        "targets.complete": "class",
        "data.sources": given,
    } | changes
    return settings.frozen(settings.defaults(), changes)


def test_folders_below_one_root(folders):
    source = inputs.training_source(config(folders, THREE))
    assert [part.name for part in source.parts] == ["fine", "coarse", "rest"]
    assert source.numbers == (2, 3, 4) and len(source) == 9
    assert [part.share for part in source.parts] == [Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)]
    labelled = [bool((source[index]["label"] != 255).any()) for index in range(9)]
    assert labelled == 5 * [True] + 4 * [False]
    marks = source.marks()
    assert marks["weighed"].tolist() == marks["corrected"].tolist() == 2 * [False] + 7 * [True]
    assert "completed" not in marks
    fine, coarse, rest = THREE
    own = ({**fine, "correct": True}, {**coarse, "correct": False, "complete": False}, rest)
    marks = inputs.training_source(config(folders, own)).marks()
    assert marks["weighed"].tolist() == 2 * [False] + 7 * [True]
    for key in ("corrected", "completed"):
        assert marks[key].tolist() == 2 * [True] + 3 * [False] + 4 * [True]
    assert source.fingerprint() and source.inspect(8)[255] == 64
    # The images of a labelled folder, whose labels are not looked at.
    (folders / "fine/labels/0.png").write_bytes(b"no image")
    hidden = ({"root": "coarse", "share": 0.5}, {"root": "fine", "share": 0.5, "labelled": False})
    source = inputs.training_source(config(folders, hidden))
    assert (source[3]["label"] == 255).all() and source.numbers == (3, 2)


def test_images_of_other_data_sets_are_taken_without_their_labels():
    hidden = sources.open_source("scenes", images=3, size=(16, 32), labelled=False)
    shown = sources.open_source("scenes", images=3, size=(16, 32))
    assert len(hidden) == 3 and (hidden[1]["label"] == 255).all()
    np.testing.assert_array_equal(hidden[1]["image"], shown[1]["image"])


@pytest.mark.parametrize(
    ("given", "changes", "words"),
    [
        (({"root": "fine", "share": 0.5},), {}, "add up to 0.5"),
        (({"share": 0.5}, {"share": 0.6, "name": "b"}), {}, "add up to 1.1"),
        (({"root": "fine", "share": -1},), {}, "share = -1; it must be a number above 0"),
        (({"root": "fine", "share": 0},), {}, "share = 0; it must be a number above 0"),
        (({"root": "fine"},), {}, "number 1 has no 'share'"),
        (({"root": "fine", "share": 1, "weihg": True},), {}, "did you mean weigh?"),
        (({"share": 1, "eval_split": "x"},), {}, "unknown key 'eval_split'"),
        (("fine",), {}, "it must be a tuple of mappings"),
        (({"share": 1, "labelled": False},), {}, "no source has labels"),
        (THREE, {"targets.complete": "none"}, "nothing is learnt from 'rest'"),
        ((*THREE[:2], {**THREE[2], "complete": False}), {}, "neither labels nor is completed"),
        (({"share": 1, "weigh": False},), {}, "no source with labels is weighed"),
        (
            ({"root": "a", "share": 0.5}, {"root": "b/a", "share": 0.5}),
            {},
            "two sources are called",
        ),
        (({"root": "gone", "share": 1},), {}, "data.sources: gone: .*gone"),
        (({"root": "rest", "share": 1},), {}, "rest: .*labels: no such folder.* 'labelled': False"),
        (({"root": "hdfs://x/y", "share": 1},), {}, "has the scheme hdfs"),
        (THREE, {"data.fold": (0, 2)}, "data.fold = .*numbers the images of one source"),
    ],
)
def test_what_cannot_be_meant_is_one_line(folders, given, changes, words):
    with pytest.raises(InputError, match=words) as caught:
        inputs.training_source(config(folders, given, **changes))
    assert "\n" not in str(caught.value)


def test_the_command_line_and_a_recorded_config_give_the_one_form():
    text = (
        '({"root":"fine","share":0.25,"weigh":False},{"root":"coarse","share":0.5},'
        '{"root":"rest","share":0.25,"labelled":False})'
    )
    parsed = settings.parsed("data.sources", text)
    assert parsed == settings.valid("data.sources", THREE)
    assert parsed == settings.valid("data.sources", [[list(pair) for pair in x] for x in parsed])
    assert hash(parsed) and settings.parsed("data.sources", repr(parsed)) == parsed


def test_the_check_counts_each_source_and_balance_counts_what_training_meets(folders, tmp_path):
    (folders / "fine/labels/0.png").unlink()
    cv2.imwrite(str(folders / "fine/labels/0.png"), np.zeros((8, 8), np.uint8))
    source = inputs.training_source(config(folders, THREE))
    for _ in range(2):  # the second is from the cache
        found = check.check(source, name="training", cache=tmp_path, progress=False)
        assert (found.records, found.pixels, found.ignored) == (9, (56 + 64 + 3 * 56, 32), 256)
        assert {name: part.pixels for name, part in found.parts} == {
            "fine": (120, 8),
            "coarse": (168, 24),
        }
    met = (0.25 * 9 * 120 / 2 + 0.5 * 9 * 168 / 3, 0.25 * 9 * 8 / 2 + 0.5 * 9 * 24 / 3)
    assert check.pixels(source, found) == tuple(round(n) for n in met)
    table, remarks = shares.judge(CLASSES, {"training": found})
    assert table.split("\n")[0].split()[-3:] == ["training", "fine", "coarse"]
    assert "12.500" in table.split("\n")[2] and not any("ignore" in line for line in remarks)
    for k in range(3):
        cv2.imwrite(str(folders / f"coarse/labels/{k}.png"), np.full((8, 8), 255, np.uint8))
    with pytest.raises(InputError, match="training, coarse: all pixels of all 3 labels have the"):
        values = {"data.label_values": ((0, 0), (1, 1), (255, 255))}  # or these would be masks
        source = inputs.training_source(config(folders, THREE, **values))
        check.check(source, name="training", progress=False)


def test_a_run_goes_on_where_only_the_roots_moved(folders, tmp_path):
    (tmp_path / "run").mkdir()
    then = config(folders, THREE)
    (tmp_path / "run" / configs.FILE).write_text(json.dumps(settings.flat(then)))
    named = [dict(source) | {"name": source["root"]} for source in THREE]
    moved = [source | {"root": f"/elsewhere/{source['root']}"} for source in named]
    line = configs.continued(tmp_path / "run", config("", moved))[-1]
    assert "without effect on weights or scores: data.root" in line and "data.sources" in line
    changed = [*moved[:2], moved[2] | {"train_images": 2}]
    with pytest.raises(InputError, match=r"belongs to a run with another config \(data.sources: "):
        configs.continued(tmp_path / "run", config("", changed))
