"""Every setting once: the rows are whole, and what is not valid is one line, before JAX starts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from refusals import refusal

from arm_jax import arm, consistency, optimizer, settings
from arm_jax.networks import deeplabv3plus, resnet
from arm_jax.settings.rows import SETTINGS
from arm_jax.system import errors
from arm_jax.system.errors import InputError
from arm_jax.system.values import Choice, Several
from scripts import document_settings
from tests.campaign import texts

ROOT = Path(__file__).parents[1]
DEFAULTS = settings.defaults()


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.key)
def test_a_row_is_whole(row):
    value = row.kind.valid(row.default)
    assert value == row.default and type(value) is type(row.default)
    assert row.decides in ("network", "training", "data", "scores", "nothing")
    assert row.help.endswith(".") and len(row.help) < 95 and row.kind.describe()
    text = value if isinstance(value, str) else repr(value)
    assert row.kind.parse(text) == value  # what --mode show prints can be typed again
    if isinstance(row.kind, Several):
        row.kind.parse(row.kind.example)


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.key)
def test_whatever_is_typed_is_a_value_or_one_line(row):
    accepted = 0
    for text in texts.VALUES:
        try:
            value = settings.parsed(row.key, text)
        except InputError as error:
            assert "\n" not in str(error) and 20 < len(str(error)) <= errors.LONGEST, text
            assert str(error).startswith(row.key)
        else:
            assert row.kind.valid(value) == value
            accepted += 1
    assert accepted > 0 or isinstance(row.kind, Choice), row


def test_the_defaults_come_from_the_rows_in_their_order():
    assert settings.flat(DEFAULTS) == {row.key: row.default for row in SETTINGS}
    with pytest.raises(AttributeError):
        settings.defaults().bogus = 1
    config = settings.frozen(DEFAULTS)
    assert settings.frozen(config) is config  # checked once
    assert hash(config) == hash(settings.frozen(settings.defaults()))


def test_the_choices_are_those_of_the_code():
    choices = {row.key: row.kind.names for row in SETTINGS if isinstance(row.kind, Choice)}
    assert choices["arm.input"] == (*arm.CONFIDENCES, "s")
    assert choices["arm.decay"] == optimizer.ARM_DECAYS
    strides = settings.BY_KEY["model.output_stride"].kind.only
    assert strides == tuple(deeplabv3plus.RATES)
    for stride in strides:
        resnet.stage_plan((1, 1, 1, 1), stride)
    message = refusal(resnet.stage_plan, (1, 1, 1, 1), 4)
    assert all(str(stride) in message for stride in strides)


@pytest.mark.parametrize("key", consistency.TABLES)
def test_a_name_that_no_table_has_is_refused_with_those_there_are(key):
    message = refusal(consistency.checked, DEFAULTS, {key: "nonsense"})
    assert message.startswith(f"{key} = 'nonsense'; it must be ")
    assert all(name in message for name in consistency.TABLES[key])


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("augment.crop=64,96", (64, 96)),
        ("augment.crop=(64, 96)", (64, 96)),
        ("augment.crop=[64,96]", (64, 96)),
        ("evaluation.crop=", ()),
        ("optimizer.drops=0.5", (0.5,)),
        ("data.classes=road, sky", ("road", "sky")),
        ('data.classes=("road","sky")', ("road", "sky")),
        ("data.classes=cityscapes", ("cityscapes",)),
        ("data.label_values=((0,0),(255,1))", ((0, 0), (255, 1))),
        ("arm.p=3", 3.0),
        ("augment.flip=false", False),
        ("model.pretrained=", ""),
        ("data.root=a=b", "a=b"),
    ],
)
def test_the_command_line_gives_a_value_its_one_form(argument, value):
    config = settings.overridden(DEFAULTS, [f"--config.{argument}"])
    found = settings.flat(config)[argument.partition("=")[0]]
    assert found == value and type(found) is type(value)


# A value that is not valid, and what its one line says.
REFUSED = [
    ("data.fold=(0,1)", "leaves nothing to train on; choose 2 folds or more"),
    ("data.label_values=((0,0),(0,1))", "gives the stored value 0 two meanings; keep one of them"),
    ('data.label_names=(("a","b"),("a",""))', "gives the name 'a' two meanings"),
    (
        "augment.crop=64",
        "augment.crop = 64; it must be 2 whole numbers of at least 1 (height, wi",
    ),
    ("augment.crop=64,64,32", "as in 512,1024"),
    ("augment.crop=64,0", "augment.crop = (64, 0)"),
    ("augment.crop=64,96.0", "augment.crop = (64, 96.0)"),
    ("augment.ratio=1.0", "it must be 2 numbers above 0 (smallest, largest)"),
    ("augment.ratio=2,1", "augment.ratio = (2.0, 1.0) begins with the larger number; swap"),
    ("augment.ratio=1,inf", "augment.ratio = '1,inf'"),
    (
        "data.label_values=(0,255)",
        "(stored value, class index or data.ignore), or (), as in ((0,0),",
    ),
    ("data.label_values=((0,0,0),)", "tuples of 2 whole numbers"),
    ("evaluation.size=1024,512", "evaluation.size = (1024, 512) must be (short side, long side)"),
    ("evaluation.stride=8,8", "has no effect without evaluation.crop"),
    ("optimizer.drops=0.9,0.6", "is not in order; sort it"),
    ("loss.class_weights=(0,0)", "leaves no class to train"),
    ("optimizer.kind=adam", "it must be sgd or adamw"),
    ("optimizer.schedule=linear", "it must be steps, poly or cosine"),
    ("optimizer.clip_norm=-1", "optimizer.clip_norm = -1; it must be a number of at least 0"),
    ("optimizer.final=2", "optimizer.final = 2; it must be a number from 0 to 1"),
    ("arm.lr_multiplier=automatic", "it must be auto or a number of at least 0"),
    ("loss.class_weights=even", "it must be balanced or numbers of at least 0, or ()"),
    ("loss.class_weights=1,-1", "loss.class_weights = (1, -1)"),
    ("loss.balance=0", "loss.balance = 0; it must be a number above 0 and of at most 1"),
    ("patience=-1", "patience = -1; it must be a whole number of at least 0"),
    ("arm.p=nan", "arm.p = 'nan'; it must be a number of at least 1"),
    ("arm.p=1e999", "arm.p = inf"),
    ("arm.p=1e39", "arm.p: 1e+39 is beyond what 32 bits hold, 3.4e+38"),
    ("data.channels=0", "data.channels = ('0',) holds no number of bands from 1 to 512"),
    ("arm.isolated=-0.1", "arm.isolated = -0.1; it must be a number from 0 to 1"),
    ("batch_size=True", "batch_size = True; it must be a whole number of at least 1"),
    ("batch_size=2.0", "batch_size = 2.0"),
    ("batch_size=-4", "batch_size = -4"),
    ("augment.flip=2", "augment.flip = 2; it must be True or False"),
    ("model.output_stride=4", "model.output_stride = 4; it must be 8, 16 or 32"),
    ("model.dtype=float64", "it must be float32, bfloat16 or float16"),
    ("arm.pp=3", "--config.arm.pp: the config has no such key; did you mean arm.p?"),
    ("arm=3", "--config.arm: the config has no such key"),
    ("data.root=a\nb", "data.root = 'a\\nb'; it must be a line of text"),
]


@pytest.mark.parametrize(("argument", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_not_valid_is_one_line_with_the_key_the_value_and_what_to_do(argument, message):
    assert message in refusal(settings.overridden, DEFAULTS, [f"--config.{argument}"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", True),
        ("steps", 2.0),
        ("steps", "10"),
        ("arm.p", False),
        ("arm.p", float("nan")),
        ("augment.crop", 64),
        ("augment.crop", "64,64"),
        ("augment.crop", ()),
        ("augment.flip", 1),
        ("data.classes", "road"),
        ("data.label_values", (0, 255)),
        ("model.name", None),
    ],
)
def test_a_file_is_checked_as_the_command_line_is(key, value):
    assert refusal(settings.frozen, DEFAULTS, {key: value}).startswith(f"{key} = {value!r}; it mu")


def test_lists_and_numbers_of_numpy_get_the_one_form():
    changes = {"augment.crop": [np.int64(8), 9], "arm.p": np.float32(3), "steps": np.int32(7)}
    config = settings.frozen(DEFAULTS, changes)
    assert config.augment.crop == (8, 9) and type(config.augment.crop[0]) is int
    assert (type(config.arm.p), type(config.steps)) == (float, int)


def test_a_tuple_given_twice_must_be_the_same_and_a_number_counts_as_given_last():
    twice = ["--config.augment.crop=64,64", "--config.augment.crop=(64, 64)"]
    assert settings.overridden(DEFAULTS, twice).augment.crop == (64, 64)
    message = refusal(settings.overridden, DEFAULTS, [*twice, "--config.augment.crop=32,32"])
    assert message.startswith("--config.augment.crop is given twice, as (64, 64) and as (32, 32)")
    assert settings.overridden(DEFAULTS, ["--config.steps=3", "--config.steps=4"]).steps == 4


def test_a_config_without_a_key_or_with_another_is_refused():
    values = settings.flat(DEFAULTS)
    del values["arm.p"]
    assert "the config has no arm.p; begin it with base.get_config()" in refusal(
        settings.frozen, values
    )
    assert "arm.pp: the config has no such key" in refusal(settings.frozen, values | {"arm.pp": 1})


def test_the_command_line_answers_before_jax_is_imported(tmp_path):
    """Every refusal by the program itself: status 2, one line, nothing written, no JAX."""
    code = (
        "import sys; from arm_jax import main\n"
        "for argument in sys.stdin.read().split('\\0'):\n"
        "    sys.argv = ['main', '--config=configs/demo.py:smoke', '--workdir=run', argument]\n"
        "    try:\n"
        "        main.flags.FLAGS.unparse_flags(); main.console()\n"
        "    except SystemExit as error:\n"
        "        assert error.code == 2, argument\n"
        "assert 'jax' not in sys.modules\n"
    )
    arguments = [f"--config.{argument}" for argument, _ in REFUSED]
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="\0".join(arguments),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(REFUSED)
    for line, (_, message) in zip(lines, REFUSED, strict=True):
        assert line.startswith("arm_jax: ") and message in line
    assert not (tmp_path / "run").exists()


def test_the_document_of_the_settings_is_current():
    """`python scripts/document_settings.py` writes it."""
    assert document_settings.FILE.read_text() == document_settings.text()


def test_a_setting_may_be_a_word_or_a_number():
    config = settings.defaults()
    config.arm.lr_multiplier = "auto"  # in a file of one's own too
    config.loss.class_weights = [1, 2]
    found = settings.overridden(config, [])
    assert (found.arm.lr_multiplier, found.loss.class_weights) == ("auto", (1.0, 2.0))
    given = ["--config.arm.lr_multiplier=3", "--config.loss.class_weights=balanced"]
    found = settings.overridden(config, given)
    assert (found.arm.lr_multiplier, found.loss.class_weights) == (3.0, "balanced")


def test_an_optimiser_without_forgetting_is_refused():
    adamw = ["--config.optimizer.kind=adamw"]
    for key in ("momentum", "beta2"):
        with pytest.raises(InputError, match=f"optimizer.{key} = 1.0 remembers nothing but"):
            settings.overridden(settings.defaults(), [*adamw, f"--config.optimizer.{key}=1"])
