"""Which programs the table of `make compiled` compiles for which devices.

The full product of networks, rows, precisions, devices and ways to save memory has thousands of
cells of minutes each. This set covers instead:

- every network with every kind of device, in bfloat16, as one step and as an evaluation; two with
  a single TPU, whose memory is small;
- every network in every precision, on one GPU and on eight TPUs of one kind;
- every network with remat, with accumulation and with both, on one GPU;
- every row that changes the step, on a small network, on one GPU, on eight
  GPUs and on eight TPUs: rows change what follows the scores, which is the same for all networks;
- every way to evaluate, on the small network.

In an order in which the most is known at any time: GPUs before TPUs, small before large.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from aot.child import Job

# A small network for what does not depend on the network.
SMALL = (
    "configs/street_scenes.py",
    (
        "--config.data.builder_config=demo",
        "--config.model.name=deeplabv3plus_resnet18",
        "--config.model.output_stride=16",
    ),
)
NETWORKS = {
    "R18": (SMALL[0], (*SMALL[1], "--config.augment.crop=512,1024", "--config.batch_size=16")),
    "R50": ("configs/cityscapes_coarse.py:resnet50", ()),
    "R101": ("configs/cityscapes_coarse.py", ()),
    "ResNeSt-101": ("configs/ade20k.py", ()),
    "OCR R101": ("configs/cityscapes_coarse.py:ocr", ()),
}
GPUS = ("1x1x1", "1x1x8")
TPUS = ("v5e:2x4", "v6e:2x4", "v5p:2x2x1")
REMAT = "--config.model.remat=True"


class Cell(NamedTuple):
    """One program for one device.

    Attributes:
      table: the part of the table that it belongs to.
      line, column: where it stands there.
      job: what is compiled.
      until: how far.
    """

    table: str
    line: str
    column: str
    job: Job
    until: str = "hlo"

    @property
    def key(self) -> str:
        return f"{self.table} | {self.line} | {self.column}"


def listed(rows: dict[str, dict]) -> list[Cell]:
    """All cells in their order. `rows`: configs/base.py's."""
    found = [
        *_starts(),
        *_networks(GPUS),
        *_rows(rows, "1x1x1"),
        *_precisions("1x1x1"),
        *_memory(),
        *_evaluations("1x1x1"),
        *_networks(TPUS[:1]),
        *_rows(rows, "v5e:2x4"),
        *_protocols(),
        *[cell for cell in _networks(("v5e:1x1",)) if cell.line in ("R18", "R101")],
        *_networks(TPUS[1:]),
        *_precisions("v5e:2x4"),
        *_evaluations("v5e:2x4"),
        *_rows(rows, "1x1x8"),
    ]
    assert len({cell.key for cell in found}) == len(found)
    return found


def few(rows: dict[str, dict]) -> list[Cell]:
    """What other versions are tried with: every network on a GPU, the rest with small ones."""
    small = ("R18", "R50")
    return [
        *_starts(),
        *_networks(GPUS[:1]),
        *[cell for cell in _networks((GPUS[1], TPUS[0])) if cell.line in small],
        *[cell for cell in _precisions("1x1x1") if cell.line == "R18"],
        *[cell for cell in _memory() if cell.line == "R18"],
        *_evaluations("1x1x1", small),
        *_rows(rows, "1x1x1"),
        *_rows(rows, "v5e:2x4"),
    ]


def _job(row: str, topology: str, overrides: tuple[str, ...] = (), **options: object) -> Job:
    platform = "tpu" if ":" in topology else "cuda"
    return Job(row, overrides, platform, topology, **options)  # type: ignore[arg-type]


def _starts() -> Iterator[Cell]:
    """What a newcomer runs first, to the end of the compilation."""
    for name, topology in itertools.product(("demo", "grid", "demo:smoke"), (GPUS[0], TPUS[0])):
        file, _, row = name.partition(":")
        path = f"configs/{file}.py" + f":{row}" * bool(row)
        # A batch for each of the eight.
        more = ("--config.batch_size=8",) if file == "demo" and ":" in topology else ()
        yield Cell("first steps", name, topology, _job(path, topology, more), "end")


def _networks(topologies: tuple[str, ...]) -> Iterator[Cell]:
    for topology, (name, (row, more)) in itertools.product(topologies, NETWORKS.items()):
        job = _job(row, topology, (*more, "--config.model.dtype=bfloat16"))
        yield Cell("networks", name, topology, job)


def _precisions(topology: str) -> Iterator[Cell]:
    for dtype, (name, (row, more)) in itertools.product(("float16", "float32"), NETWORKS.items()):
        job = _job(row, topology, (*more, f"--config.model.dtype={dtype}"))
        yield Cell("precisions", name, f"{topology} {dtype}", job)


def _memory() -> Iterator[Cell]:
    ways = {
        "remat": (REMAT,),
        "accumulate=4": ("--config.accumulate=4",),
        "both": (REMAT, "--config.accumulate=4"),
    }
    for (way, keys), (name, (row, more)) in itertools.product(ways.items(), NETWORKS.items()):
        job = _job(row, GPUS[0], (*more, "--config.model.dtype=bfloat16", *keys))
        yield Cell("memory", name, way, job)
    for way in ("remat", "both"):
        row, more = NETWORKS["R101"]
        job = _job(row, "v5e:1x1", (*more, "--config.model.dtype=bfloat16", *ways[way]))
        yield Cell("memory", "R101", f"{way}, v5e:1x1", job)
    both = (REMAT, "--config.accumulate=2", "--config.model.dtype=bfloat16")
    for name, topology in (("R18", GPUS[1]), ("R101", TPUS[0])):
        row, more = NETWORKS[name]
        job = _job(row, topology, (*more, *both))
        yield Cell("memory", name, f"both, {topology}, accumulate=2", job)


def _evaluations(topology: str, names: tuple[str, ...] = tuple(NETWORKS)) -> Iterator[Cell]:
    for name in names:
        row, more = NETWORKS[name]
        size = (512, 2048) if name == "ResNeSt-101" else (1024, 2048)
        job = _job(
            row, topology, (*more, "--config.model.dtype=bfloat16"), evaluate=True, size=size
        )
        yield Cell("evaluation", name, topology, job)


def _rows(rows: dict[str, dict], topology: str) -> Iterator[Cell]:
    file, small = SMALL
    more = (*small, *("--config.augment.crop=96,192", "--config.batch_size=8"))
    more = (*more, "--config.model.dtype=bfloat16")
    for name, changes in rows.items():
        if any(key.startswith(("arm.", "loss.", "targets.")) for key in changes):
            job = _job(f"{file}:{name}", topology, more)
            yield Cell("rows", name, topology, job)
    for key in ("loss.average_over=all", "augment.jitter=False"):
        job = _job(f"{file}:arm", topology, (*more, f"--config.{key}"))
        yield Cell("rows", key, topology, job)


def _protocols() -> Iterator[Cell]:
    file, small = SMALL
    ways: dict[str, tuple[str, tuple[str, ...]]] = {
        "whole image": ("", ()),
        "tta": (":tta", ()),
        "windows": ("", ("--config.evaluation.crop=(512,1024)",)),
    }
    for topology, (way, (row, keys)) in itertools.product((*GPUS, TPUS[0]), ways.items()):
        job = _job(f"{file}{row}", topology, (*small, *keys), evaluate=True, size=(1024, 2048))
        yield Cell("evaluation", f"R18, {way}", topology, job)
