"""The loop, end to end on scenes drawn while training, with a network small enough to compile."""

import json
import os
import signal
import time
from pathlib import Path

import events
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from arm_jax import consistency, modes, networks
from arm_jax import experiment as experiments
from arm_jax.data import check
from arm_jax.data.labels import STREET_SCENES
from arm_jax.evaluation import by_image, calibration, metrics
from arm_jax.evaluation import evaluate as evaluation
from arm_jax.run import folder as run_folder
from arm_jax.run import grid, loop, restore
from arm_jax.run.checkpoint_files import read_miou
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.run.progress import Progress
from arm_jax.system import sharding
from arm_jax.system.errors import Diverged, InputError, Stopped
from arm_jax.weights import export
from configs import base, mixed

pytestmark = pytest.mark.usefixtures("tiny_network")


def config(**overrides):
    result = base.get_config("smoke")
    result.update_from_flattened_dict(
        {
            "steps": 6,
            "data.size": (32, 64),
            "data.eval_images": 3,
            "augment.crop": (32, 32),
            "log_every": 2,
            "eval_every": 3,
            "save_every": 2,
            **overrides,
        }
    )
    return result


def test_a_step_that_does_not_fit_the_memory_names_the_settings_that_help(tmp_path, monkeypatch):
    def compiled(*arguments, **options):
        def step(state, batch):
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."
            )

        return step

    monkeypatch.setattr(loop, "compile_step", compiled)
    words = (
        r"^step 1 needs more memory .* one of accumulate \(1 now\), model.remat \(False now\),"
        r" batch_size \(8 now\), augment.crop \(\(32, 32\) now\), model.name"
    )
    with pytest.raises(InputError, match=words):
        loop.train(config(), tmp_path / "run", mesh=sharding.one_device())


def parameters(settings, folder):
    experiment = experiments.build(settings, STREET_SCENES)
    checkpoints = Checkpoints(folder, read_only=True)
    _, like = experiment.abstract_state(sharding.one_device())
    state, position = checkpoints.restore(checkpoints.find("latest"), like)
    return [np.asarray(x) for x in experiments.jax.tree.leaves(state)], position


def killed_in(method, number, step):
    """`method`, in which this process sends itself a signal; of steps, in that one."""

    def wrapped(self, *arguments):
        if arguments[0] == step or not isinstance(arguments[0], int):
            os.kill(os.getpid(), number)
            time.sleep(0.01)
        return method(self, *arguments)

    return wrapped


def test_a_stopped_run_continues_bit_identically(tmp_path, monkeypatch, capsys):
    # Images for TensorBoard change nothing else.
    whole = loop.train(config(log_images=True), tmp_path / "whole", mesh=sharding.one_device())
    drawn = events.drawn(tmp_path / "whole")
    assert {3, 6} == drawn["eval/contact_sheet"] == drawn["arm/weight_and_loss"]
    assert drawn["eval/IoU/road"] <= {3, 6} == drawn["eval/mIoU"]
    assert drawn["train/loss"] == drawn["arm/holder_ratio"] == {2, 4, 6}
    # Between two steps; then in the middle of the evaluation of step 3, which is made anew.
    for owner, name, step, number in (
        (Progress, "after_step", 2, signal.SIGINT),
        (experiments.Experiment, "evaluate", 3, signal.SIGTERM),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed_in(getattr(owner, name), number, step))
            message = f"{number.name}: saved at step {step} of 6"
            with pytest.raises(Stopped, match=message) as caught:
                loop.train(config(), tmp_path / "broken", mesh=sharding.one_device())
        assert caught.value.status == 128 + number
        assert Checkpoints(tmp_path / "broken", read_only=True).latest_step() == step
    continued = loop.train(config(), tmp_path / "broken", mesh=sharding.one_device())

    (expected, place), (found, place_found) = (
        parameters(config(), tmp_path / name) for name in ("whole", "broken")
    )
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert place == place_found
    np.testing.assert_array_equal(whole.matrix, continued.matrix)
    records = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("whole", "broken")]
    assert records[0] == records[1]
    steps = [json.loads(line)["step"] for line in records[0].splitlines()]
    assert steps == [2, 3, 4, 6, 6]  # log lines, and evaluations at 3 and 6

    assert read_miou(tmp_path / "broken" / "checkpoints" / "3") == read_miou(
        tmp_path / "whole" / "checkpoints" / "3"
    )

    # What a finished run leaves, and what can be done with it.
    report = json.loads((tmp_path / "whole" / "eval.json").read_text())
    assert report["images"] == 3 and report["step"] == 6
    assert report["mIoU"] == pytest.approx(whole.scores.mIoU)
    assert "ARM" in (tmp_path / "whole" / "parameters.txt").read_text().upper()
    page = tmp_path / "whole" / "report.html"
    assert f"{whole.scores.mIoU:.2f}" in page.read_text()
    page.unlink()
    again = modes.evaluate(config(), tmp_path / "whole", "latest")
    np.testing.assert_array_equal(again.matrix, whole.matrix)
    modes.show(again, tmp_path / "whole")
    assert capsys.readouterr().out.splitlines()[-1] == f"report       {page}"
    modes.closing(tmp_path / "whole")
    best, curves, after = capsys.readouterr().out.splitlines()
    scored = {step: read_miou(tmp_path / "whole" / "checkpoints" / f"{step}") for step in (3, 6)}
    step = max(scored, key=lambda step: (scored[step], step))
    path = tmp_path / "whole" / "checkpoints" / f"{step}"
    assert best == f"best         step {step}, mIoU {scored[step]:.2f}: {path}"
    assert curves == f"curves       tensorboard --logdir {tmp_path / 'whole'}"
    assert after.endswith(f"--workdir {tmp_path / 'whole'} --checkpoint best --input IMAGES")
    assert page.exists()
    modes.report(None, tmp_path / "whole", "latest", str(tmp_path / "elsewhere"))
    drawn = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "drew " in line]
    names = ("report.html", "contact_sheet.png", "confusion.png", "reliability.png")
    names = (*names, "weight_and_loss.png", "training.png")
    assert drawn == [str(tmp_path / "elsewhere" / name) for name in names]
    assert all(Path(path).stat().st_size > 5000 for path in drawn)
    finished = loop.train(config(), tmp_path / "whole", mesh=sharding.one_device())
    np.testing.assert_array_equal(finished.matrix, whole.matrix)


