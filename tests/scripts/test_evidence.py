"""The evidence: Student's t by its tables, verdicts, figures, and a grid that goes on."""

import json
import math
import re
import shutil
from pathlib import Path

import claims
import evidence
import evidence_tables
import jax.numpy as jnp
import measure
import numpy as np
import pairs
import pytest
import screen
import screen_data
import tiny
from claims import Claim, Runs
from flax import nnx

from arm_jax import networks
from arm_jax.data.labels import STREET_SCENES
from arm_jax.evaluation import evaluate
from arm_jax.evaluation.protocol import Protocol
from arm_jax.reporting import intervals
from arm_jax.run import inputs, restore
from arm_jax.system import locks, sharding
from arm_jax.system.errors import InputError
from arm_jax.weights import export
from configs import base

RESULTS = Path(evidence.__file__).with_name("results")
DOCS = Path(evidence.__file__).parents[2] / "docs" / "experiments.md"


def test_a_difference_is_paired_by_seed():
    found = pairs.difference({0: 3.0, 1: 5.0, 2: 4.0, 7: 99.0}, {2: 2.0, 1: 4.0, 0: 0.0, 8: -9.0})
    # 3, 1, 2: mean 2, deviation 1, t = 2 sqrt(3).
    assert (found.number, found.mean) == (3, 2.0)
    assert found.half == pytest.approx(4.303 / math.sqrt(3), abs=1e-2)
    assert found.p == pytest.approx(0.0742, abs=1e-3) and found.sign == 0
    assert math.isnan(pairs.difference({0: 1.0}, {0: 0.0}).half)
    assert pairs.difference({0: 1.0}, {1: 0.0}).number == 0


def test_the_seeds_that_it_takes_decide_and_one_less_does_not():
    found = pairs.difference({0: 3.0, 1: 1.0, 2: 2.0, 3: -1.0}, dict.fromkeys(range(4), 0.0))
    needed, spread = pairs.seeds_needed(found), np.std([3, 1, 2, -1], ddof=1)
    for number, decided in ((needed, True), (needed - 1, False)):
        half = intervals.quantile(number - 1) * spread / math.sqrt(number)
        assert (half < found.mean) == decided
    assert pairs.seeds_needed(pairs.difference({0: 1.0, 1: -1.0}, {0: 0.0, 1: 0.0})) is None


def test_the_share_of_a_gap_needs_a_gap():
    base, fine = {0: 40.0, 1: 41.0, 2: 42.0}, {0: 50.0, 1: 51.5, 2: 51.5}
    assert pairs.share_of_gap({0: 45.0, 1: 46.0, 2: 47.0}, base, fine) == pytest.approx(0.5)
    assert math.isnan(pairs.share_of_gap({0: 45.0, 1: 46.0}, base, {0: 50.0, 1: 30.0}))


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ([43.0, 44.0, 45.1], "shown"),
        ([37.0, 38.0, 39.1], "refuted here"),
        ([39.0, 43.0, 42.5], r"not decidable with 3 seeds \(about \d+ would take it\)"),
        ([41.0], "not decidable with 1 seed"),
        ([], ""),
    ],
)
def test_verdicts(ours, words):
    claim, other = Claim(1, "row", "base", "helps"), Runs({0: 40.0, 1: 41.0, 2: 42.0}, 0)
    found = claims.verdict(claim, Runs(dict(enumerate(ours)), 0), other)
    assert re.fullmatch(words, found)


def test_a_claim_of_failure_is_shown_by_divergence_or_collapse():
    claim, other = Claim(1, "row", "base", "collapses", True), Runs({0: 40.0, 1: 41.0}, 0)
    assert claims.verdict(claim, Runs({0: 39.0}, 1), other) == "shown"
    assert claims.verdict(claim, Runs({0: 3.0, 1: 19.0}, 0), other) == "shown"
    assert claims.verdict(claim, Runs({0: 3.0, 1: 21.0}, 0), other) == "refuted here"
    assert {row for one in claims.CLAIMS for row in (one.row, one.other)} <= set(base.ROWS)


def test_the_calibration_error_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 8, 8, 5)).astype(np.float32) * 3
    labels = rng.integers(0, 5, (2, 2, 8, 8)).astype(np.uint8)
    labels[:, :, :2] = 255
    matrices, bins = measure.counts(jnp.asarray(scores), jnp.asarray(labels), 5)
    likelihoods = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    found, right, error = likelihoods.max(-1), likelihoods.argmax(-1) == labels[:, 0], 0.0
    valid = labels[:, 0] < 5
    for number in range(measure.BINS):
        low, high = number / measure.BINS, (number + 1) / measure.BINS
        inside = valid & (found >= low) & (found < high)
        if inside.any():
            gap = abs(found[inside].mean() - right[inside].mean())
            error += inside.sum() / valid.sum() * gap
    assert measure.calibration_error(np.asarray(bins)) == pytest.approx(100 * error, rel=1e-4)
    assert matrices.shape == (2, 5, 5) and int(matrices[0].sum()) == valid.sum()


