"""scripts/benchmarks/compile_for.py: what it counts in the compiler's text, and what it refuses.

The two texts are of one small program for two devices (tests/goldens/make_hlo.py): a dilated 3x3
convolution of 4 maps of 32x64x128 on each, its kernel's gradient summed over both, a loop of three
slices and a matrix product. The counts here are by hand.
"""

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

# Bytes of the arrays, per device.
MAPS, RESULT = 4 * 32 * 64 * 128 * 2, 4 * 32 * 64 * 256 * 2  # bfloat16
KERNEL = 3 * 3 * 128 * 256 * 2
MATRIX, SLICE, PRODUCT = 768 * 512 * 4, 256 * 512 * 4, 768 * 768 * 4  # float32
# Pairs of tap and position that meet the map: 30 + 32 + 30 of its rows, 62 + 64 + 62 columns.
CONVOLUTION = 2 * (92 * 188) * 128 * 256 * 4
DOT = 2 * 768 * 768 * 512


@pytest.fixture(scope="module")
def aot():
    """The modules by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        names = ("arithmetic", "child", "figures", "hlo", "kernels", "report", "roofline")
        yield {name: importlib.import_module(f"aot.{name}") for name in (*names, "targets")} | {
            "main": importlib.import_module("compile_for")
        }


@pytest.fixture(scope="module")
def programs(aot):
    """Platform -> the parsed program and its kernels by name."""
    found = {}
    for platform in ("cuda", "tpu"):
        module = aot["hlo"].parse((GOLDENS / f"hlo_{platform}.txt").read_text())
        found[platform] = module, {one.name: one for one in aot["kernels"].walk(module)}
    return found


def test_bytes_of_every_kernel_of_a_gpu(programs):
    _, kernels = programs["cuda"]
    assert {name: (one.times, one.bytes) for name, one in kernels.items()} == {
        "wrapped_transpose.1": (1, 2 * KERNEL),
        "cudnn-conv.2": (1, MAPS + KERNEL + RESULT),
        "wrapped_transpose": (1, 2 * MAPS),
        "loop_transpose_fusion.1": (1, 2 * RESULT),
        "cudnn-conv.3": (1, MAPS + RESULT + KERNEL),
        "all-reduce-start": (1, 2 * KERNEL),
        "copy.13": (1, 4 + 4),
        "loop_broadcast_fusion": (1, MATRIX),
        # Of two arrays of three slices: one slice read, one written in place, and the counter.
        "loop_dynamic_update_slice_fusion": (3, 2 * SLICE + 4),
        "loop_add_fusion": (3, 4 + 4),
        "gemm_fusion_dot": (1, 2 * MATRIX + PRODUCT),
        "loop_transpose_fusion": (1, 2 * KERNEL),
    }


def test_bytes_of_a_tpu_are_of_its_main_memory_and_padded(programs):
    _, kernels = programs["tpu"]
    moved = {name: (one.times, one.bytes) for name, one in kernels.items() if one.bytes > 100}
    slices = {f"slice-start.{i}": (1, MAPS // 4) for i in (4, 5, 6, 7)}
    slices |= {f"slice-start{i}": (1, MATRIX // 4) for i in ("", ".1", ".2", ".3")}
    assert moved == slices | {
        "copy-start": (1, KERNEL),
        "copy-start.1": (1, 128 * 16),  # pred[32,9] in tiles of 8x128, transposed
        "copy_bitcast_fusion": (1, MAPS),
        "copy.9": (1, RESULT),
        "all-reduce": (1, KERNEL),  # from vector memory
        "fusion.7": (1, PRODUCT),
    }
    assert kernels["add_dynamic-update-slice_fusion.2"].times == 3  # by its condition, i < 3
    assert "custom-call.2" not in kernels  # a name for four slices


def test_operations_and_windows(aot, programs):
    (_, cuda), (_, tpu) = programs["cuda"], programs["tpu"]
    assert cuda["cudnn-conv.2"].operations == cuda["cudnn-conv.3"].operations == CONVOLUTION
    assert cuda["gemm_fusion_dot"].operations == tpu["fusion.7"].operations == DOT
    found = aot["figures"].windows(cuda.values())
    assert sorted((one["window"], one["convolutions"], tuple(one["size"])) for one in found) == [
        ("size=32x64 stride=2x2 pad=2_2x2_2", 1, (32, 64)),
        ("size=3x3 pad=2_2x2_2 rhs_dilate=2x2", 1, (3, 3)),
    ]
    assert {one["precision"] for one in found} == {one["result"] for one in found} == {"bf16"}
    assert cuda["gemm_fusion_dot"].products[0].precision == "f32 rounded"
    # The TPU's compiler folds the width, 64 and 8 of padding, into the batch: 32 maps of 32x13,
    # each with the 4 columns that its neighbour has too. The kernel's gradient it leaves alone.
    assert tpu["multiply_convert_fusion"].operations == 2 * (92 * 27) * 128 * 256 * 32
    assert tpu["fusion.1"].operations == CONVOLUTION


def test_taps_on_padding_and_between_pixels(aot):
    taps = aot["arithmetic"]._taps
    everywhere = "size=3x3 pad=1_1x0_0"
    assert taps(everywhere, 0, 8, 3, 8) == 7 + 8 + 7
    assert taps(everywhere, 1, 8, 3, 6) == 18
    assert taps("size=3 stride=2 pad=1_1", 0, 8, 3, 4) == 3 + 4 + 4
    # Beyond the map at dilation 36.
    assert taps("size=3 pad=36_36 rhs_dilate=36", 0, 32, 3, 32) == 32
    # The input's gradient of stride 2: every second position lies between pixels.
    assert taps("size=3 pad=1_2 lhs_dilate=2", 0, 4, 3, 8) == 3 + 4 + 4


def test_collectives_kinds_and_sources(aot, programs):
    for platform, groups in (("cuda", 1), ("tpu", 1)):
        module, kernels = programs[platform]
        assert aot["figures"].collectives(kernels.values()) == [
            {
                **{"kind": "all-reduce", "dtype": "bf16", "count": groups},
                **{"bytes": KERNEL, "largest": KERNEL},
            }
        ]
        assert aot["kernels"].unknown_loops(module) == 0
    cuda, tpu = programs["cuda"][1], programs["tpu"][1]
    assert cuda["cudnn-conv.3"].kind == "convolution, cuDNN"
    assert cuda["gemm_fusion_dot"].kind == "matrix product"
    assert cuda["wrapped_transpose"].kind == "copy, transpose, convert"
    assert cuda["loop_dynamic_update_slice_fusion"].kind == "slice, update"
    assert tpu["multiply_convert_fusion"].kind == "convolution"
    assert tpu["copy-start"].asynchronous and not tpu["copy.9"].asynchronous
    # Lines of make_hlo.py, which the texts call /checkout/arm_jax/program.py.
    lines = (GOLDENS / "make_hlo.py").read_text().splitlines()
    for kernel, text in (("cudnn-conv.2", "conv_general_dilated"), ("gemm_fusion_dot", "matrix.T")):
        path, line = cuda[kernel].source.split(":")
        assert path == "program.py" and text in lines[int(line) - 1]


def test_sources_name_the_innermost_line_of_each_file(aot):
    text = """HloModule m

