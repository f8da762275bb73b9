"""The configs: the paper's values, locked keys, rows, and a smoke run for each."""

import importlib
from pathlib import Path

import pytest

from arm_jax import consistency, settings
from arm_jax import experiment as experiments
from arm_jax.data.labels import CITYSCAPES, STREET_SCENES
from arm_jax.system.errors import InputError
from configs import base

NAMES = sorted(path.stem for path in (Path(__file__).parent.parent / "configs").glob("*.py"))


def load(name: str, argument: str | None = None):
    return importlib.import_module(f"configs.{name}").get_config(argument)


def test_the_promised_configs_are_there():
    promised = "base demo street_scenes cityscapes_coarse ade20k camvid_coarse custom mixed"
    assert set(promised.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_is_valid_locked_and_answers_smoke(name):
    config = load(name)
    consistency.checked(config)
    with pytest.raises(AttributeError):
        config.bogus = 1
    smoke = load(name, "smoke")
    consistency.checked(smoke)
    assert smoke.steps == 2 and smoke.data.dataset == "scenes"
    assert smoke.model.pretrained == ""
    assert load(name, "base").arm.kind == "none"
    with pytest.raises(ValueError, match="no row 'nonsense'"):
        load(name, "nonsense")


@pytest.mark.parametrize("name", NAMES)
def test_every_config_has_every_row(name):
    plain = settings.flat(consistency.checked(load(name)))
    for row, changes in base.ROWS.items():
        if (name, row) == ("mixed", "ohem"):  # which has no use for unlabelled images
            with pytest.raises(InputError, match="chooses pixels itself"):
                consistency.checked(load(name, row))
            continue
        changed = settings.flat(consistency.checked(load(name, row)))
        assert {key: changed[key] for key in changes} == changes
        assert {k for k in plain if changed[k] != plain[k]} <= set(changes), row


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("lineer", "no row 'lineer' in this config; did you mean linear\\? there are base, arm"),
        ("linear,kl", "row 'linear' has no effect before 'kl', which changes arm.kind as well"),
        ("norm1,tta,norm3", "row 'norm1' has no effect before 'norm3'"),
    ],
)
def test_rows_that_are_unknown_or_undone_by_others_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        load("demo", rows)


def test_rows_that_leave_something_of_each_other_are_combined():
    assert load("demo", "recipe,arm").targets.edge_weight == 8.0
    assert load("demo", "norm1,smoke").arm.p == 1.0
    assert load("demo", "resnet50,smoke").steps == 2


def test_the_rows_that_drop_labels_are_the_recipe_s():
    corrects = {row: load("demo", row).targets.correct for row in base.ROWS}
    assert {row for row, how in corrects.items() if how == "drop"} == {
        "recipe",
        "recipe_linear",
        "recipe_arm",
    }
    assert corrects["recipe_class"] == "class" and corrects["completed"] == "none"


TEACHER = {"targets.average": 0.05, "loss.kind": "gce"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets.correct": "drop"}, r"targets\.correct = 'drop' asks a teacher; set"),
        ({"targets.complete": "class"}, r"targets\.complete = 'class' asks a teacher; set"),
        ({"targets.near_rule": "contradictions"}, r"near_rule = 'contradictions' is about a teach"),
        ({"targets.adjust": 0.15}, r"adjust = 0\.15 is about a teacher.*adjust = 0\.0"),
        ({"targets.renew": 0.2}, r"renew = 0\.2 is about a teacher"),
        (
            {"evaluation.weights": "teacher"},
            r"evaluation\.weights = 'teacher', but the run keeps no",
        ),
        (
            {**TEACHER, "targets.correct": "soft"},
            r"targets\.correct = 'soft' is a distribution.*targets\.correct = 'drop' or 'class'",
        ),
        (
            {**TEACHER, "targets.complete": "soft"},
            r"targets\.complete = 'soft' is a distribution.*targets\.complete = 'class'",
        ),
        (
            {**TEACHER, "targets.near_rule": "contradictions", "targets.near": 0.0},
            r"targets\.near = 0 leaves none",
        ),
    ],
)
def test_targets_that_cannot_be_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        consistency.checked(load("demo", "base"), changes)


def test_cityscapes_coarse_is_section_4_2():
    config = load("cityscapes_coarse")
    assert (config.steps, config.batch_size) == (40_000, 16)
    assert tuple(config.augment.crop) == (512, 1024)
    assert config.model.name == "deeplabv3plus_resnet101"
    assert config.model.auxiliary_weight == 0.4
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.weight_decay) == (0.02, 1e-4)
    assert (optimizer.warmup, tuple(optimizer.drops)) == (0.05, (0.6, 0.9))
    assert (config.arm.kind, config.arm.input, config.arm.p) == ("learned", "var", 2)
    assert (config.arm.isolated, config.arm.lr_multiplier, config.arm.detach) == (0.05, 1, True)
    assert (config.data.train_labels, config.data.eval_labels) == ("coarse", "fine")


def test_the_other_benchmarks_differ_as_the_paper_says():
    assert load("cityscapes_fine").data.train_labels == "fine"
    ade20k = load("ade20k")
    assert ade20k.steps == 160_000 and tuple(ade20k.augment.crop) == (512, 512)
    assert ade20k.model.name == "deeplabv3plus_resnest101"


@pytest.mark.parametrize(
    ("name", "row", "source"),
    [
        ("cityscapes_coarse", None, "hf://timm/resnet101c.gluon_in1k"),
        ("cityscapes_coarse", "arm,resnet50", "hf://timm/resnet50c.gluon_in1k"),
        ("cityscapes_fine", "ocr", "hf://timm/resnet101c.gluon_in1k"),
        ("cityscapes_coarse_extension", None, "hf://timm/resnet101c.gluon_in1k"),
        ("ade20k", "arm", "hf://timm/resnest101e.in1k"),
        ("camvid_coarse", None, "hf://timm/resnet50c.gluon_in1k"),
        ("custom", None, "hf://timm/resnet50c.gluon_in1k"),
        ("demo", None, ""),
        ("street_scenes", "resnet101", ""),
    ],
)
def test_runs_on_photographs_start_from_imagenet(name, row, source):
    classes = STREET_SCENES if name == "demo" else CITYSCAPES  # the demo has weights of its own
    experiment = experiments.build(load(name, row), classes)
    assert experiment.pretrained_source() == source
