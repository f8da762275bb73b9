"""scripts/benchmarks/compile_for.py: its figures add up, and what it refuses."""

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from arm_jax.run import configs

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "scripts" / "benchmarks"
GOLDENS = ROOT / "tests" / "goldens"

# Of the two convolutions and the product of tests/goldens/make_hlo.py, in test_compiled_figures.
CONVOLUTION = 2 * (92 * 188) * 128 * 256 * 4
DOT = 2 * 768 * 768 * 512


FACTS = {
    **{"devices": 2, "device_kind": "H100", "network": "n", "dtype": "bfloat16", "classes": 19},
    **{"batch": 8, "size": [32, 64], "remat": False, "accumulate": 1, "passes": 1},
    **{"useful_operations": 1e9, "packages": {"jax": "0.10.2"}, "cpu_seconds": 3.0},
}

MEMORY = "Memory Space: default (color=0)\nTotal bytes: {}\n  x\n\nMemory Space: a (color=1)\n"


def figures_of(aot, platform, need):
    text = (GOLDENS / f"hlo_{platform}.txt").read_text()
    memory = MEMORY.format(need) + "Total bytes: 1000\n"
    result = aot["child"].Result(FACTS, text, memory)
    topology = {"cuda": "1x1x2", "tpu": "v5e:2x2"}[platform]
    job = aot["child"].Job("configs/x.py", (), platform, topology)
    return aot["figures"].of(job, result, aot["targets"].device(platform, topology))


def test_figures_add_up_and_are_printed(aot, programs):
    figures = figures_of(aot, "cuda", 40 * 2**30)
    kernels = programs["cuda"][1].values()
    assert figures["traffic_bytes"] == sum(one.bytes * one.times for one in kernels)
    assert figures["traffic_bytes"] == sum(one["bytes"] for one in figures["by_kind"])
    assert figures["kernels"] == 10 + 2 * 3
    assert figures["operations"] == 2 * CONVOLUTION + DOT
    assert figures["memory_bytes"] == 40 * 2**30 + 1000
    assert figures_of(aot, "tpu", 5)["memory_bytes"] == 5  # the rest is in the chip
    model = figures["model"]
    assert model["floor_bytes_seconds"] == figures["traffic_bytes"] / 3.35e12
    floor = 2 * CONVOLUTION / 989e12 + DOT / 494e12
    assert model["floor_operations_seconds"] == pytest.approx(floor)
    assert model["seconds"] > sum(
        (model["floor_operations_seconds"], figures["collectives"][0]["bytes"] / 450e9)
    )
    assert model["images_per_second"] == pytest.approx(8 / model["seconds"])
    text = aot["report"].text(figures)
    for part in ("40.00 GiB of 79.1", "not measured", "size=32x64", "all-reduce", "program.py:"):
        assert part in text, part
    assert json.loads(json.dumps(figures)) == figures


