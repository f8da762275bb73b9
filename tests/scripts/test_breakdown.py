"""scripts/experiments/breakdown.py and scripts/low_confidence.py, on runs of a tiny network."""

import json
import math
from pathlib import Path

import bands
import breakdown
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from arm_jax import experiment as experiments
from arm_jax import theorem
from arm_jax.data.labels import STREET_SCENES
from arm_jax.evaluation import inference
from arm_jax.run import configs, loop
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import sharding
from scripts import compare, low_confidence

CONFIG = str(Path(__file__).parents[2] / "configs" / "base.py")

OVERRIDES = [
    "--config.steps=4",
    "--config.data.size=(32, 64)",
    "--config.data.eval_images=3",
    "--config.augment.crop=(32, 32)",
    "--config.eval_every=4",
    "--config.arm.lr_multiplier=15.0",
]


@pytest.mark.parametrize("script", [compare, breakdown])
def test_unknown_arguments_are_refused(script, tmp_path, capsys):
    arguments = [f"{CONFIG}:smoke", f"--workdir={tmp_path}"]
    for more in ("--config", "--stepz=3", "--seeds=a,b"):
        with pytest.raises(SystemExit):
            script.main([*arguments, more])
        assert more.split("=")[0] in capsys.readouterr().err


def rows(*names):
    return [f"{CONFIG}:smoke,{name}" for name in names]


