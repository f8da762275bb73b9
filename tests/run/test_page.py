"""The page of a run, from whatever its folder holds: nothing damaged or missing stops it."""

import json
import shutil

import numpy as np
import pytest
import tiny

from arm_jax import consistency, theorem
from arm_jax import experiment as experiments
from arm_jax.data.labels import STREET_SCENES
from arm_jax.run import folder as run_folder
from arm_jax.run import inputs, page
from arm_jax.system import sharding
from arm_jax.training.records import EvaluationLine, StepLine
from configs import base


@pytest.fixture(scope="module")
def device():
    return sharding.one_device()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, device):
    """An untrained run of a tiny network on three scenes, evaluated at step 2."""
    config = base.get_config("smoke")
    config.update_from_flattened_dict({"data.size": (32, 64), "data.eval_images": 4})
    folder = tmp_path_factory.mktemp("run") / "a 'run'"
    with pytest.MonkeyPatch.context() as patch:
        tiny.shrink(patch)
        experiment = experiments.build(config, STREET_SCENES)
        players = experiment.create_players()
    players.eval()
    run_folder.open_folder(folder, experiment.config)
    run_folder.write_classes(folder, STREET_SCENES, 7)
    lines = [StepLine(2, 2.0, 2.0, 2.0, 0.5, 0, 0.02, 0.9, 1.1), EvaluationLine(2, 3.0, 9.0, 30.0)]
    log = "".join(json.dumps(line._asdict()) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(log)
    source = inputs.evaluation_source(experiment.config, STREET_SCENES)
    result = experiment.evaluate(players, source, device)
    experiment.write_report(folder, result, step=2)
    return page.Trained(folder, experiment, players, theorem.empty(), 2), result


@pytest.fixture
def run(evaluated, tmp_path):
    """A copy of it that a test may damage."""
    whole, _ = evaluated
    folder = shutil.copytree(whole.folder, tmp_path / whole.folder.name)
    return page.Trained(folder, whole.experiment, whole.players, whole.histogram, whole.step)


def test_the_best_and_the_worst_images_are_shown_with_their_own_figures(
    evaluated, run, device, open_page
):
    _, result = evaluated
    found = open_page(page.Page(run, device).write(run.folder))
    assert found.title() == "a 'run'"
    assert found.locator(".note").count() == 0
    order = np.argsort(-result.by_image.mIoU, kind="stable")
    captions = found.locator("#images figcaption").all_text_contents()
    first = f"{result.by_image.names[order[0]]}mIoU {result.by_image.mIoU[order[0]]:.2f} %"
    assert captions[0].startswith(first)
    assert captions[-1].startswith(result.by_image.names[order[-1]])
    assert f"{result.scores.mIoU:.2f} %" in found.locator(".numbers").text_content()
    assert "7 images of scenes train" in found.locator("#run").text_content()
    assert "steps" in found.locator("#settings").text_content()


def test_what_is_damaged_or_missing_becomes_a_note(run, device):
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write("{broken\nnull\n" + '{"step": 3, "other": 1}\n')
    (run.folder / "confusion.csv").write_bytes(b"\xff\xfe")
    (run.folder / "versions.jsonl").unlink()
    (run.folder / "classes.json").unlink()
    drawing = page.Page(run, device)
    assert len(drawing.notes) == 2
    assert "confusion.csv cannot be read" in drawing.notes[0]
    assert drawing.notes[1].startswith("2 line(s) of metrics.jsonl")
    text = drawing.write(run.folder).read_text()
    assert "Images of the split" in text and "not recorded" in text


def test_scores_of_another_step_are_not_shown_as_those_of_this_one(run, device):
    other = page.Trained(run.folder, run.experiment, run.players, run.histogram, 1)
    drawing = page.Page(other, device)
    assert drawing.evaluated is None and "is of step 2, not of this step 1" in drawing.notes[0]


def test_a_run_whose_images_are_gone_still_has_its_page(run, device):
    gone = {"dataset": "folders", "root": "/nowhere", "classes": STREET_SCENES.names}
    changes = {f"data.{key}": value for key, value in gone.items()}
    config = consistency.checked(run.experiment.config, changes)
    moved = experiments.build(config, STREET_SCENES)
    drawing = page.Page(
        page.Trained(run.folder, moved, run.players, run.histogram, run.step), device
    )
    assert drawing.notes[0].startswith("No images: /nowhere")
    assert drawing.spread() == []
    assert 'id="images"' not in drawing.write(run.folder).read_text()


def test_a_page_goes_to_another_folder_where_the_run_cannot_be_written(run, device, tmp_path):
    before = {p.name: p.read_bytes() for p in run.folder.iterdir() if p.is_file()}
    path = page.Page(run, device).write(tmp_path / "elsewhere")
    assert path == tmp_path / "elsewhere" / "report.html" and path.stat().st_size > 10_000
    assert before == {p.name: p.read_bytes() for p in run.folder.iterdir() if p.is_file()}


@pytest.mark.parametrize("number", range(1, 12))
def test_no_image_is_ranked_twice(number):
    groups = page.ranked(np.arange(number, dtype=float))
    indices = [index for _, several in groups for index in several]
    assert len(set(indices)) == len(indices) <= 9
    assert groups[0][1][0] == number - 1 and min(indices) == 0