def test_whether_it_fits(aot):
    fits, gib = aot["report"].fits, 2**30
    figures = {"memory_bytes": 8.5 * gib, "device_memory": 80 * gib, "batch": 16, "devices": 2}
    figures |= {"device": "H100 SXM"}
    line = "batch 16 (8 a device) needs 8.50 GiB of "
    assert fits(figures) == f"{line}80.0: it fits"
    assert fits(figures, 8 * gib) == f"{line}8.0: it does NOT fit"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION to at least 0.86" in fits(figures, 10 * gib)
    assert fits(figures | {"device": "TPU v5e"}, 10 * gib) == f"{line}10.0: it fits"
    assert aot["targets"].memory("12GiB") == 12 * gib
    assert aot["targets"].memory("80 GB") == 80e9


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--topology", "8"], "--topology 8: for cuda it is slices x hosts x GPUs of a host"),
        (["--platform", "tpu", "--topology", "1x1x1"], "--topology 1x1x1: for tpu"),
        (["--platform", "tpu", "--topology", "v9:2x2"], "--topology v9:2x2: for tpu"),
        (["--memory", "twelve"], "--memory twelve: give a number and a unit"),
        (["--evaluate", "--size", "0", "8"], "--size 0 8: both are at least 1"),
    ],
)
def test_a_mistake_is_one_line(aot, more, said, capsys):
    assert aot["main"].main(["configs/grid.py", *more]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_without_the_compiler_the_remedy_is_named(aot, platform):
    child = aot["child"]

    def missing(name):
        raise ModuleNotFoundError(name)

    for find in (missing, lambda name: None):
        with pytest.raises(
            ValueError, match=r"run `make aot`, then this with \.venv-aot/bin/python"
        ):
            child.require(platform, find)
    child.require(platform, lambda name: object())


def test_what_a_dead_compiler_left_is_one_line(aot, tmp_path):
    child = aot["child"]
    (tmp_path / "log").write_text(
        "W0000 00:00:00.0 12 cuda_executor.cc:18] no device\n"
        "F0000 00:00:00.0 12 triton_tiling_propagation.cc:627] Check failed: a == b (288 vs. 48)\n"
        "*** Check failure stack trace: ***\n    @ 0x7f (unknown)\n"
    )
    error = child.failure(tmp_path, -signal.SIGABRT)
    assert str(error) == (
        "the compiler aborted (SIGABRT): triton_tiling_propagation.cc:627] Check failed: a == b"
        " (288 vs. 48)"
    )
    (tmp_path / "error.json").write_text(json.dumps({"input": True, "message": "batch_size = 3"}))
    assert isinstance(child.failure(tmp_path, 2), ValueError)
    many = {"input": False, "message": "Used 23.5G\nof 15.7G. " + "x" * 999}
    (tmp_path / "error.json").write_text(json.dumps(many))
    error = child.failure(tmp_path, 1)
    assert isinstance(error, child.CompileError) and str(error).startswith("Used 23.5G of 15.7G. x")
    assert len(str(error)) == child.MOST_OF_A_MESSAGE


def test_it_waits_for_the_program_as_well_as_its_memory(aot, tmp_path, monkeypatch):
    """On a busy machine the memory was there, and the program not yet."""
    child, begun = aot["child"], "x.jit_train_step.after_optimizations"
    dump = tmp_path / "dump"
    dump.mkdir()
    (dump / f"{begun}-memory-usage-report.txt").write_text("Total bytes: 1")
    writes = ["", "HloModule", "HloModule jit_train_step", "", ""]
    polls = []

    class Compiling:
        def poll(self):
            polls.append(1)
            text = writes.pop(0)
            if text:
                (dump / f"{begun}.txt").write_text(text)

    monkeypatch.setattr(child, "POLL_SECONDS", 0)
    job = child.Job("configs/x.py", (), "cuda", "1x1x1")
    assert child._wait(Compiling(), tmp_path, job, "hlo", 60)
    assert len(polls) == 4
    assert (dump / f"{begun}.txt").read_text() == "HloModule jit_train_step"


def test_products_by_cublas_where_triton_has_no_tiles(aot, tmp_path, monkeypatch):
    child = aot["child"]
    calls = []

    def fake(job, folder, until, timeout, flags):
        calls.append(flags)
        if not flags:
            raise child.CompileError(f"INTERNAL: {child.NO_TILES} that satisfy hlo: %dot.208")
        return child.Result({}, "", "")

    monkeypatch.setattr(child, "_run", fake)
    result = child.run(child.Job("configs/grid.py"), tmp_path, "hlo")
    assert calls == [(), (child.BY_CUBLAS,)] and "%dot.208" in result.facts["products"]


def test_the_child_is_told_the_cpu_and_no_cache(aot, tmp_path):
    variables = {"XLA_FLAGS": "--mine", "JAX_PLATFORMS": "cuda", "PYTHONPATH": "/p"}
    found = aot["child"].environment(tmp_path, ("--more",), variables)
    assert found["XLA_FLAGS"].startswith("--mine --more --xla_dump_to=")
    assert found["JAX_PLATFORMS"] == "cpu" and found["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert found["PYTHONPATH"].endswith(":/p")


@pytest.mark.parametrize(("evaluate", "name"), [(False, "train_step"), (True, "evaluate")])
def test_the_programs_are_the_project_s_own(aot, evaluate, name, monkeypatch):
    """Traced for the CPU in place of a device that is absent."""
    import jax

    program = importlib.import_module("aot.program")
    monkeypatch.setattr(program, "devices", lambda platform, topology: jax.devices()[:2])
    job = {
        **{"row": str(ROOT / "configs" / "grid.py"), "overrides": [], "platform": "cuda"},
        **{"topology": "1x1x2", "evaluate": evaluate, "size": [64, 96], "classes": None},
    }
    facts, traced = program.trace(job)
    assert traced.fun_name == name and facts["devices"] == 2 and facts["batch"] == 8
    assert facts["size"] == ([64, 96] if evaluate else [64, 128]) and facts["classes"] == 11
    if evaluate:
        assert traced.out_info.shape == (8, 64, 96) and traced.out_info.dtype == "uint8"
    with pytest.raises(ValueError, match="batch_size = 7 cannot be split evenly over 2 devices"):
        keys = "--config.batch_size=7", "--config.evaluation.batch_size=7"
        program.trace(job | {"overrides": list(keys)})


def test_it_answers_without_jax():
    """--help and every refusal cost no start of JAX's own."""
    code = "import sys; sys.argv = ['compile_for.py', '--help']; import compile_for as c\n"
    code += "try: c.main()\nexcept SystemExit: pass\nprint('jax' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{BENCHMARKS}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "v5e:2x4" in found.stdout and found.stdout.endswith("False\n")


def test_the_classes_are_the_config_s_or_the_caller_s(aot):
    program = importlib.import_module("aot.program")
    load = configs.load
    street, ade = (load(str(ROOT / "configs" / name)) for name in ("demo.py", "ade20k.py"))
    own = load(str(ROOT / "configs" / "custom.py"), ["--config.data.classes=('road','sky')"])
    named = load(str(ROOT / "configs" / "custom.py"), ["--config.data.classes=('camvid',)"])
    numbers = [program.classes(config, None).number for config in (street, ade, own, named)]
    assert numbers == [11, 150, 2, 11]
    assert program.classes(own, "ade20k").number == 150
    assert program.classes(own, "7").number == 7
    with pytest.raises(ValueError, match="--classes many: give their number, or one of cityscapes"):
        program.classes(own, "many")