@pytest.mark.slow
def test_figures_are_those_of_an_evaluation():
    config = base.get_config("smoke")
    changes = {"data.size": (32, 64), "data.eval_images": 3, "evaluation.size": (16, 32)}
    config.update_from_flattened_dict(changes)
    frozen = evidence.settings.frozen(config)
    source = inputs.evaluation_source(frozen, STREET_SCENES)
    model = networks.create(
        "deeplabv3plus_resnet18",
        STREET_SCENES.number,
        output_stride=16,
        rngs=nnx.Rngs(0),
        **tiny.SIZES,
    )
    found = measure.figures(model, source, frozen)
    expected = evaluate.evaluate(
        model, source, batch_size=2, protocol=Protocol(size=(16, 32)), boundary_width=measure.BAND
    )
    assert expected.boundary is not None
    assert found.mIoU == pytest.approx(expected.scores.mIoU, abs=0.05)
    assert found.aAcc == pytest.approx(expected.scores.aAcc, abs=0.1)
    assert found.band == pytest.approx(expected.boundary.mIoU, abs=0.05)


def command(folder, *others):
    overrides = ["--config.data.root=", "--config.steps=4"]
    return ["configs/base.py", "--workdir", str(folder), *others, *overrides]


def test_what_is_in_the_results_is_not_made_again(tmp_path, monkeypatch, capsys):
    made = []

    def run(planned, mesh=None):
        made.append(planned.key)
        kind, row, seed = planned.key
        if len(made) == 3:
            raise InputError("the disk is full")
        miou = {"hard": 40.0, "fine": 50.0}[kind] + (row == "arm") + 0.1 * seed
        result = {"kind": kind, "row": row, "seed": seed, "steps": 4, "diverged": ""}
        result["settings"] = planned.settings
        figures = {"mIoU": miou, "band": 1.0, "mAcc": 2.0, "aAcc": 3.0, "ece": 4.0}
        return result | figures | {"devices": ["cpu"], "days": ["2026-01-02"]}

    monkeypatch.setattr(evidence, "made", run)
    options = ("--kinds", "hard,fine", "--rows", "base;arm", "--seeds", "0,1")
    assert evidence.main(command(tmp_path, *options)) == 2
    assert evidence.main(command(tmp_path, *options)) == 0
    assert len(made) == 9 and len(set(made)) == 8
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    text = (tmp_path / "table.md").read_text()
    assert "| hard | `arm` | 2 | 41.05 ± 0.07 | +1.00 ± 0.00 (n 2) | 0.000 | 10 % |" in text
    assert "ARM helps (71.94, 70.33) | +1.00 ± 0.00 (n 2) | 0.000 | shown |" in text
    assert evidence.main(command(tmp_path, *options, "--table")) == 0 and len(made) == 9
    assert evidence.main(command(tmp_path, "--kinds", "coarse")) == 2
    # An earlier file is gone on with.
    known, result = tmp_path / "results.jsonl", ("--known", str(tmp_path / "results.jsonl"))
    more = ("--kinds", "hard,fine", "--rows", "base;arm", "--seeds", "0,1,2")
    assert evidence.main(command(tmp_path / "more", *more, *result)) == 0 and len(made) == 13
    both = [known.read_text(), (tmp_path / "more" / "results.jsonl").read_text()]
    assert both[1].startswith(both[0]) and len(both[1].splitlines()) == 12
    capsys.readouterr()
    longer = [*command(tmp_path / "new", *result), "--config.steps=5"]
    assert evidence.main(longer) == 2
    assert "has runs of evidence.py base.py on folders with 4 steps" in capsys.readouterr().err
    faster = [*command(tmp_path / "new", *more, *result), "--config.optimizer.learning_rate=0.5"]
    assert evidence.main(faster) == 2
    assert "has base on hard labels, seed 0, of other settings" in capsys.readouterr().err
    elsewhere = [*command(tmp_path / "new", *more, *result), "--config.model.pretrained=/x.pth"]
    assert evidence.main([*elsewhere, "--table"]) == 0
    shutil.rmtree(tmp_path / "new")
    assert evidence.main(command(tmp_path / "new", "--known", "none.jsonl")) == 2
    assert "--known none.jsonl is no file" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    # A run that another process makes is left to it.
    with locks.held(tmp_path / "hard" / "base", name=".seed_7.lock"):
        alone = ("--kinds", "hard", "--rows", "base", "--seeds", "7")
        assert evidence.main(command(tmp_path, *alone)) == 0 and len(made) == 13
    assert "left to another process" in capsys.readouterr().out
    # Runs of another bench are not taken for its own.
    assert screen.main(command(tmp_path, "--kinds", "hard")) == 2
    assert "has runs of evidence.py base.py on folders with 4 steps" in capsys.readouterr().err
    assert screen.main(command(tmp_path / "new", "--kinds", "hard")) == 2
    assert "model.feature_cache = False" in capsys.readouterr().err


