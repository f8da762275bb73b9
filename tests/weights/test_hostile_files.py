"""Weight files that are made to harm: one line, little memory, no code; and harmless ones, read."""

import io
import os
import pickle
import resource
import stat
import struct
import time
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import least

from arm_jax.system import outputs
from arm_jax.system.errors import InputError
from arm_jax.weights import export, pretrained, weight_files

BUILDER = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"ctorch\nFloatStorage\n"


def archive(pickled, storages=(), compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for key, data in dict(storages).items():
            file.writestr(f"archive/data/{key}", data)
    return buffer.getvalue()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    data = pickle.dumps(value, 2)
    return data[2:-1]


def storage(length, key="0", dtype=FLOATS):
    return b"(" + text("storage") + dtype + text(key) + text("cpu") + number(length) + b"tQ"


def tensor(length=4, size=(4,), stride=(1,), offset=0, key="0"):
    place = storage(length, key) + number(offset) + number(size) + number(stride)
    return BUILDER + b"(" + place + b"\x89" + b"N" + b"tR"


def entry(value, key="weight"):
    """A pickle of one dictionary with one entry."""
    return b"\x80\x02}" + text(key) + value + b"s."


FOUR = {"0": np.arange(4, dtype=np.float32).tobytes()}
NESTED = b"".join([b")", *[b"2\x86"] * 100])  # ((((), ()), ...), ...): 2 ** 100 parts to hash

HOSTILE = {
    "a build on a dictionary": entry(
        b"ccollections\nOrderedDict\n)R(" + text("items") + text("x") + b"db"
    ),
    "a build on a tensor": entry(tensor() + b"(K\x01K\x02tb"),
    "a build on a type": entry(b"ctorch\nFloatStorage\n(K\x03tb"),
    "a build on a storage": entry(storage(4) + b"}" + text("values") + b"Nsb"),
    "repeated numbers": entry(tensor(size=(10**12,), stride=(0,))),
    "repeated rows": entry(tensor(size=(10**6, 10**6), stride=(0, 0))),
    "a storage of 10^12": entry(tensor(10**12, (10**12,))),
    "a negative storage": entry(tensor(-1, (4,))),
    "a storage that is no number": entry(tensor(2.5, (4,))),
    "sizes of text": entry(tensor(size=("4",))),
    "storages that add up": b"\x80\x02}("
    + b"".join(text(f"w{k}") + tensor(10**3, (4,), key=str(k)) for k in range(1000))
    + b"u.",
    "an entry far away": b"\x80\x02Nr\xff\xff\xff\xff.",
    "a buffer of 10^13 bytes": b"\x80\x05\x96" + struct.pack("<Q", 10**13) + b".",
    "a text of 10^13 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 10**13) + b".",
    "bytes of 10^13": b"\x80\x04\x8e" + struct.pack("<Q", 10**13) + b".",
    "a frame of 10^13": b"\x80\x04\x95" + struct.pack("<Q", 10**13) + b".",
    "a key that takes for ever": b"\x80\x02}" + NESTED + tensor() + b"s.",
    "a storage key that takes for ever": entry(
        BUILDER + b"((" + text("storage") + FLOATS + NESTED + text("cpu") + b"K\x04tQtR"
    ),
    "a set of what takes for ever": b"\x80\x04\x8f(" + NESTED + b"\x90.",
    "a call of a tensor": entry(tensor() + b")R"),
    "a call of text": entry(text("x") + b")R"),
    "a new tensor type": entry(FLOATS + b")\x81"),
    "a tuple of a number": entry(b"ctorch\nSize\nK\x05\x85R"),
    "a tensor of nothing": entry(BUILDER + b")R"),
    "an old instance": b"\x80\x02(iposix\nsystem\n.",
    "an old object": b"\x80\x02(cposix\nsystem\n" + text("true") + b"o.",
    "a name from an attribute": b"\x80\x04" + text("builtins") + text("eval.__call__") + b"\x93.",
    "a nested name": b"\x80\x04" + text("torch") + text("os.system") + b"\x93" + b")R.",
    "an extension": b"\x80\x02\x82\x01.",
    "no end": b"\x80\x02}",
    "an empty stack": b"\x80\x02R.",
    "a number without digits": b"\x80\x02I\n.",
    "a whole model": entry(
        b"ctorch.nn.modules.conv\nConv2d\n)\x81}" + text("weight") + tensor() + b"sb"
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle_is_one_line_in_little_time_and_memory(tmp_path, kind):
    path = tmp_path / "weights.pth"
    path.write_bytes(archive(HOSTILE[kind], FOUR))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError) as caught:
        weight_files.read(path)
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # kilobytes
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 600


@pytest.mark.parametrize("where", ["archive/data.pkl", "archive/data/0", "archive/byteorder"])
def test_what_unpacks_to_more_than_the_file_is_refused(tmp_path, where):
    members = {"archive/data.pkl": entry(tensor(50_000_000)), "archive/data/0": FOUR["0"]}
    members[where] = bytes(200_000_000)
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    del members
    with pytest.raises(InputError, match=r"larger than the file|in a file of"):
        weight_files.read(path)


def test_an_object_that_unpickling_would_call_is_never_called(tmp_path):
    for module, name in (("posix", "system"), ("subprocess", "Popen"), ("builtins", "exec")):
        call = f"c{module}\n{name}\n".encode() + b"(" + text(f"touch {tmp_path}/evidence") + b"tR"
        path = tmp_path / "weights.pth"
        path.write_bytes(archive(entry(call)))
        with pytest.raises(InputError, match=rf"refused, because its pickle asks for {module}"):
            weight_files.read(path)
    unknown = b"cnowhere.evil\nRun\n(" + text("touch") + b"tR"
    path.write_bytes(archive(entry(unknown)))
    with pytest.raises(InputError, match=r"no tensors, but objects of nowhere\.evil\.Run; save"):
        weight_files.read(path)
    assert os.listdir(tmp_path) == ["weights.pth"]


def test_objects_beside_tensors_hold_nothing_and_do_no_harm(tmp_path):
    """An argparse.Namespace, a path, a set, a counter, a scheduler with its state."""
    objects = {
        "args": b"cargparse\nNamespace\n)\x81}" + text("lr") + b"K\x01sb",
        "path": b"cpathlib\nPosixPath\n(" + text("a") + b"tR",
        "seen": b"c__builtin__\nset\n(]" + text("a") + b"atR",
        "counts": b"ccollections\nCounter\n}\x85R",
        "scheduler": b"ctorch.optim.lr_scheduler\nStepLR\n)\x81}" + text("x") + tensor() + b"sb",
        "weight": tensor(),
    }
    body = b"".join(text(key) + value for key, value in objects.items())
    path = tmp_path / "weights.pth"
    path.write_bytes(archive(b"\x80\x02}(" + body + b"u.", FOUR))
    tensors = weight_files.read(path)
    assert list(tensors) == ["weight"]
    np.testing.assert_array_equal(tensors["weight"], np.arange(4, dtype=np.float32))


STATE = {"conv1.weight": np.ones(3, np.float32), "layer1.0.bn1.bias": np.zeros(2, np.float32)}


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "model.",
        "encoder.",
        "net.",
        "module._orig_mod.",
        "_orig_mod.module.model.",
    ],
)
def test_prefixes_that_all_names_share_are_left_out(prefix):
    found = weight_files.read({prefix + key: value for key, value in STATE.items()})
    assert list(found) == list(STATE)


