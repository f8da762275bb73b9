"""benchmark.py and benchmark_ops.py: the figures are whole and agree with each other."""

import importlib
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from flax import nnx

from arm_jax import networks
from arm_jax.networks import summary
from arm_jax.training import step

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "benchmarks"
CONFIG = str(ROOT / "configs" / "base.py")
TINY = [f"{CONFIG}:arm,smoke", "--crop", "32", "32", "--batch", "2", "--repeat", "2"]
TINY += ["--config.model.output_stride=8"]
MEASURES = ("median", "lower", "upper", "least", "cpu", "turns")

# What peers/turns.py writes, without PyTorch: a step of half a second and three bytes.
PEER = """
import json, sys
print(json.dumps({"torch": "0", "device": "none", "parameters": %d}), flush=True)
for line in sys.stdin:
    print(json.dumps({"seconds": 0.5, "cpu_seconds": 1.0, "peak_bytes": 3}), flush=True)
"""


@pytest.fixture(scope="module")
def scripts():
    """Both scripts as modules, on a network of some thousand parameters and a small device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        tiny.shrink(patch)
        hardware = importlib.import_module("benchmarking.hardware")
        patch.setattr(hardware, "MATRIX", {"cpu": 64})
        patch.setattr(hardware, "ARRAY", {"cpu": 4096})
        timing = importlib.import_module("benchmarking.timing")
        patch.setattr(timing, "TURN_SECONDS", 0)
        # Compiling is what takes time here.
        jax.config.update("jax_disable_most_optimizations", True)
        yield importlib.import_module("benchmark"), importlib.import_module("benchmark_ops")
        jax.config.update("jax_disable_most_optimizations", False)


def run(script, arguments, capsys):
    status = script.main(arguments)
    return status, *capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("whole_step", [False, True])
def test_training_is_measured_whole_in_parts_and_against_others(
    whole_step, scripts, tmp_path, monkeypatch, capsys
):
    if not whole_step:
        # In place of the step something that compiles at once. The parts are the true ones.
        fast = jax.jit(lambda state, batch: (jax.tree.map(lambda x: x + 1, state), state.step))
        monkeypatch.setattr(step, "compile_step", lambda *arguments: fast)
    peer = importlib.import_module("benchmarking.peer")
    fake = tmp_path / "turns.py"
    fake.write_text(PEER % 12)
    monkeypatch.setattr(peer, "SCRIPT", fake)
    path = tmp_path / "figures.json"
    more = ["--json", str(path), "--peer", "smp+compile"]
    status, out, err = run(scripts[0], [*TINY, *more], capsys)
    assert status == 0, err
    figures = json.loads(path.read_text())
    assert (
        figures["command"].startswith("python scripts/benchmarks/benchmark.py")
        and figures["packages"]
    )
    assert figures["setting"]["crop"] == [32, 32] and figures["setting"]["batch"] == 2
    whole, parts = figures["whole"], figures["parts"]
    assert set(parts) == {
        *("input", "backbone", "head", "auxiliary head", "loss and ARM", "optimiser")
    }
    for times in (whole, figures["base"], *parts.values()):
        assert all(times[name] > 0 for name in MEASURES) and times["turns"] == 2
        assert times["least"] <= times["lower"] <= times["median"] <= times["upper"]
    assert whole["sum_of_parts"] == pytest.approx(sum(p["median"] for p in parts.values()))
    assert whole["images_per_second"] == pytest.approx(2 / whole["median"])

    # 3 times forward, 2 operations a multiply-add, 2 images.
    rows = summary.parts("deeplabv3plus_resnet18", 19, (32, 32))
    assert whole["operations"] == pytest.approx(12 * sum(row.multiply_adds for row in rows))
    head = next(row for row in rows if row.name == "head")
    assert parts["head"]["operations"] == pytest.approx(12 * head.multiply_adds)
    assert figures["setting"]["parameters"] == sum(row.parameters for row in rows)

    base = figures["base"]
    assert base["bytes_over_base"] == whole["program_bytes"] / base["program_bytes"] >= 1
    found = figures["peers"]["smp+compile"]
    assert (found["median"], found["peak_bytes"], found["parameters"]) == (0.5, 3, 12)
    ratios = found["over_ours"]
    assert 0.5 / whole["upper"] <= ratios["median"] <= 0.5 / whole["least"]
    for text in ("sum of the parts", "ARM's cost", "of the peak", "PyTorch over ours", "to trace"):
        assert text in out


def test_the_step_alone_is_measured_without_its_parts(scripts, tmp_path, monkeypatch, capsys):
    fast = jax.jit(lambda state, batch: (jax.tree.map(lambda x: x + 1, state), state.step))
    monkeypatch.setattr(step, "compile_step", lambda *arguments: fast)
    path = tmp_path / "figures.json"
    status, out, err = run(scripts[0], [*TINY, "--step_only", "--json", str(path)], capsys)
    assert status == 0, err
    figures = json.loads(path.read_text())
    assert figures["parts"] == {} and "base" not in figures
    rows = summary.parts("deeplabv3plus_resnet18", 19, (32, 32))
    assert figures["whole"]["operations"] == 12 * sum(row.multiply_adds for row in rows)
    assert "images a second" in out and "sum of the parts" not in out


def test_inference_is_measured_to_scores_and_to_labels(scripts, tmp_path, capsys):
    path = tmp_path / "figures.json"
    status, out, err = run(scripts[0], [*TINY, "--forward", "--json", str(path)], capsys)
    assert status == 0, err
    figures = json.loads(path.read_text())
    assert set(figures["parts"]) == {"input", "backbone", "head"}
    rows = summary.parts("deeplabv3plus_resnet18", 19, (32, 32))
    counted = sum(row.multiply_adds for row in rows if row.name != "auxiliary head")
    assert figures["whole"]["operations"] == pytest.approx(4 * counted)
    labelled = figures["evaluation"]
    assert labelled["images_per_second"] == pytest.approx(2 / labelled["median"])
    assert "host to labels" in out and "base" not in figures


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--batch", "0"], "--batch 0: it must be at least 1"),
        (["--crop", "0", "8"], "--crop 0 8"),
        (["--step_only", "--forward"], "--forward of inference; leave one out"),
        (["--devices", "99"], "--devices 99: there are 8"),
        (["--network", "resnet7"], "model.name = 'resnet7'; it must be deeplabv3plus_resnet10,"),
        (["--config.model.rmat=True"], "rmat"),
        (["--peer", "fast"], "--peer fast: 'fast' is none of eager, compile"),
        (["--peer", "eager", "--peer-python", "/none/python"], "/none/python: no such program"),
        (["--peer", "eager", "--config.model.output_stride=32"], "output stride 8"),
    ],
)
def test_a_mistake_is_one_line(scripts, more, said, capsys):
    status, out, err = run(scripts[0], [*TINY, *more], capsys)
    assert status == 2 and out == ""
    assert said in err and err.count("\n") == 1


def test_another_network_is_no_peer(scripts, tmp_path, monkeypatch):
    peer = importlib.import_module("benchmarking.peer")
    fake = tmp_path / "turns.py"
    fake.write_text(PEER % 12)
    monkeypatch.setattr(peer, "SCRIPT", fake)
    one = peer.Peer(sys.executable, "eager", [])
    peer.check([one], "x", 12)
    with pytest.raises(ValueError, match="12 parameters, but x has 13"):
        peer.check([one], "x", 13)
    assert one.turn().wall == 0.5
    one.close()


def test_an_environment_without_pytorch_is_told(scripts, tmp_path):
    peer = importlib.import_module("benchmarking.peer")
    (tmp_path / "torch.py").write_text("raise ImportError")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(ValueError, match=r"has no PyTorch; name one that has by --peer-python"):
            peer.Peer(sys.executable, "eager", [])


def test_turns_alternate(scripts):
    timing = importlib.import_module("benchmarking.timing")
    order = []

    def turn(name, seconds):
        order.append(name)
        return timing.Turn(seconds, 2 * seconds)

    found = timing.by_turns({"a": lambda: turn("a", 1.0), "b": lambda: turn("b", 4.0)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert timing.Timing.of(found["b"]) == (4.0, 4.0, 4.0, 4.0, 8.0, 3)
    assert timing.ratio(found["b"], found["a"])["median"] == 4
    assert timing.Timing.of([timing.Turn(x, 0) for x in (5.0, 1.0, 2.0, 3.0, 4.0)])[:4] == (
        *(3.0, 2.0, 4.0),
        1.0,
    )


def test_operations_both_ways(scripts, tmp_path, capsys):
    path = tmp_path / "figures.json"
    common = ["--crop", "16", "16", "--batch", "1", "--precision", "float32", "--repeat", "1"]
    arguments = [*common, "--only", "refinement", "--json", str(path)]
    status, out, err = run(scripts[1], arguments, capsys)
    assert status == 0, err
    rows = json.loads(path.read_text())["rows"]
    assert [row["direction"] for row in rows] == [
        *("forward", "gradient of input", "gradient of weights")
    ]
    for row in rows:
        assert row["difference"] < 1e-5 and row["plain_over_package"]["median"] > 0
        # 4x4 positions, 560 channels, 9 taps.
        rate = 2 * 16 * 560 * 9 / row["package"]["median"]
        assert row["operations_per_second"] == pytest.approx(rate)
    assert out.count("depthwise 3x3, refinement") == 3

    status, out, err = run(scripts[1], [*common, "--only", "none"], capsys)
    assert status == 2 and "--only 'none' fits none of: 3x3, stage 3" in err


def test_every_operation_exists_twice_with_one_result(scripts):
    """Traced only: equal shapes and types both ways, for every operation and direction."""
    operations = importlib.import_module("benchmarking.operations")
    for operation in operations.listed((32, 64), 2):
        x, weights, cotangent = jax.eval_shape(
            lambda operation=operation: operations.arrays(operation, "bfloat16")
        )
        for function in operations.directions(operation).values():
            plain, package = (
                jax.eval_shape(
                    lambda *inputs, way=way, function=function: function(way, *inputs),
                    *(x, weights, cotangent),
                )
                for way in (operation.plain, operation.package)
            )
            assert (plain.shape, plain.dtype) == (package.shape, package.dtype), operation.name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deeplabv3plus_resnet50", "deeplabv3plus_resnet101"])
def test_the_peer_in_pytorch_computes_the_same_scores(name, monkeypatch):
    torch = pytest.importorskip("torch", reason="the peer is PyTorch's; it is no dependency")
    monkeypatch.syspath_prepend(str(SCRIPTS / "peers"))
    peer = importlib.import_module("deeplabv3plus").DeepLabV3Plus(name, 19).eval()
    ours = networks.create(name, 19, rngs=nnx.Rngs(0))
    assert (
        sum(p.numel() for p in peer.parameters())
        == {
            "deeplabv3plus_resnet50": 43_589_878,
            "deeplabv3plus_resnet101": 62_582_006,
        }[name]
    )
    for theirs, leaf in zip(peer.parameters(), in_order(ours), strict=True):
        value = leaf[...].transpose(3, 2, 0, 1) if leaf[...].ndim == 4 else leaf[...]
        if value.ndim == 1:
            # A residual branch starts at gamma 0, where none of its layers would count.
            value = value + 0.1
            leaf[...] = value
        theirs.data = torch.from_numpy(np.array(value))
    images = np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = peer(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    scores = np.asarray(ours(images)).transpose(0, 3, 1, 2)
    assert np.abs(scores - expected.numpy()).max() < 1e-4 * np.abs(scores).max()


def in_order(module):
    """The parameters of a module in the order in which it was built, as PyTorch lists them."""
    for value in vars(module).values():
        if isinstance(value, nnx.Param):
            yield value
        elif isinstance(value, nnx.Module):
            yield from in_order(value)