@pytest.fixture(scope="module")
def sweep(tiny_network, tmp_path_factory):
    """A sweep over two shares of wrong labels, of networks that were saved untrained.

    Their histogram has confident pixels lose twice as much as unsure ones, and weights to match,
    but only with wrong labels; without, half as much.
    """

    def untrained(config, folder, mesh=None):
        experiment = experiments.build(config, STREET_SCENES)
        run_folder.open_folder(folder, config)
        run_folder.write_classes(folder, experiment.classes)
        _, state = experiment.create_state()
        confident = jnp.where(
            theorem.bin_centers(64) > 0.6, 2.0 if config.data.wrong_share else 0.5, 1
        )
        state = state.replace(
            histogram=theorem.Histogram(jnp.ones(64), confident, confident),
            step=jnp.int32(config.steps),
        )
        checkpoints = Checkpoints(folder)
        checkpoints.save(config.steps, state, {"examples": 0, "records": 1})
        checkpoints.close()
        scores = {"eval_mIoU": 30.0 - 10 * config.data.wrong_share, "eval_mAcc": 0, "eval_aAcc": 0}
        (folder / "metrics.jsonl").write_text(json.dumps({"step": config.steps} | scores) + "\n")

    folder = tmp_path_factory.mktemp("sweep")
    arguments = [f"{CONFIG}:smoke,arm", "--flips=60,0", f"--workdir={folder}", *OVERRIDES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", untrained)
        assert breakdown.main(arguments) == 0
    return folder, arguments


@pytest.mark.slow
def test_breakdown_measures_every_run(sweep):
    folder, _ = sweep
    report = json.loads((folder / "breakdown.json").read_text())
    assert [(run["row"], run["flip"], run["seed"]) for run in report["runs"]] == [
        ("smoke,arm", 0.0, 0),
        ("smoke,arm", 60.0, 0),
    ]
    clean, noisy = report["runs"]
    # Flipping whole components changes no outline: all of the new mistakes are wrong classes.
    assert clean["wrong"] < 0.2 < 0.3 < noisy["wrong"]
    assert (clean["band_weight_ratio"], noisy["band_weight_ratio"]) == (0.5, 2.0)
    assert (clean["band_loss_ratio"], noisy["band_loss_ratio"]) == (0.5, 2.0)
    # Nothing is confident without training, and nan is not written: it is no JSON.
    assert clean["wrong_confident"] is None
    for run in (clean, noisy):
        cell = folder / "smoke+arm" / f"flip_{run['flip']:g}" / "seed_0"
        settings = configs.read(cell)
        assert settings["data.wrong_share"] == run["flip"] / 100
        assert settings["data.coarsen"] == "medium"
        # The histogram is flat over the bins: the mean of W is that of its curve.
        assert len(run["curve"]) == bands.CURVE
        assert np.mean(run["curve"]) == pytest.approx(1, abs=0.01)
        step = 2 / (bands.CURVE - 1)
        slope = np.interp(0.9375, np.linspace(-1, 1, bands.CURVE), np.gradient(run["curve"]))
        assert run["slope_confident"] == pytest.approx(slope / step, rel=0.01)
    text = (folder / "breakdown.md").read_text()
    assert text.startswith("|  | flipped components: | 0 % | 60 % |\n")
    assert "| weight, confident / unsure | smoke,arm | 0.50 | 2.00 |\n" in text
    assert "wrong among confident" not in text  # of which there are none
    assert "mIoU is 30.00 % at 0 % of flipped components and 24.00 % at 60 %." in text
    assert "this multiple of the weight of unsure ones: 0.50 at 0 %, 2.00 at 60 %." in text
    assert "it suppresses them at 0 %; focuses on them at 60 %." in text and "--flips=60,0" in text
    with Image.open(folder / "breakdown.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_breakdown_does_not_train_twice(sweep, monkeypatch):
    folder, arguments = sweep
    before = json.loads((folder / "breakdown.json").read_text())
    monkeypatch.setattr(loop, "train", None)
    assert breakdown.main(arguments) == 0
    assert json.loads((folder / "breakdown.json").read_text()) == before


@pytest.mark.slow
def test_grids_train_for_real(tiny_network, tmp_path):
    """Both scripts, without anything made up but the size of the network."""
    one_device = sharding.one_device()
    common = [*OVERRIDES, "--seeds=0"]
    assert (
        compare.main([*rows("base", "arm"), f"--workdir={tmp_path / 'c'}", *common], one_device)
        == 0
    )
    arguments = [*rows("arm"), "--flips=60", f"--workdir={tmp_path / 'b'}", *common]
    assert breakdown.main(arguments, one_device) == 0
    table = json.loads((tmp_path / "c" / "table.json").read_text())["rows"]
    for row, cell in zip(table, ("smoke+base", "smoke+arm"), strict=True):
        report = json.loads((tmp_path / "c" / cell / "seed_0" / "eval.json").read_text())
        assert row["mIoU"] == [report["mIoU"], None]
    assert table[0]["holder_ratio"] == [None, None] and table[1]["holder_ratio"][0] > 0.9
    assert table[1]["gain"][0] == pytest.approx(table[1]["mIoU"][0] - table[0]["mIoU"][0])
    (run,) = json.loads((tmp_path / "b" / "breakdown.json").read_text())["runs"]
    assert run["wrong"] > 0.3 and len(run["curve"]) == bands.CURVE


def test_band_ratio_is_of_means_not_of_sums():
    v = np.asarray(theorem.bin_centers(64))
    pixels = np.where(v > 0.875, 100.0, 1.0)
    histogram = theorem.Histogram(pixels, pixels * (2.0 - v), pixels * np.where(v > 0.8, 3, 2))
    assert bands.band_ratio(histogram, histogram.weight) == pytest.approx(1.5)
    expected = (2 - 0.9375) / (2 - 0.1875)  # the means of 2 - v over the two intervals
    assert bands.band_ratio(histogram, histogram.loss) == pytest.approx(expected)
    empty = histogram._replace(pixels=np.where(v > 0.875, 0.0, pixels))
    assert math.isnan(bands.band_ratio(empty, empty.weight))


def test_the_verdict_follows_from_the_numbers():
    def verdict(weights, losses):
        return breakdown.verdict(
            [
                {
                    "flip": flip,
                    "band_weight_ratio": (weight, math.nan),
                    "band_loss_ratio": (loss, math.nan),
                }
                for flip, weight, loss in zip((0, 3, 10), weights, losses, strict=True)
            ]
        )

    assert verdict([0.1, 0.95, 1.3], [0.1, 1.2, 2.0]) == (
        "That is, it suppresses them at 0 %; weighs both alike at 3 %; focuses on them at 10 %. The"
        " mean loss of confident pixels, which W follows by the theorem, is above that of unsure"
        " ones at 3 %, 10 %."
    )
    always = verdict([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert always.startswith("That is, it suppresses them at 0 %, 3 %, 10 %. ")
    assert always.endswith("at none of these shares.")


@pytest.mark.slow
def test_low_confidence_paints_a_checkpoint(sweep, tmp_path, capsys, monkeypatch):
    run = sweep[0] / "smoke+arm" / "flip_0" / "seed_0"
    flags = [f"--config={CONFIG}:smoke,arm", f"--workdir={run}", "--config.data.coarsen=medium"]
    arguments = [*flags, *OVERRIDES, f"--output={tmp_path / 'out'}"]

    def sure_of_red(model, image):
        """In place of an untrained network, which is sure of nothing."""
        return np.pad(image[..., :1] / 16.0, ((0, 0), (0, 0), (0, model.num_classes - 1)))

    monkeypatch.setattr(inference, "class_scores", sure_of_red)
    assert low_confidence.main([*arguments, "--images=2", "--threshold=-0.2"]) == 0
    printed = capsys.readouterr().out
    assert "of the pixels of 2 images have v < -0.2" in printed and "of a class boundary" in printed
    painted = sorted((tmp_path / "out" / "painted").iterdir())
    assert [path.name for path in painted] == ["val_000000.png", "val_000002.png"]
    intensity = np.asarray(Image.open(tmp_path / "out" / "intensity" / "val_000000.png"))
    green = (np.asarray(Image.open(painted[0])) == low_confidence.GREEN).all(-1)
    assert green.shape == intensity.shape[:2] == (32, 64)
    # v = -0.2 is 0.6 of the way to white; painted exactly where the map is brighter.
    assert 0 < green.mean() < 1
    assert intensity[green].min() >= 152 and intensity[~green].max() <= 154

    # A folder instead; what was written beside the images is not read.
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((32, 64, 3), 90, np.uint8)).save(tmp_path / "in" / "grey.jpg")
    inside = [*arguments[:-1], f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'in' / 'out'}"]
    assert low_confidence.main(inside) == 0
    assert low_confidence.main(inside) == 0
    assert [path.name for path in (tmp_path / "in" / "out" / "painted").iterdir()] == ["grey.png"]
    assert "boundary" not in capsys.readouterr().out

    # Without a threshold, the least sure tenth of the pixels.
    assert low_confidence.main([*arguments[:-1], f"--output={tmp_path / 'tenth'}"]) == 0
    printed = capsys.readouterr().out
    painted = [np.asarray(Image.open(path)) for path in (tmp_path / "tenth" / "painted").iterdir()]
    assert len(painted) == 3  # all that there are
    green = (np.stack(painted) == low_confidence.GREEN).all(-1).mean()
    assert 0.05 < green <= 0.1 and f"{100 * green:.2f} % of the pixels of 3 images" in printed


def test_low_confidence_needs_a_run(tmp_path, capsys):
    flags = [f"--config={CONFIG}:smoke", f"--workdir={tmp_path / 'none'}"]
    assert low_confidence.main(flags) == 2
    assert "give --workdir the folder of a trained run" in capsys.readouterr().err
    assert low_confidence.main([*flags, "--images=0"]) == 2
    assert "--images = 0" in capsys.readouterr().err