def test_a_run_starts_from_its_weight_file_and_continues_without_it(tmp_path, monkeypatch):
    settings = config(**{"model.pretrained": str(tmp_path / "start.safetensors")})
    # Refused before a label is looked at, with both ways out.
    with monkeypatch.context() as patch:
        patch.delattr(check, "check")
        with pytest.raises(InputError) as caught:
            loop.train(settings, tmp_path / "run", mesh=sharding.one_device())
    for part in ("start.safetensors: no such file", "pretrained=FILE", "from scratch by --config"):
        assert part in str(caught.value)

    experiment = experiments.build(settings, STREET_SCENES)
    start = networks.create(
        settings.model.name, STREET_SCENES.number, output_stride=16, rngs=nnx.Rngs(5)
    )
    written = export.save_safetensors(start, tmp_path / "start.safetensors")
    _, state = experiment.create_state(experiment.fetch_pretrained())
    kernel = state.params["segmenter"]["head"]["classifier"]["kernel"][...]
    np.testing.assert_array_equal(kernel, written["head.classifier.kernel"])

    checkpoints = Checkpoints(tmp_path / "run")
    finished = state.replace(step=jnp.int32(settings.steps))
    checkpoints.save(settings.steps, finished, {"examples": 0, "records": 16})
    checkpoints.close()
    (tmp_path / "start.safetensors").unlink()
    result = loop.train(settings, tmp_path / "run", mesh=sharding.one_device())
    assert result.images == 3


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_checkpoint(tmp_path):
    settings = config(**{"optimizer.learning_rate": 1e30, "optimizer.warmup": 0.0})
    with pytest.raises(Diverged, match=r"step \d: .*not finite.* Last checkpoint: none"):
        loop.train(settings, tmp_path, mesh=sharding.one_device())


