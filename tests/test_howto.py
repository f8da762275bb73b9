"""The how-to pages of docs/howto: every command and every line of Python runs as written.

A page's blocks run in their order in one folder, which has tiny data under the names that the page
uses. `arm-jax` is there a stand-in that makes networks, crops and runs small, notes the command,
and goes on to the package's own. A block of ```text is shown and not run.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import label_kinds
import pytest

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "howto"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Commands and blocks of Python on each page.
NUMBERS = {
    "polygons": (8, 1),
    "two_folders": (7, 0),
    "own_model": (0, 4),
    "devices": (4, 0),
    "continue": (9, 1),
}
# 10,000 steps, which custom.py has, become 4.
STAND_IN = """#!{python}
import json, os, re, sys
words = sys.argv[1:]
with open("commands.jsonl", "a") as log:
    log.write(json.dumps(words) + "\\n")
words = [
    re.sub(r"(?<=^--config.steps=).*", lambda n: str(int(n[0]) // 2500), word) for word in words
]
if words[0] == "compare" or (words[0] == "train" and "--config" in words):
    given = {{word.split("=")[0] for word in words}}
    words += [word for word in {small!r} if word.split("=")[0] not in given]
os.execv(sys.executable, [sys.executable, "-m", "arm_jax", *words])
"""
SMALL = [
    "--config.steps=4",
    "--config.batch_size=4",
    "--config.eval_every=4",
    "--config.save_every=4",
    "--config.augment.crop=32,32",
    "--config.model.name=deeplabv3plus_resnet10",
    "--config.model.output_stride=16",
    "--config.model.dtype=float32",
    "--config.model.pretrained=",
    "--config.evaluation.batch_size=4",
]


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((PAGES / f"{page}.md").read_text())


def commands(page: str) -> list[str]:
    """The commands `arm-jax ...` of a page's blocks of shell."""
    shell = "".join(code for kind, code in blocks(page) if kind == "sh")
    return re.findall(r"^arm-jax .*$", shell.replace("\\\n", " "), re.MULTILINE)


def test_every_block_of_every_page_is_of_a_kind_that_is_known():
    assert {path.stem for path in PAGES.glob("*.md")} == set(NUMBERS)
    for page, numbers in NUMBERS.items():
        kinds = [kind for kind, _ in blocks(page)]
        assert set(kinds) <= {"sh", "python", "text"}
        assert (PAGES / f"{page}.md").read_text().count("```") == 2 * len(kinds)
        assert (len(commands(page)), kinds.count("python")) == numbers, page


@pytest.mark.slow
@pytest.mark.parametrize("page", NUMBERS)
def test_a_page_runs_as_written(page, tmp_path):
    """One to two minutes each, compilation included."""
    writers = {"mine": label_kinds.labelme, "mine_coco": label_kinds.coco}
    writers |= {"mine_via": label_kinds.via, "mine_yolo": label_kinds.yolo}
    for name, write in {**writers, "pairs": label_kinds.index}.items():
        write(tmp_path / name)
    shutil.copytree(tmp_path / "pairs" / "images" / "val", tmp_path / "photographs")
    command = tmp_path / "bin" / "arm-jax"
    command.parent.mkdir()
    command.write_text(STAND_IN.format(python=sys.executable, small=SMALL))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2" if page == "devices" else "1",
    }
    python = "".join(code for kind, code in blocks(page) if kind == "python")
    shell = "".join(code for kind, code in blocks(page) if kind == "sh")
    out = ""
    for words in (["bash", "-euo", "pipefail", "-c", shell], [sys.executable, "-c", python]):
        run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        done = subprocess.run(words, timeout=1800, **run)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        out += done.stdout + done.stderr
    log = tmp_path / "commands.jsonl"
    ran = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    assert len(ran) == NUMBERS[page][0]
    CHECKS[page](tmp_path, out)


def polygons(folder, out):
    assert (folder / "sheets" / "samples_train.png").is_file()
    assert (folder / "runs" / "mine" / "report.html").is_file()
    assert (folder / "runs" / "mine" / "predictions" / "predictions.csv").is_file()
    for title in ("LabelMe JSON", "COCO JSON", "VIA JSON", "YOLO polygons"):
        assert title in out


def two_folders(folder, out):
    assert list((folder / "runs" / "pairs" / "predictions" / "confidence").glob("*.png"))
    assert (folder / "runs" / "rows" / "compare.html").is_file()
    assert (folder / "coarse" / "classes.txt").read_text().split() == list(label_kinds.NAMES)


def own_model(folder, out):
    found = {name: float(right) for name, right in re.findall(r"^(.+): ([\d.]+) % of", out, re.M)}
    assert set(found) == {"plain JAX", "Linen", "NNX"}
    assert min(found.values()) > 70, found  # a third by chance
    assert float(re.search(r"Hölder ratio ([\d.]+)", out)[1]) > 0.93


def devices(folder, out):
    assert json.loads((folder / "runs" / "two" / "eval.json").read_text())["step"] == 4


def continued(folder, out):
    run = folder / "runs" / "mine"
    assert json.loads((folder / "elsewhere" / "eval.json").read_text())["step"] in (4, 8)
    assert (run / "checkpoints" / "8").is_dir()
    assert "starts from step" in out
    assert "road" in (folder / "published" / "README.md").read_text()
    for kind in ("safetensors", "stablehlo", "onnx"):
        assert (folder / f"mine.{kind}").stat().st_size > 1e6


CHECKS = {
    "polygons": polygons,
    "two_folders": two_folders,
    "own_model": own_model,
    "devices": devices,
    "continue": continued,
}