def test_a_prefix_of_some_names_stays_and_a_compiled_part_is_called_as_before():
    mixed = {"model.conv1.weight": np.ones(3), "head.weight": np.ones(3)}
    assert list(weight_files.read(mixed)) == list(mixed)
    compiled = {"backbone._orig_mod.conv1.weight": np.ones(3), "head.weight": np.ones(3)}
    assert list(weight_files.read(compiled)) == ["backbone.conv1.weight", "head.weight"]


@pytest.mark.parametrize(
    "key", ["state_dict", "model_state", "model_state_dict", "net", "params_ema", "anything"]
)
def test_a_state_dict_is_found_one_level_deep(key):
    checkpoint = {"epoch": 3, "config": {"lr": 0.1}, key: STATE, "scheduler": None}
    assert list(weight_files.read(checkpoint)) == list(STATE)


def test_the_network_is_preferred_to_other_tensors():
    optimizer = {"step": np.ones(3)}
    checkpoint = {"optimizer": optimizer, "model": {"name": "x"}, "net": STATE, "step": np.ones(())}
    assert list(weight_files.read(checkpoint)) == list(STATE)
    with pytest.raises(InputError, match="holds no tensors"):
        weight_files.read({"first": {"a": STATE}})  # two levels deep


def test_safetensors_that_are_none_are_one_line(tmp_path):
    whole = tmp_path / "whole.safetensors"
    save_file(STATE, whole)
    data = whole.read_bytes()
    header = b'{"a":{"dtype":"F8_E5M2","shape":[4],"data_offsets":[0,4]}}'
    bad = {
        "cut": data[:-3],
        "empty": b"",
        "long header": struct.pack("<Q", 1 << 60) + data[8:],
        "no json": data[:8] + b"x" * (len(data) - 8),
        "unknown numbers": struct.pack("<Q", len(header)) + header + bytes(4),
    }
    for data in bad.values():
        path = tmp_path / "bad.safetensors"
        path.write_bytes(data)
        for read in (weight_files.read, weight_files.metadata):
            if data is bad["unknown numbers"] and read is weight_files.metadata:
                continue
            with pytest.raises(InputError, match=r"bad\.safetensors: not a readable safetensors"):
                read(path)


