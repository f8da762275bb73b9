"""The runbook: a step that aborts or hangs costs its own result only."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"))

import runbook
from runbook import Step


def program(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.py"
    path.write_text(text)
    return str(path)


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four steps: one leaves figures, one aborts, one hangs and one has a small form."""
    good = """import sys; open(sys.argv[1], 'w').write('{"ms": 3.5}'); print('measured')"""
    echo = "import sys; print(sys.argv[1:])"
    monkeypatch.setattr(
        runbook,
        "STEPS",
        (
            Step("good", program(tmp_path, "good", good) + " {work}/{name}.json", 60),
            Step("aborts", program(tmp_path, "aborts", "import os; os.abort()"), 60),
            Step("hangs", program(tmp_path, "hangs", "import time; time.sleep(600)"), 2),
            Step("echo", program(tmp_path, "echo", echo), 60, "--size 1024", "--size 8"),
            Step("absent", "-c pass", 60, needs="no_such_package"),
        ),
    )
    return tmp_path / "out"


def results(out: Path) -> dict[str, dict]:
    lines = (out / "results.jsonl").read_text().splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


def test_each_result_is_kept_whatever_the_others_do(steps: Path) -> None:
    assert runbook.main(["--out", str(steps), "--rehearse"]) == 1
    found = results(steps)
    assert [row["status"] for row in found.values()] == [
        *("passed", "exit -6", "timed out", "passed", "skipped")
    ]
    assert found["absent"]["output"] == "no_such_package is not installed"
    assert found["good"]["figures"] == {"ms": 3.5}
    assert found["good"]["output"] == "measured\n"
    assert 2 <= found["hangs"]["seconds"] < 20
    assert found["echo"]["output"] == "['--size', '8']\n"


def test_steps_that_no_longer_fit_are_skipped_and_named(steps: Path) -> None:
    assert runbook.main(["--out", str(steps), "--minutes", "0"]) == 0
    assert {row["status"] for row in results(steps).values()} == {"skipped"}


def test_only_the_named_steps_run_at_their_full_size(steps: Path) -> None:
    assert runbook.main(["--out", str(steps), "--only", "echo"]) == 0
    assert results(steps)["echo"]["output"] == "['--size', '1024']\n"
