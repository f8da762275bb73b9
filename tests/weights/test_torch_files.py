"""PyTorch's files: read without PyTorch, and without running them."""

import collections
import io
import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from goldens import fill

from arm_jax.system.errors import InputError
from arm_jax.weights import torch_files, weight_files

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.mark.parametrize("name", ["zip", "stream", "run"])
def test_tensors_of_every_kind(name):
    """tests/goldens/make_torch_files.py wrote these with PyTorch."""
    state = weight_files.read(GOLDENS / f"pretrained_{name}.pth")
    matrix = fill.tensor("matrix.bias", (4, 6))
    expected = {
        "matrix": matrix,
        "transposed": matrix.T,
        "part": matrix[1:3, ::2],
        "parameter": matrix[0],
        "double": matrix.astype(np.float64),
        "half": matrix.astype(np.float16),
        "brain": matrix.astype(ml_dtypes.bfloat16),
        "count": np.array(7),
        "flags": matrix > 0,
        "empty": np.zeros((0, 3), np.float32),
    }
    assert list(state) == list(expected)
    for key, value in expected.items():
        assert state[key].dtype == value.dtype
        np.testing.assert_array_equal(state[key], value)


def test_what_is_beside_the_tensors():
    contents = torch_files.read(GOLDENS / "pretrained_stream.pth")
    assert contents["meta"] == {"epoch": 3, "classes": ("road", "sky")}


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def as_zip(pickled):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3")
    return buffer.getvalue()


def as_stream(pickled):
    header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in header) + pickled + pickle.dumps([], 2)


@pytest.mark.parametrize("wrap", [as_zip, as_stream, bytes])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_is_refused_unrun(tmp_path, wrap, protocol):
    path, evidence = tmp_path / "weights.pth", tmp_path / "evidence"
    harmful = collections.OrderedDict(weight=Payload(evidence))
    path.write_bytes(wrap(pickle.dumps(harmful, protocol)))
    with pytest.raises(InputError, match=r"weights\.pth: refused.*\bopen\b"):
        torch_files.read(path)
    assert not evidence.exists()


def opcodes(*parts):
    return pickle.PROTO + b"\x02" + b"".join(parts) + pickle.STOP


def test_a_pickle_cannot_change_the_reader(tmp_path):
    """BUILD sets attributes on whatever lies on the stack: here, on the tensor builder."""
    builder = b"ctorch._utils\n_rebuild_tensor_v2\n"
    attributes = b"(dX\x09\x00\x00\x00_functionNs"
    path = tmp_path / "weights.pth"
    path.write_bytes(as_zip(opcodes(builder, b"N", attributes, pickle.TUPLE2, pickle.BUILD)))
    with pytest.raises(InputError, match="refused"):
        torch_files.read(path)
    assert weight_files.read(GOLDENS / "pretrained_zip.pth")["matrix"].shape == (4, 6)


class Reference:
    """Pickles as a tensor whose size and strides reach where they please."""

    def __init__(self, offset, size, stride):
        self.place = (offset, size, stride)


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return ("storage", float, "0", "cpu", 4) if value == "the storage" else None

    def reducer_override(self, value):
        if isinstance(value, Reference):
            return max, ("the storage", *value.place)
        return NotImplemented


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (2, (3,), (1,)), (0, (2, 2), (3, 1)), (-1, (1,), (1,)), (3, (2,), (-1,))],
)
def test_tensors_beyond_their_storage_are_refused(tmp_path, offset, size, stride):
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"weight": Reference(offset, size, stride)})
    pickled = (
        buffer.getvalue()
        .replace(b"c__builtin__\nmax\n", b"ctorch._utils\n_rebuild_tensor_v2\n")
        .replace(b"c__builtin__\nfloat\n", b"ctorch\nFloatStorage\n")
    )
    archive = io.BytesIO(as_zip(pickled))
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("archive/data/0", np.zeros(4, np.float32).tobytes())
    path = tmp_path / "weights.pth"
    path.write_bytes(archive.getvalue())
    with pytest.raises(InputError, match=r"beyond its storage|negative size"):
        torch_files.read(path)


@pytest.mark.parametrize("name", ["zip", "stream"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files(tmp_path, name, share):
    whole = (GOLDENS / f"pretrained_{name}.pth").read_bytes()
    path = tmp_path / "weights.pth"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"weights\.pth: (not a readable PyTorch file|refused)"):
        torch_files.read(path)
