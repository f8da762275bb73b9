"""ONNX files: what ONNX Runtime makes of them, and which are not written."""

import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from tiny import least

from arm_jax import networks
from arm_jax.data.labels import Classes
from arm_jax.data.scenes import generate
from arm_jax.system.errors import InputError
from arm_jax.weights import export, onnx_file
from arm_jax.weights.onnx_graph import operations

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

SIZE = (33, 49)


def images(number=1):
    return np.stack([generate("train", index, SIZE)[0] for index in range(number)])


EVERY = [
    *((name, {}) for name in networks.ARCHITECTURES),
    *(
        ("deeplabv3plus_resnet50", {"variant": variant, "output_stride": 16, "remat": True})
        for variant in ("v1b", "v1d", "v1s", "caffe")
    ),
    ("deeplabv3plus_resnest50", {"variant": "original", "align_corners": True}),
    ("ocr_resnet50", {"output_stride": 32, "align_corners": True}),
]


def mark(name, options):
    if (name, options) == ("deeplabv3plus_resnet18", {}):
        return ()
    return pytest.mark.slow if options or name.endswith("101") else pytest.mark.long


@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(name, options, marks=mark(name, options)) for name, options in EVERY],
)
def test_every_network_gives_what_it_gives_in_jax(name, options):
    """Three images, two at a time: the file was made for any number."""
    model = least(name, extra_channels=1, **options)
    found = onnx_file.difference(onnx_file.program(model, SIZE), model, images(3))
    assert found.scores < 1e-5 and found.lost < 1e-5 and found.labels < 1e-3, found


def test_a_file_tells_its_classes_and_shapes(tmp_path):
    model = least()
    classes = Classes(tuple("abcde"), tuple((n, 2 * n, 255) for n in range(5)))
    path = tmp_path / "network.onnx"
    found = onnx_file.save(model, path, SIZE, images(), classes)
    assert found.images == 3 and found.is_small
    file = onnx.load(path)
    stated = {entry.key: entry.value for entry in file.metadata_props}
    assert stated == export.metadata(model, classes)
    assert tuple(json.loads(stated["class_names"])) == classes.names

    def shape(value):
        lengths = value.type.tensor_type.shape.dim
        return value.name, [length.dim_value or length.dim_param for length in lengths]

    assert [*map(shape, file.graph.input)] == [("images", ["b", 33, 49, 3])]
    assert [*map(shape, file.graph.output)] == [
        ("labels", ["b", 33, 49]),
        ("scores", ["b", 9, 13, 5]),
    ]


def test_a_file_that_gives_something_else_is_not_written(tmp_path, monkeypatch):
    averaged = operations.OPERATIONS["reduce_window_sum"]
    monkeypatch.setitem(operations.OPERATIONS, "reduce_window_max", averaged)
    with pytest.raises(InputError) as error:
        onnx_file.save(least(), tmp_path / "network.onnx", SIZE, images())
    words = r"network.onnx is not written: .*\(scores differ by \d.\de.\d\d of the largest, "
    assert error.match(words) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_onnx_cannot_express_is_refused():
    model = least()
    forward = model.backbone.stem
    model.backbone.stem = lambda x: jnp.sort(forward(x), axis=1)
    with pytest.raises(InputError, match=r"it has the operation 'sort', .* as \.stablehlo"):
        onnx_file.program(model, SIZE)
    with pytest.raises(InputError, match="computes in bfloat16"):
        onnx_file.program(least(dtype=jnp.bfloat16), SIZE)


def test_without_the_extra_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs onnxruntime .* 'arm_jax\[onnx\]'"):
        onnx_file.program(least(), SIZE)
