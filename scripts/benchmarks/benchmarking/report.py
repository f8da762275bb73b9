"""The figures of a benchmark in words: what ran on what, and a table."""

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from arm_jax.run import starts


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """What it takes to measure the same again: command, date, hardware, versions.

    Taken before measuring: the checkout may be another one afterwards.
    """
    return starts.versions() | {
        "command": shlex.join(command),
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
    }


def origin(figures: dict[str, Any]) -> list[str]:
    """`provenance` in words."""
    return [
        f"command    {figures['command']}",
        f"           {figures['time']}, checkout {figures['git'] or 'unknown'},"
        f" Python {figures['python']}, jax {figures['packages']['jax']}",
        f"hardware   {figures['devices']}, {figures['processors']} processors,"
        f" load {figures['load']:.1f} at the start",
    ]


def text(figures: dict[str, Any]) -> str:
    return "\n".join(_lines(figures))


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    setting, whole, peak = figures["setting"], figures["whole"], figures["peak"]
    height, width = setting["crop"]
    yield from origin(figures)
    yield (
        f"network    {setting['network']}, {setting['parameters']:,} parameters, output stride"
        f" {setting['output_stride']}, {setting['classes']} classes, ARM {setting['arm']}"
    )
    yield (
        f"work       {figures['kind']}, {setting['batch']} images of {height}x{width},"
        f" {setting['precision']}, on {setting['devices']} device(s);"
        f" {whole['turns']} turns of everything"
    )
    yield (
        f"peak       {_operations(peak['operations_per_second'])} by a matrix product,"
        f" {peak['bytes_per_second'] / 1e9:.1f} GB/s by an addition"
    )
    yield ""
    head = f"{'':20}{'median, ms':>12}{'quartiles':>22}{'of whole':>10}{'of peak':>10}"
    yield head + f"{'CPU, ms':>11}" + f"{'of peak':>10}" * _is_cpu(figures)
    name = "step" if figures["kind"] == "training" else "network"
    yield _row(name, whole, figures)
    for part, values in figures["parts"].items():
        yield _row(f"  {part}", values, figures)
    if figures["parts"]:
        total = {"median": whole["sum_of_parts"], "cpu": whole["sum_of_parts_cpu"]}
        yield _row("  sum of the parts", total, figures)
    if "base" in figures:
        yield _row("step without ARM", figures["base"], figures)
    if "evaluation" in figures:
        yield _row("host to labels", figures["evaluation"], figures)
    for peer, values in figures["peers"].items():
        yield _row(f"PyTorch {peer}", values, figures)
    yield ""
    yield (
        f"images a second     {whole['images_per_second']:.2f}"
        + (
            f"; from the host to labels {figures['evaluation']['images_per_second']:.2f}"
            if "evaluation" in figures
            else ""
        )
    )
    yield (
        f"operations          {whole['operations'] / 1e12:.3f} T, twice the multiply-adds"
        + (" times three" if figures["kind"] == "training" else "")
        + f"; {_operations(whole['operations_per_second'])},"
        f" {whole['operations_per_second'] / peak['operations_per_second']:.1%} of the peak"
    )
    floor = whole["operations"] / peak["operations_per_second"]
    line = f"floor               {1e3 * floor:.2f} ms for the operations"
    if whole["traffic_bytes"]:
        traffic = whole["traffic_bytes"]
        line += (
            f"; {1e3 * traffic / peak['bytes_per_second']:.2f} ms for the {traffic / 2**30:.2f} GiB"
            " that the program reads and writes, by the compiler"
        )
    yield line
    yield (
        f"compilation         {whole['lower_seconds']:.1f} s to trace,"
        f" {whole['compile_seconds']:.1f} s to compile"
    )
    yield f"memory              {_memory(whole)}"
    if "base" in figures:
        base = figures["base"]
        by = base["step_over_base"]
        yield (
            f"ARM's cost          {by['median'] - 1:+.1%} of the base model's step by the clock"
            f" (quartiles {by['lower'] - 1:+.1%} to {by['upper'] - 1:+.1%}),"
            f" {by['cpu'] - 1:+.1%} by CPU seconds,"
            f" {base['bytes_over_base'] - 1:+.2%} memory of the program"
            + (
                f", {whole['peak_bytes'] / base['peak_bytes'] - 1:+.2%} at the device's peak"
                if base["peak_bytes"]
                else ""
            )
        )
    for peer, values in figures["peers"].items():
        by = values["over_ours"]
        line = (
            f"PyTorch over ours   {by['median']:.2f} (quartiles {by['lower']:.2f} to"
            f" {by['upper']:.2f}; CPU seconds {by['cpu']:.2f}), {peer}: torch {values['torch']}"
            f" on {values['device']}, {values['parameters']:,} parameters"
        )
        if values["peak_bytes"]:
            line += f", {values['peak_bytes'] / 2**30:.2f} GiB"
        yield line


def _row(name: str, values: dict[str, Any], figures: dict[str, Any]) -> str:
    whole, peak = figures["whole"], figures["peak"]
    line = f"{name:20}{1e3 * values['median']:12.2f}"
    span = share = cpu_share = ""
    if "lower" in values:
        span = f"{1e3 * values['lower']:.2f} to {1e3 * values['upper']:.2f}"
    if values.get("operations"):
        rate = values["operations"] / values["median"]
        share = f"{rate / peak['operations_per_second']:.1%}"
        if _is_cpu(figures):
            rate = values["operations"] / values["cpu"]
            cpu_share = f"{rate / peak['operations_per_cpu_second']:.1%}"
    line += f"{span:>22}{values['median'] / whole['median']:10.1%}{share:>10}"
    return (line + f"{1e3 * values['cpu']:11.1f}{cpu_share:>10}").rstrip()


def _is_cpu(figures: dict[str, Any]) -> bool:
    """Whether processor seconds tell of the work itself, and not of the host's share in it."""
    return figures["devices"].endswith("cpu")


def _operations(rate: float) -> str:
    return f"{rate / 1e12:.3f} TFLOP/s"


def _memory(whole: dict[str, Any]) -> str:
    found = f"{whole['program_bytes'] / 2**30:.3f} GiB for the program, by the compiler"
    if whole["peak_bytes"] is None:
        return f"{found}; the device keeps no account of its peak"
    return f"{whole['peak_bytes'] / 2**30:.3f} GiB at the peak, by the device; {found}"
