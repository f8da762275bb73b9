"""Every pixel is counted once, whatever the batches, devices and processes."""

import io
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from evaluation_standins import Records, TinySegmenter
from flax import nnx

from arm_jax.evaluation import boundary, evaluate, inference, labelled, metrics, passes, tiles
from arm_jax.evaluation.protocol import Protocol
from arm_jax.system import sharding
from arm_jax.system.errors import InputError

SIZES = [(24, 32)] * 5 + [(20, 28)] * 2 + [(24, 32)] * 4


@pytest.fixture(scope="module")
def model():
    return TinySegmenter(num_classes=5, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def expected(model):
    """The matrix, one image and one pixel at a time."""
    matrix = np.zeros((5, 5), np.int64)
    source = Records(SIZES)
    for record in (source[i] for i in range(len(source))):
        predicted = inference.predict(model, record["image"])
        valid = record["label"] != 255
        np.add.at(matrix, (record["label"][valid], predicted[valid]), 1)
    return matrix


@pytest.fixture
def sent(monkeypatch):
    """The batches that were labelled by `evaluate`."""
    found, labels = [], inference.labels

    def seen(*arguments, **options):
        found.append(arguments[1])
        return labels(*arguments, **options)

    monkeypatch.setattr(evaluate.inference, "labels", seen)
    return found


def run(model, sizes=SIZES, **options):
    return evaluate.evaluate(model, Records(sizes), **({"progress": False} | options))


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_any_batch_size_gives_the_same_matrix(model, expected, batch_size):
    result = run(model, batch_size=batch_size)
    np.testing.assert_array_equal(result.matrix, expected)
    assert result.matrix.dtype == np.int64
    assert result.images == len(SIZES)


def test_eight_devices_give_the_same_matrix_as_one(model, expected):
    mesh = sharding.make_mesh()
    assert mesh.size == 8
    result = run(model, batch_size=8, mesh=mesh)
    np.testing.assert_array_equal(result.matrix, expected)


def test_no_image_travels_between_devices(model, monkeypatch):
    """Every program of the batch works on its own images; only matrices are summed."""
    programs = {}

    def spied(module, name):
        function = getattr(module, name)

        def call(*arguments, **options):
            programs[name] = function.lower(*arguments, **options).compile().as_text()
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    for module, name in (
        (passes, "logits"),
        (tiles, "_labels"),
        (tiles, "_add"),
        (evaluate, "_counted"),
    ):
        spied(module, name)
    for how in (Protocol(crop=(16, 24), multiple=8), Protocol(flip=True, average="probabilities")):
        run(model, [(24, 32)] * 8, batch_size=8, mesh=sharding.make_mesh(), protocol=how)
    assert "all-reduce" in programs.pop("_counted")
    assert sorted(programs) == ["_add", "_labels", "logits"]
    for text in programs.values():
        for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
            assert collective not in text


def test_a_model_that_lies_on_other_devices_is_copied(model, expected):
    graphdef, state = nnx.split(model)
    spread = nnx.merge(graphdef, sharding.replicate(sharding.make_mesh(), state))
    result = run(spread, batch_size=2, mesh=sharding.make_mesh(jax.devices()[2:4]))
    np.testing.assert_array_equal(result.matrix, expected)


def test_many_sizes_go_out_before_they_fill_the_memory(model, sent, monkeypatch):
    sizes = [(24, 32), (20, 70), (70, 28), (24, 32), (24, 100), (20, 70), (24, 32)]
    whole = run(model, sizes, batch_size=2).matrix
    monkeypatch.setattr(labelled, "MOST_WAITING", 1)
    sent.clear()
    np.testing.assert_array_equal(run(model, sizes, batch_size=2).matrix, whole)
    assert len(sent) > 4
    assert all(len(batch) == 2 for batch in sent)


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_each_image_has_its_own_figures_in_the_order_of_the_source(model, batch_size):
    source = Records(SIZES)
    found = run(model, batch_size=batch_size).by_image
    for index in range(len(SIZES)):
        record = source[index]
        predicted, valid = inference.predict(model, record["image"]), record["label"] != 255
        matrix = np.zeros((5, 5), np.int64)
        np.add.at(matrix, (record["label"][valid], predicted[valid]), 1)
        expected = metrics.scores(matrix)
        assert found.names[index] == record["id"]
        assert found.mIoU[index] == pytest.approx(expected.mIoU, rel=1e-12)
        assert found.aAcc[index] == pytest.approx(expected.aAcc, rel=1e-12)


def test_an_image_without_a_label_has_no_figure():
    counts = np.zeros((2, 3, 4), np.int64)
    counts[1] = [[5, 0, 0, 0], [10, 0, 0, 0], [5, 5, 0, 0]]  # half of class 0, the rest as 1
    miou, aacc = metrics.of_images(counts)
    np.testing.assert_array_equal(miou, [np.nan, 25.0])
    np.testing.assert_array_equal(aacc, [np.nan, 50.0])


def test_padding_lets_different_sizes_share_a_batch(model, sent):
    sizes = [(33, 60), (64, 64), (40, 50)]
    how = Protocol(multiple=32)
    result = run(model, sizes, batch_size=3, protocol=how)
    assert len(sent) == 1
    source = Records(sizes)
    assert result.matrix.sum() == sum((source[i]["label"] != 255).sum() for i in range(3))


def test_images_of_several_sizes_resized_to_one_share_a_batch(model, sent):
    sizes = [(24, 32), (48, 64), (36, 48), (60, 80)]
    how = Protocol(size=(30, 40))
    matrix = np.zeros((5, 5), np.int64)
    for record in (Records(sizes)[i] for i in range(4)):
        predicted = inference.predict(model, record["image"], how)
        valid = record["label"] != 255
        np.add.at(matrix, (record["label"][valid], predicted[valid]), 1)
    sent.clear()
    np.testing.assert_array_equal(run(model, sizes, batch_size=4, protocol=how).matrix, matrix)
    assert len(sent) == 1


def test_the_protocol_is_the_one_that_predict_uses(model):
    how = Protocol(crop=(16, 16), scales=(1.0, 1.5), flip=True)
    record = Records([(24, 32)])[0]
    predicted = inference.predict(model, record["image"], how)
    result = run(model, [(24, 32)], batch_size=1, protocol=how)
    right = (predicted == record["label"]).sum()
    assert np.diagonal(result.matrix).sum() == right
    assert result.scores.aAcc == pytest.approx(100 * right / (record["label"] != 255).sum())


def test_boundary_scores_are_those_of_the_band_alone(model):
    result = run(model, SIZES[:3], batch_size=4, boundary_width=2)
    source, matrix = Records(SIZES[:3]), np.zeros((5, 5), np.int64)
    for record in (source[i] for i in range(3)):
        predicted = inference.predict(model, record["image"])
        band = boundary.near_boundaries(record["label"], 2)
        np.add.at(matrix, (band[band != 255], predicted[band != 255]), 1)
    assert result.boundary.pixels.sum() == matrix.sum() < result.matrix.sum()
    assert result.boundary.aAcc == pytest.approx(100 * np.trace(matrix) / matrix.sum())
    assert run(model, SIZES[:1], batch_size=1).boundary is None


class Broken(Records):
    def __getitem__(self, index):
        record = super().__getitem__(index)
        if index == 1:
            record["label"] = self.spoil(record["label"])
        return record


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :-1], "street/001: the label is 31x24 pixels but the image is 32x24"),
        (lambda x: np.where(x == 1, 9, x).astype(np.uint8), r"street/001: label values 9 \("),
    ],
)
def test_a_bad_label_is_named(model, spoil, message):
    source = Broken(SIZES)
    source.spoil = spoil
    with pytest.raises(InputError, match=message):
        evaluate.evaluate(model, source, batch_size=2, progress=False)


