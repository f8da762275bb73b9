"""The figures of a compiled program: memory, operations, bytes, kernels, a roofline."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from aot import hlo, kernels, roofline
from aot.child import Job, Result
from aot.kernels import COLLECTIVES, Kernel
from aot.targets import Device

LARGE_MAP = 16 * 2**20  # bytes of a float32 array worth naming
LISTED = 15


def of(job: Job, result: Result, device: Device) -> dict[str, Any]:
    """All figures, of each device: bytes, operations, seconds."""
    module = hlo.parse(result.text)
    found = list(kernels.walk(module))
    facts = result.facts
    model = roofline.model(found, device, facts["devices"])
    operations = sum(kernel.operations * kernel.times for kernel in found)
    moved = sum(kernel.bytes * kernel.times for kernel in found)
    return {
        "job": {"row": job.row, "overrides": list(job.overrides), "topology": job.topology},
        **facts,
        "program": job.program,
        "device": device.name,
        "memory_bytes": memory_bytes(result.memory, job.platform),
        "device_memory": device.memory,
        "operations": operations,
        "traffic_bytes": moved,
        "kernels": sum(kernel.times for kernel in found),
        "loops_of_unknown_trips": kernels.unknown_loops(module),
        "by_kind": by_kind(found, model),
        "largest": largest(found),
        "windows": windows(found),
        "collectives": collectives(found),
        "float32": needless_float32(module, found, facts["dtype"]),
        "model": {
            "seconds": model.kernels,
            "floor_operations_seconds": model.operations,
            "floor_bytes_seconds": model.bytes,
            "share_of_peak": facts["useful_operations"]
            / model.kernels
            / device.peak[_precision(facts["dtype"])],
            "images_per_second": facts["batch"] / model.kernels,
        },
    }


def _precision(dtype: str) -> str:
    return {"bfloat16": "bf16", "float16": "f16"}.get(dtype, "f32 rounded")


def memory_bytes(report: str, platform: str) -> int:
    """Arguments, results and temporary arrays at once, in the device's main memory.

    Args:
      report: the compiler's `*memory-usage-report.txt`.

    Raises:
      ValueError: it has no total.
    """
    totals = re.findall(r"^Memory Space: .*\(color=(\d+)\)\nTotal bytes: (\d+)", report, re.M)
    if not totals:
        raise ValueError("the memory report of the compiler has no total; its format has changed")
    # A TPU's other spaces are in the chip; a GPU's are parts of the same memory.
    return sum(int(size) for color, size in totals if platform == "cuda" or color == "0")


def by_kind(found: Iterable[Kernel], model: roofline.Model) -> list[dict[str, Any]]:
    """Kernels, bytes, operations and modelled seconds, the kind of most bytes first."""
    count: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    for kernel in found:
        count[kernel.kind] += kernel.times
        moved[kernel.kind] += kernel.bytes * kernel.times
        operations[kernel.kind] += int(kernel.operations * kernel.times)
    return [
        {
            "kind": kind,
            "kernels": count[kind],
            "bytes": size,
            "operations": operations[kind],
            "model_seconds": model.by_kind.get(kind, 0.0),
        }
        for kind, size in moved.most_common()
    ]


def largest(found: Iterable[Kernel], number: int = LISTED) -> list[dict[str, Any]]:
    """The kernels of most bytes; those of the same kind, source and shapes are one entry."""
    groups: dict[tuple[Any, ...], list[Kernel]] = {}
    for kernel in found:
        groups.setdefault((kernel.kind, kernel.source, kernel.shapes), []).append(kernel)
    entries: list[dict[str, Any]] = [
        {
            "kernel": members[0].name,
            "kind": members[0].kind,
            "kernels": sum(member.times for member in members),
            "bytes": sum(member.bytes * member.times for member in members),
            "result": ", ".join(map(str, members[0].shapes[:3])),
            "source": members[0].source,
        }
        for members in groups.values()
    ]
    return sorted(entries, key=lambda entry: -entry["bytes"])[:number]


def windows(found: Iterable[Kernel]) -> list[dict[str, Any]]:
    """Convolutions by kind, window, groups and type, those of most operations first."""
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for kernel in found:
        for product in kernel.products:
            if product.kind == "matrix product":
                continue
            key = product.kind, product.window, product.groups, product.precision, product.result
            entry = groups.setdefault(
                key,
                {
                    "kind": product.kind,
                    "window": product.window or "1x1",
                    "size": list(product.size),
                    "groups": product.groups,
                    "precision": product.precision,
                    "result": product.result,
                    "convolutions": 0,
                    "operations": 0.0,
                    "source": kernel.source,
                },
            )
            entry["convolutions"] += kernel.times
            entry["operations"] += product.operations * kernel.times
    return sorted(groups.values(), key=lambda entry: -entry["operations"])


def collectives(found: Iterable[Kernel]) -> list[dict[str, Any]]:
    """Sums over devices and the like, by kind and element type: how many, and their payload."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for kernel in found:
        if kernel.kind not in COLLECTIVES:
            continue
        dtypes = "+".join(sorted({shape.dtype for shape in kernel.shapes}))
        entry = groups.setdefault(
            (kernel.kind, dtypes),
            {"kind": kernel.kind, "dtype": dtypes, "count": 0, "bytes": 0, "largest": 0},
        )
        payload = sum(shape.bytes for shape in kernel.shapes)
        entry["count"] += kernel.times
        entry["bytes"] += payload * kernel.times
        entry["largest"] = max(entry["largest"], payload)
    return sorted(groups.values(), key=lambda entry: -entry["bytes"])


def needless_float32(
    module: hlo.Module, found: Iterable[Kernel], dtype: str, number: int = LISTED
) -> list[dict[str, Any]]:
    """Large float32 arrays that kernels write though the network computes in half precision.

    Not those of the shape of a parameter: weights, momenta and their gradients are float32.
    """
    if dtype == "float32":
        return []
    state = {
        shape.dims
        for one in module.entry
        if one.opcode == "parameter"
        for shape in one.shapes
        if shape.dtype == "f32"
    }
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for kernel in found:
        for shape in kernel.shapes:
            if shape.dtype != "f32" or shape.bytes < LARGE_MAP or shape.dims in state:
                continue
            entry = groups.setdefault(
                (shape.dims, kernel.source),
                {"array": str(shape), "written": 0, "bytes": 0, "source": kernel.source},
            )
            entry["written"] += kernel.times
            # A part of the array where it is written in place.
            entry["bytes"] += min(shape.bytes, kernel.bytes) * kernel.times
    return sorted(groups.values(), key=lambda entry: -entry["bytes"])[:number]
