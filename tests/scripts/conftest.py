"""What the tests of scripts/benchmarks/ share."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def aot():
    """The modules by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))
        names = ("arithmetic", "child", "figures", "hlo", "kernels", "report", "roofline")
        yield {name: importlib.import_module(f"aot.{name}") for name in (*names, "targets")} | {
            "main": importlib.import_module("compile_for")
        }


@pytest.fixture(scope="module")
def programs(aot):
    """Platform -> the parsed program and its kernels by name."""
    found = {}
    for platform in ("cuda", "tpu"):
        module = aot["hlo"].parse((ROOT / "tests" / "goldens" / f"hlo_{platform}.txt").read_text())
        found[platform] = module, {one.name: one for one in aot["kernels"].walk(module)}
    return found