def test_weights_of_another_output_stride_are_loaded_with_a_word(tmp_path):
    path = tmp_path / "weights.safetensors"
    export.save_safetensors(least(output_stride=16), path)
    words = r"output_stride = 16, this one has 8, .*set model\.output_stride = 16"
    with pytest.warns(UserWarning, match=words):
        report = pretrained.load(least(output_stride=8), path)
    assert not report.fresh and len(report.notes) == 1
    assert not pretrained.load(least(output_stride=16), path).notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.astype(complex), "holds complex128 and no real numbers"),
        (lambda v: v.astype(object), "holds object and no real numbers"),
        (lambda v: v.astype(np.int8), "holds int8, as a quantised network does"),
        (lambda v: v.astype(str), "holds <U32 and no real numbers"),
        (lambda v: v.astype(np.float64) * 1e300, "is not finite"),
        (lambda v: v[None], r"is \(1, "),
        (lambda v: np.zeros((0, *v.shape)), r"is \(0, "),
        (lambda v: np.float64(1), r"is \(\) and not"),
    ],
)
def test_a_tensor_of_other_numbers_is_refused_by_name(change, words):
    model = least()
    state = export.tensors(model)
    key = "backbone.stem.layers.0.conv.kernel"
    state[key] = change(np.ones_like(state[key]))
    with pytest.raises(InputError, match=rf"{key} {words}"):
        pretrained.load(model, state)


def test_a_web_page_in_the_place_of_weights_is_called_that(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("\n<!DOCTYPE html><html>log in</html>")
    with pytest.raises(InputError, match=r"not a readable safetensors file \(it is a web page: "):
        pretrained.load(least(), path)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_an_exported_file_has_the_mode_of_every_other_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        export.save_safetensors(least(), tmp_path / "weights.safetensors")
    finally:
        os.umask(before)
    mode = stat.S_IMODE((tmp_path / "weights.safetensors").stat().st_mode)
    assert mode == 0o666 & ~mask
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"weights.safetensors", outputs.JOURNAL}
