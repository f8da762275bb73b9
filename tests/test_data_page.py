"""The commands of docs/data.md for one's own data run as written."""

import re
import shlex
import sys
from pathlib import Path

import label_kinds
import pytest

from arm_jax import settings
from arm_jax.data.formats import FORMATS
from arm_jax.data.formats.keys import READERS
from arm_jax.run import inputs, refusals
from arm_jax.system import config_files
from scripts import check_dataset, coarsen, prepare

TEXT = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
SCRIPTS = {"check_dataset": check_dataset, "coarsen": coarsen, "prepare": prepare}


def commands(heading):
    """The indented lines below a heading, each as a list of words."""
    part = TEXT.split(f"### {heading}\n")[1].split("\n#")[0]
    return [shlex.split(line) for line in re.findall(r"^    (python .*)$", part, re.MULTILINE)]


@pytest.mark.parametrize(
    ("heading", "kind", "number"),
    [("My two folders", label_kinds.index, 4), ("My polygons", label_kinds.labelme, 3)],
)
def test_the_commands_for_ones_own_data_run(heading, kind, number, tmp_path, monkeypatch, capsys):
    kind(tmp_path / "ROOT")
    found = commands(heading)
    assert len(found) == number
    for words in found:
        places = ("ROOT_coarse", "ROOT", "DIR", "runs")
        words = [re.sub(rf"\b({'|'.join(places)})\b", rf"{tmp_path}/\1", word) for word in words]
        if words[1] == "-m":
            assert words[2:4] == ["arm_jax.main", "--config"]
            overrides = [word for word in words if word.startswith("--config.")]
            config = settings.overridden(config_files.load(words[4]), overrides)
            refusals.check("train", config, words[6])
            assert inputs.training_source(config).classes.names == label_kinds.NAMES
            continue
        script = SCRIPTS[Path(words[1]).stem]
        monkeypatch.setattr(sys, "argv", words[1:])
        assert script.main() == 0, capsys.readouterr().err
    for name in ("mine_sheets/samples_val.png", "polygons_sheets/samples_val.png"):
        assert (tmp_path / "runs" / name).is_file() == name.startswith(
            ("mine", "poly")[number == 3]
        )


def test_the_page_has_every_format_and_class_file():
    rows = TEXT.split("### What is recognised\n")[1].split("\n## ")[0]
    for entry in FORMATS.values():
        assert f"| {entry.title}" in rows, entry.title
    for name in READERS:
        assert f"`{name}`" in rows or name.startswith("config_v"), name