FileNames
1 "/x/arm_jax/training/step.py"
2 "/x/arm_jax/networks/layers.py"
3 "/y/flax/nnx.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=7 end_line=7 column=1 end_column=2}
2 {file_name_id=2 function_name_id=1 line=8 end_line=8 column=1 end_column=2}
3 {file_name_id=2 function_name_id=1 line=9 end_line=9 column=1 end_column=2}
4 {file_name_id=3 function_name_id=1 line=1 end_line=1 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}
4 {file_location_id=4 parent_frame_id=4}

ENTRY %main (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  %a = f32[4]{0} negate(%p), metadata={op_name="a" stack_frame_id=4}
  ROOT %b = f32[4]{0} negate(%a), metadata={op_name="b"}
}
"""
    module = aot["hlo"].parse(text)
    a, b = (module.entry.instructions[name] for name in "ab")
    assert module.source(a) == "networks/layers.py:9 < training/step.py:7"
    assert module.source(b) == ""
    with pytest.raises(ValueError, match="no entry computation"):
        aot["hlo"].parse("HloModule m\n")


def test_needless_float32(aot):
    text = """HloModule m

ENTRY %main (p: f32[4096,4096], q: bf16[4096,4096]) -> f32[4096,4096] {
  %p = f32[4096,4096]{1,0} parameter(0)
  %q = bf16[4096,4096]{1,0} parameter(1)
  %a = f32[4096,2048,2]{2,1,0} custom-call(%q), custom_call_target="x"
  %b = f32[1024,1024]{1,0} custom-call(%a), custom_call_target="x"
  ROOT %c = f32[4096,4096]{1,0} add(%p, %p)
}
"""
    module = aot["hlo"].parse(text)
    found = list(aot["kernels"].walk(module))
    needless = aot["figures"].needless_float32
    assert [one["array"] for one in needless(module, found, "bfloat16")] == ["f32[4096,2048,2]"]
    assert needless(module, found, "float32") == []


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


def test_a_window_without_a_kernel_of_cudnn_has_work_for_few_multiprocessors(aot, programs):
    roofline, device = aot["roofline"], aot["targets"].DEVICES["h100"]
    kernels = programs["cuda"][1]
    small = roofline.kernel_seconds(kernels["cudnn-conv.2"], device, 2)
    large = roofline.kernel_seconds(kernels["cudnn-conv.3"], device, 2)
    assert small == pytest.approx(roofline.LAUNCH + CONVOLUTION / (0.6 * 989e12), rel=0.2)
    # bf16[128,3,3,256]: nine tiles of 128x256 for 132 multiprocessors.
    assert large == pytest.approx(roofline.LAUNCH + CONVOLUTION / (0.6 * 989e12) * 132 / 9)


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
