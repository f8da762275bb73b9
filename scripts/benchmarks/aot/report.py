"""The figures of a compiled program as text."""

from collections.abc import Iterator
from typing import Any

from aot.targets import GIB, PREALLOCATED

SOURCE_WIDTH = 78


def text(figures: dict[str, Any], memory: int | None = None) -> str:
    """All of it. `memory`: bytes of another card than the one that was compiled for."""
    return "\n".join(_lines(figures, memory))


def fits(figures: dict[str, Any], memory: int | None = None) -> str:
    """One line on whether the program fits the memory, as in "batch 16 needs 38.6 GiB of 79.1".

    Without what a GPU's libraries and its context take beside the program, half a GiB or more.
    """
    need, have = figures["memory_bytes"], memory or figures["device_memory"]
    each = f" ({figures['batch'] // figures['devices']} a device)" * (figures["devices"] > 1)
    line = f"batch {figures['batch']}{each} needs {need / GIB:.2f} GiB of {have / GIB:.1f}: "
    if need > have:
        return line + "it does NOT fit"
    if figures["device"].startswith("TPU") or need <= PREALLOCATED * have:
        return line + "it fits"
    return line + (
        f"more than the {PREALLOCATED:.0%} that JAX takes; set XLA_PYTHON_CLIENT_MEM_FRACTION"
        f" to at least {need / have + 0.01:.2f}"
    )


def _lines(figures: dict[str, Any], memory: int | None) -> Iterator[str]:
    height, width = figures["size"]
    versions = ", ".join(f"{name} {version}" for name, version in figures["packages"].items())
    yield f"program     {' '.join([figures['job']['row'], *figures['job']['overrides']])}"
    yield (
        f"            {figures['program']}, {figures['network']}, {figures['dtype']},"
        f" {figures['classes']} classes, {figures['batch']} images of {height}x{width}"
        + ", remat" * figures["remat"]
        + f", accumulate={figures['accumulate']}" * (figures["accumulate"] > 1)
        + (
            f"; of {figures['passes']} passes the largest, without its labels"
            if figures["passes"] > 1
            else ""
        )
    )
    yield (
        f"compiled    for {figures['devices']} x {figures['device_kind']}"
        f" ({figures['job']['topology']}), not run; {versions};"
        f" {figures['cpu_seconds']:.0f} CPU seconds"
    )
    if "products" in figures:
        yield f"products    {figures['products']}"
    yield f"memory      {fits(figures, memory)}"
    ideal, done = figures["useful_operations"], figures["operations"]
    yield (
        f"operations  {_operations(done)}, {done / ideal:.3f} of the network's own"
        f" {_operations(ideal)}"
    )
    loops = figures["loops_of_unknown_trips"]
    yield (
        f"bytes       {figures['traffic_bytes'] / 1e9:.2f} GB read and written by"
        f" {figures['kernels']:,} kernels"
        + (f"; {loops} loop(s) of unknown length counted once" if loops else "")
    )
    model = figures["model"]
    yield (
        f"roofline    {1e3 * model['seconds']:.2f} ms by a model, not measured:"
        f" {figures['device']}, {model['images_per_second']:.1f} images/s,"
        f" {model['share_of_peak']:.1%} of the peak;"
    )
    yield (
        f"            floors {1e3 * model['floor_operations_seconds']:.2f} ms for the operations,"
        f" {1e3 * model['floor_bytes_seconds']:.2f} ms for the bytes"
    )
    yield ""
    yield f"{'kernels by kind':32}{'kernels':>9}{'GB':>10}{'GFLOP':>10}{'model, ms':>11}"
    for entry in figures["by_kind"]:
        yield (
            f"{entry['kind'][:31]:32}{entry['kernels']:9,}{entry['bytes'] / 1e9:10.3f}"
            f"{entry['operations'] / 1e9:10.1f}{1e3 * entry['model_seconds']:11.2f}"
        )
    yield ""
    yield f"{'the largest by bytes':32}{'kernels':>9}{'GB':>10}   result, source"
    for entry in figures["largest"]:
        yield (
            f"{entry['kind'][:31]:32}{entry['kernels']:9,}{entry['bytes'] / 1e9:10.3f}"
            f"   {entry['result'][:80]}"
        )
        if entry["source"]:
            yield f"{'':54}{_short(entry['source'])}"
    if figures["windows"]:
        yield ""
        yield f"{'convolutions':22}{'number':>7}{'GFLOP':>10}   window, types, source"
        for entry in figures["windows"]:
            groups = f" in {entry['groups']} groups" if entry["groups"] > 1 else ""
            yield (
                f"{entry['kind']:22}{entry['convolutions']:7,}{entry['operations'] / 1e9:10.2f}"
                f"   {entry['window']}{groups}, {entry['precision']} to {entry['result']},"
                f" {_short(entry['source'])}"
            )
    if figures["collectives"]:
        yield ""
        yield f"{'collectives':22}{'type':>12}{'number':>8}{'MB':>10}{'largest, MB':>13}"
        for entry in figures["collectives"]:
            yield (
                f"{entry['kind']:22}{entry['dtype']:>12}{entry['count']:8,}"
                f"{entry['bytes'] / 1e6:10.2f}{entry['largest'] / 1e6:13.2f}"
            )
    if figures["float32"]:
        yield ""
        yield f"{'float32 that need not be':32}{'written':>9}{'GB':>10}   source"
        for entry in figures["float32"]:
            yield (
                f"{entry['array'][:31]:32}{entry['written']:9,}{entry['bytes'] / 1e9:10.3f}"
                f"   {_short(entry['source'])}"
            )


def _operations(number: float) -> str:
    return f"{number / 1e12:.3f} T" if number >= 1e11 else f"{number / 1e9:.3f} G"


def _short(source: str) -> str:
    return source if len(source) <= SOURCE_WIDTH else source[: SOURCE_WIDTH - 3] + "..."