def test_what_cannot_be_evaluated_is_named(model):
    with pytest.raises(InputError, match="no image to evaluate"):
        run(model, [], batch_size=1)
    with pytest.raises(InputError, match="model has 5 classes but the data has 4"):
        evaluate.evaluate(model, Records(SIZES, number=4), batch_size=1)
    with pytest.raises(InputError, match="multiple of 8"):
        run(model, batch_size=12, mesh=sharding.make_mesh())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_counts_images_on_a_terminal_and_nowhere_else(model, monkeypatch):
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        run(model, batch_size=4, progress=True)
        assert (f"{len(SIZES)}/{len(SIZES)}" in stream.getvalue()) == shown
        assert bool(stream.getvalue()) == shown


PROCESS = """
import sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize("127.0.0.1:{port}", 2, {index})
import numpy as np
from evaluation_standins import Records, TinySegmenter
from flax import nnx
from arm_jax.evaluation import evaluate
from arm_jax.system import sharding
from arm_jax.system.errors import InputError
model = TinySegmenter(num_classes=5, rngs=nnx.Rngs(0))
mesh = sharding.make_mesh()
graphdef, state = nnx.split(model)
model = nnx.merge(graphdef, sharding.replicate(mesh, state))
result = evaluate.evaluate(model, Records({sizes}), batch_size=4, mesh=mesh, progress=False)
np.save(r"{out}/{index}.npy", result.matrix)
np.save(r"{out}/images{index}.npy", result.by_image.mIoU)
assert result.by_image.names[3] == Records({sizes})[3]["id"]
class Broken(Records):
    def __getitem__(self, index):
        record = super().__getitem__(index)
        return record | {{"label": record["label"][1:]}} if index == 1 else record
try:
    evaluate.evaluate(model, Broken({sizes}), batch_size=4, mesh=mesh, progress=False)
except InputError as error:
    print("InputError:", error)
"""


@pytest.mark.slow
def test_two_processes_give_the_same_matrix_as_one_and_fail_together(model, expected, tmp_path):
    tests = pathlib.Path(__file__).parents[1]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tests), str(tests.parent)])
    port = 20000 + os.getpid() % 20000
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                PROCESS.format(port=port, index=index, sizes=SIZES, out=tmp_path),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in (0, 1)
    ]
    printed = [process.communicate(timeout=300)[0] for process in running]
    for index in (0, 1):
        np.testing.assert_array_equal(np.load(tmp_path / f"{index}.npy"), expected)
        alone = run(model, batch_size=4).by_image.mIoU
        np.testing.assert_array_equal(np.load(tmp_path / f"images{index}.npy"), alone)
        assert "InputError: street/001: the label is" in printed[index]
