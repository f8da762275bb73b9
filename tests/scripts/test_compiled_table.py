"""scripts/benchmarks/compiled_gate.py and compiled_table.py, with a compiler that is made up."""

import importlib
import importlib.metadata
import json
import runpy
from pathlib import Path

import pytest

from arm_jax.run import configs

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "scripts" / "benchmarks"
GOLDEN = ROOT / "tests" / "goldens" / "hlo_cuda.txt"
FACTS = {
    **{"devices": 1, "device_kind": "H100", "network": "n", "dtype": "float32", "classes": 11},
    **{"batch": 4, "size": [96, 192], "remat": False, "accumulate": 1, "passes": 1},
    **{"useful_operations": 1e9, "cpu_seconds": 3.0},
}


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return {
        name: importlib.import_module(name)
        for name in ("compiled_gate", "compiled_table", "aot.child", "aot.cells")
    }


VERSION = importlib.metadata.version("jax")


@pytest.fixture
def compiler(scripts, monkeypatch):
    """Rows -> the text that compiling them gives, or the error that it raises; `jobs` compiled."""
    child = scripts["aot.child"]
    jobs, answers = [], {}
    packages = {name: VERSION for name in ("jax", "jaxlib", "jax-cuda13-plugin")}
    text = GOLDEN.read_text().replace("size=32x64 stride=2x2", "size=3x3 stride=2x2")

    def run(job, folder, until="end", timeout=0):
        jobs.append((job, until))
        answer = next((value for name, value in answers.items() if name in job.row), text)
        if isinstance(answer, Exception):
            raise answer
        memory = "Memory Space: default (color=0)\nTotal bytes: 1073741824\n"
        return child.Result(FACTS | {"packages": packages}, answer, memory)

    monkeypatch.setattr(child, "run", run)
    monkeypatch.setattr(child, "require", lambda platform: None)
    return jobs, answers, packages


@pytest.fixture
def gate(scripts, compiler, tmp_path, monkeypatch):
    """The gate with a record of what the made-up compiler gives."""
    gate = scripts["compiled_gate"]
    monkeypatch.setattr(gate, "RECORD", tmp_path / "record.json")
    assert gate.main(["--update"]) == 0
    compiler[0].clear()
    return gate


def test_the_gate_lets_pass_what_its_record_has(gate, compiler, capsys):
    assert gate.main([]) == 0 and capsys.readouterr().err == ""
    assert [(Path(job.row).name, until) for job, until in compiler[0]] == [
        ("demo.py", "hlo"),
        ("grid.py", "hlo"),
    ]
    record = json.loads(gate.RECORD.read_text())
    assert record["packages"] == compiler[2] and len(record["traffic_bytes"]) == 2


def test_the_gate_fails_on_an_abort_and_goes_on(gate, compiler, scripts, capsys):
    error = scripts["aot.child"].CompileError("the compiler aborted (SIGABRT): Check failed: a")
    compiler[1]["demo.py"] = error
    assert gate.main([]) == 1
    out, err = capsys.readouterr()
    assert err == f"compiled_gate.py: configs/demo.py: {error}\n" and "configs/grid.py: " in out
    before = gate.RECORD.read_text()
    assert gate.main(["--update"]) == 1 and gate.RECORD.read_text() == before


def test_the_gate_fails_on_a_window_and_on_bytes(gate, compiler, capsys):
    compiler[1]["grid.py"] = GOLDEN.read_text()  # with a window of 32x64
    assert gate.main([]) == 1
    err = capsys.readouterr().err
    assert "configs/grid.py: 1 x convForward with window size=32x64" in err and "9x9" in err
    compiler[1].clear()

    record = json.loads(gate.RECORD.read_text())
    now = record["traffic_bytes"]["configs/demo.py"]
    for before, status in ((now / 1.019, 0), (now / 1.021, 1), (now * 2, 0)):
        record["traffic_bytes"]["configs/demo.py"] = int(before)
        gate.RECORD.write_text(json.dumps(record))
        assert gate.main([]) == status
    record["packages"]["jaxlib"] = "0.10.1"
    gate.RECORD.write_text(json.dumps(record))
    assert gate.main([]) == 1 and "write the record anew by --update" in capsys.readouterr().err
    assert gate.main(["--update"]) == 0 and gate.main([]) == 0  # over one that git brought


def test_the_committed_record_is_of_the_pinned_versions(scripts):
    record = json.loads((BENCHMARKS / "compiled_gate.json").read_text())
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    assert (
        record["packages"]["jax"] == pins["jax"] and record["packages"]["jaxlib"] == pins["jaxlib"]
    )
    assert set(record["traffic_bytes"]) == set(scripts["compiled_gate"].PROGRAMS)


def test_the_cells_cover_what_they_promise(scripts):
    cells = scripts["aot.cells"]
    rows = runpy.run_path(str(ROOT / "configs" / "base.py"))["ROWS"]
    listed = cells.listed(rows)
    found = {(cell.table, cell.line, cell.column) for cell in listed}
    for network in cells.NETWORKS:
        for topology in (*cells.GPUS, *cells.TPUS):
            assert ("networks", network, topology) in found
        for dtype in ("float16", "float32"):
            assert ("precisions", network, f"1x1x1 {dtype}") in found
        for way in ("remat", "accumulate=4", "both"):
            assert ("memory", network, way) in found
        assert ("evaluation", network, "1x1x1") in found
    # Every row that changes the step; the others change the network, the data or the evaluation.
    elsewhere = {name for name in rows if ("rows", name, "1x1x1") not in found}
    assert elsewhere == {"resnet50", "resnet101", "ocr", "tta"}
    assert {cell.key for cell in cells.few(rows)} <= {cell.key for cell in listed}
    for cell in listed:  # the config has all of their keys
        configs.load(str(ROOT / cell.job.row), cell.job.overrides)


def test_the_table_goes_on_where_it_stopped(scripts, compiler, tmp_path, capsys):
    jobs, answers, _ = compiler
    table, path = scripts["compiled_table"], tmp_path / "cells.jsonl"
    only = [str(path), "--only", "first steps"]
    answers["grid.py"] = scripts["aot.child"].CompileError("Used 23.5G of 15.7G | hbm")
    assert table.main([*only[:2], "first steps | demo"]) == 0
    assert [cell["status"] for cell in table.read(path)] == ["compiles"] * 4
    assert table.main(only) == 0 and len(jobs) == 6  # the two of grid.py are added
    assert table.main(only) == 0 and len(jobs) == 6
    assert table.main([*only[:2], "networks | R101 | 1x1x8"]) == 0  # none of the few
    with path.open("a") as file:  # of another version: a cell of `few`, and no others there
        other = json.loads(path.read_text().splitlines()[0])
        other |= {"packages": {"jax": "0.9.1"}}
        file.write(json.dumps(other) + "\n")

    capsys.readouterr()
    assert table.main([str(path), "--markdown"]) == 0
    older, newer = capsys.readouterr().out.split(f"**jax {VERSION}**")
    assert "| demo | 1 GiB, 0.0" in newer and "compiled" not in newer
    assert "| grid | fails: Used 23.5G of 15.7G \\| hbm | fails" in newer
    assert "**jax 0.9.1**" in older and "| grid |  |  |" in older
    # Nothing of it was compiled: shown empty, but for a version that is tried with a few cells.
    assert "| rows |" not in older and "| ohem |  |  |  |" in newer