def test_another_config_cannot_continue_a_run(tmp_path):
    run_folder.open_folder(tmp_path, consistency.checked(config()))
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    with pytest.raises(InputError, match=r"arm\.p: 2\.0 there, 3\.0 now"):
        loop.train(config(**{"arm.p": 3.0}), tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("arm.kind", "lerned", "arm.kind = 'lerned'; it must be learned, linear"),
        ("model.dtype", "float64", "model.dtype = 'float64'"),
        ("steps", 0, "steps = 0; it must be a whole number of at least 1"),
        ("arm.isolated", 1.5, "arm.isolated = 1.5; it must be a number from 0 to 1"),
        ("arm.p", 0.5, "arm.p = 0.5"),
        ("model.name", "unet", "model.name = 'unet'; it must be deeplabv3plus_resnet10, "),
        ("batch_size", 12, "batch_size = 12"),
        ("data.dataset", "imagenet", "data.dataset = 'imagenet'; it must be folders, "),
        ("arm.input", "s", "arm.input = 's' is what the KL loss predicts"),
        ("loss.kind", "ohem", "loss.kind = 'ohem' chooses pixels itself"),
        (
            "evaluation.tta",
            "tta",
            "evaluation.tta = 'tta'; it must be none, ocr or mmsegmentation",
        ),
    ],
)
def test_values_out_of_range_are_refused_before_anything_is_written(tmp_path, key, value, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")) as caught:
        loop.train(config(**{key: value}), tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sources",
    [
        pytest.param((), id="one", marks=pytest.mark.long),
        pytest.param(mixed.SMOKE["data.sources"], id="mixed"),
    ],
)
def test_a_stopped_run_keeps_its_teacher(tmp_path, monkeypatch, sources):
    settings = {
        "data.sources": sources,
        "targets.average": 0.5,
        "targets.correct": "posterior",
        "targets.complete": "posterior",
        "targets.complete_above": 0.1,
        "targets.edge_weight": 4.0,
        "targets.start": 0.2,
        "targets.start_rule": "agreement",
        "arm.match_loss": True,
        "evaluation.weights": "teacher",
    }
    whole = loop.train(config(**settings), tmp_path / "whole", mesh=sharding.one_device())
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "after_step", killed_in(Progress.after_step, signal.SIGINT, 2))
        with pytest.raises(Stopped):
            loop.train(config(**settings), tmp_path / "broken", mesh=sharding.one_device())
    continued = loop.train(config(**settings), tmp_path / "broken", mesh=sharding.one_device())
    (expected, _), (found, _) = (
        parameters(config(**settings), tmp_path / name) for name in ("whole", "broken")
    )
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(whole.matrix, continued.matrix)
    # What is evaluated, and restored, is the teacher.
    run = restore.load(tmp_path / "whole")
    classifier = run.state.beliefs.teacher.params["head"]["classifier"]["kernel"]
    np.testing.assert_array_equal(run.model.head.classifier.kernel[...], classifier[...])
    other = run.state.params["segmenter"]["head"]["classifier"]["kernel"]
    assert np.abs(classifier[...] - other[...]).max() > 0


@pytest.mark.slow
def test_patience_ends_a_run_and_a_continued_one_at_the_same_step(tmp_path, monkeypatch, capsys):
    """Of six steps, evaluated one by one, the fourth is the second without a better mIoU."""
    found = iter(())

    def evaluate(self, players, source, mesh, leave):
        number = next(found)
        if number == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        matrix = np.array([[number, 100 - number], [0, 100]])
        matrix = np.pad(matrix, ((0, self.classes.number - 2),) * 2)
        nothing = calibration.Calibration(np.zeros((2, calibration.BINS * calibration.NARROW), int))
        none = by_image.ByImage((), np.zeros(0), np.zeros(0))
        scores = metrics.scores(matrix)
        return evaluation.Result(scores, matrix, 3, none, 0.0, self.protocol, nothing)

    monkeypatch.setattr(experiments.Experiment, "evaluate", evaluate)
    settings = config(eval_every=1, patience=2)
    found = iter((50, 70, 60, 65))
    loop.train(settings, tmp_path / "whole", mesh=sharding.one_device())
    line = "stops at step 4 of 6: 2 evaluations without a better mIoU than"
    assert line in capsys.readouterr().out

    found = iter((50, 70, "SIGTERM"))
    with pytest.raises(Stopped, match="saved at step 3"):
        loop.train(settings, tmp_path / "broken", mesh=sharding.one_device())
    found = iter((60, 65))
    loop.train(settings, tmp_path / "broken", mesh=sharding.one_device())
    assert line in capsys.readouterr().out
    for name in ("metrics.jsonl", "eval.json"):
        whole, broken = ((tmp_path / folder / name).read_text() for folder in ("whole", "broken"))
        assert whole == broken
    assert json.loads(broken)["step"] == 4
    assert Checkpoints(tmp_path / "whole", read_only=True).find("best") == 2

    # It has ended: no more steps, only the scores again.
    monkeypatch.setattr(loop, "compile_step", lambda *_: None)
    found = iter((65,))
    loop.train(settings, tmp_path / "whole", mesh=sharding.one_device())
    cell = grid.Cell("row", 0, settings, tmp_path / "whole")
    assert grid.is_complete(cell)
    settings.patience = 0
    assert not grid.is_complete(cell)