@pytest.mark.parametrize("bench", sorted(RESULTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_tables_of_the_docs_are_those_of_the_results(bench):
    results = list(evidence.read(bench).values())
    assert len({(one["bench"], one["steps"]) for one in results}) == 1
    assert evidence_tables.rows_table(of_rows(results)) in DOCS.read_text()


def of_rows(results):
    """Without the rows that are there for the claims alone."""
    own = set(claims.ROWS) - set(evidence.ROWS)
    return [one for one in results if one["row"] not in own]


def test_the_claims_of_the_docs_are_those_of_the_results():
    results = list(evidence.read(RESULTS / "screen.jsonl").values())
    assert evidence_tables.claims_table(results, "cityscapes") in DOCS.read_text()


BENCH = """
from arm_jax.configs import base


def get_config(argument=None):
    config = base.get_config("smoke")
    config.data.size = (32, 64)
    config.augment.crop = (32, 32)
    config.augment.ratio = (1.0, 1.0)
    config.augment.jitter = False
    config.evaluation.size = (32, 64)
    config.model.freeze = ("stem", "stage1", "stage2", "stage3")
    config.model.feature_cache = True
    return base.apply_rows(config, argument)
"""


def bench(folder, kind, row):
    """The command line of a small one, for one kind of labels, base and a row."""
    start = networks.create(
        "deeplabv3plus_resnet18",
        STREET_SCENES.number,
        output_stride=16,
        rngs=nnx.Rngs(5),
    )
    export.save_safetensors(start, folder / "start.safetensors")
    (folder / "bench.py").write_text(BENCH)
    return [
        str(folder / "bench.py"),
        *("--workdir", str(folder / "runs"), "--kinds", kind, "--rows", row),
        *("--seeds", "0", f"--config.model.pretrained={folder / 'start.safetensors'}"),
        f"--config.model.feature_folder={folder / 'features'}",
    ]


@pytest.mark.long
def test_runs_of_a_head_are_trained_measured_and_not_made_twice(tmp_path, monkeypatch, capsys):
    tiny.shrink(monkeypatch)
    arguments = bench(tmp_path, "hard", "recipe_arm")
    mesh = sharding.one_device()
    assert evidence.main(arguments, mesh) == 0
    lines = (tmp_path / "runs" / "results.jsonl").read_text()
    found = [json.loads(line) for line in lines.splitlines()]
    made = [("hard", "base"), ("hard", "recipe_arm")]
    assert [(one["kind"], one["row"]) for one in found] == made
    assert all(0 < one["mIoU"] < 100 and 0 <= one["ece"] <= 100 for one in found)
    assert "| hard | `base` | 1 |" in capsys.readouterr().out

    # Kept features give the figures of the images.
    run = restore.load(tmp_path / "runs" / "hard" / "base" / "seed_0")
    config = evidence.settings.frozen(run.experiment.config, {"model.feature_cache": False})
    source = inputs.evaluation_source(config, run.classes)
    by_images = measure.figures(run.model, source, config)
    by_features = measure.figures(run.model, source, run.experiment.config)
    assert by_features.aAcc == pytest.approx(by_images.aAcc, abs=0.3)

    (tmp_path / "runs" / "table.md").unlink()
    monkeypatch.delattr(evidence, "made")
    assert evidence.main([*arguments, "--config.log_every=1"], mesh) == 0
    assert (tmp_path / "runs" / "table.md").exists()


@pytest.mark.long
def test_the_screen_learns_from_single_pixels_and_makes_nothing_twice(tmp_path, monkeypatch):
    tiny.shrink(monkeypatch)
    monkeypatch.setattr(screen_data, "WIDTHS", (4, 4))
    arguments = [*bench(tmp_path, "fine", "recipe_arm"), "--config.optimizer.kind=adamw"]
    assert screen.main([*arguments, "--config.steps=60"]) == 0
    lines = (tmp_path / "runs" / "results.jsonl").read_text().splitlines()
    base_row, recipe = (json.loads(line) for line in lines)
    assert (base_row["row"], base_row["steps"]) == ("base", 60) and "holder_ratio" not in base_row
    # All pixels as the commonest class would be right in fewer.
    source = inputs.evaluation_source(
        evidence.settings.frozen(base.get_config("smoke")), STREET_SCENES
    )
    counts = sum(np.bincount(source[i]["label"].ravel(), minlength=256)[:11] for i in range(8))
    commonest = 100 * counts.max() / counts.sum()
    assert base_row["aAcc"] > commonest + 2 and recipe["aAcc"] > commonest + 2
    assert 0.9 < recipe["holder_ratio"] <= 1 and not recipe["diverged"]
    monkeypatch.delattr(screen.Bench, "made")
    with pytest.raises(AttributeError):
        screen.main([*arguments, "--config.steps=60", "--seeds", "1"])
