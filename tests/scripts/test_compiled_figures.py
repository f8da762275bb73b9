"""scripts/benchmarks/aot: what is counted in the compiler's text.

The two texts are of one small program for two devices (tests/goldens/make_hlo.py): a dilated 3x3
convolution of 4 maps of 32x64x128 on each, its kernel's gradient summed over both, a loop of three
slices and a matrix product. The counts here are by hand.
"""

from pathlib import Path

import pytest

GOLDENS = Path(__file__).parents[1] / "goldens"

# Bytes of the arrays, per device.
MAPS, RESULT = 4 * 32 * 64 * 128 * 2, 4 * 32 * 64 * 256 * 2  # bfloat16
KERNEL = 3 * 3 * 128 * 256 * 2
MATRIX, SLICE, PRODUCT = 768 * 512 * 4, 256 * 512 * 4, 768 * 768 * 4  # float32
# Pairs of tap and position that meet the map: 30 + 32 + 30 of its rows, 62 + 64 + 62 columns.
CONVOLUTION = 2 * (92 * 188) * 128 * 256 * 4
DOT = 2 * 768 * 768 * 512


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


def test_elements_of_tuples_without_an_instruction_of_their_own(aot):
    """As XLA of jax 0.12 writes them; a kernel reads one element, not the whole tuple."""
    text = """HloModule m

ENTRY %main (p: (f32[8], (bf16[4,2], s32[]))) -> f32[8] {
  %p = (f32[8]{0}, (bf16[4,2]{1,0}, s32[])) parameter(0)
  %a = f32[8]{0} custom-call(%p#1#0, %p#1#1), custom_call_target="x"
  ROOT %b = f32[8]{0} add(%p#0, %a)
}
"""
    module = aot["hlo"].parse(text)
    entry = module.entry
    assert [str(entry.shapes(name)[0]) for name in entry.instructions["a"].operands] == [
        "bf16[4,2]",
        "s32[]",
    ]
    found = {kernel.name: kernel.bytes for kernel in aot["kernels"].walk(module)}
    assert found == {"a": 16 + 4 + 32, "b": 32 + 32 + 32}


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


def test_a_window_without_a_kernel_of_cudnn_has_work_for_few_multiprocessors(aot, programs):
    roofline, device = aot["roofline"], aot["targets"].DEVICES["h100"]
    kernels = programs["cuda"][1]
    small = roofline.kernel_seconds(kernels["cudnn-conv.2"], device, 2)
    large = roofline.kernel_seconds(kernels["cudnn-conv.3"], device, 2)
    assert small == pytest.approx(roofline.LAUNCH + CONVOLUTION / (0.6 * 989e12), rel=0.2)
    # bf16[128,3,3,256]: nine tiles of 128x256 for 132 multiprocessors.
    assert large == pytest.approx(roofline.LAUNCH + CONVOLUTION / (0.6 * 989e12) * 132 / 9)
