"""Weights & Biases and MLflow, by stand-ins that record what they are told."""

import io
import json
import sys
import threading
import types

import numpy as np
import pytest
from PIL import Image

from arm_jax import settings
from arm_jax.data.labels import Classes
from arm_jax.evaluation import metrics
from arm_jax.run import folder as run_folder
from arm_jax.run import refusals, trackers, tracking
from arm_jax.system.errors import InputError
from arm_jax.training.records import EvaluationLine, StepLine
from configs import base

WORDS = {"seed": 0, "data.root": "x"}


def png(value=7):
    file = io.BytesIO()
    Image.fromarray(np.full((2, 3, 3), value, np.uint8)).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def wandb(monkeypatch):
    """The package, as far as it is used; `told` lists what it was told, `fails` what raises."""
    told, fails = [], {}

    def answer(name, value=None):
        def method(*arguments, **options):
            if name in fails:
                raise fails[name]
            told.append((name, arguments, options))
            return value

        return method

    run = types.SimpleNamespace(**{n: answer(n) for n in ("log", "define_metric", "finish")})
    module = types.SimpleNamespace(
        init=answer("init", run),
        Settings=lambda **options: options,
        Image=lambda image: ("image", image.size),
        __spec__=object(),
        told=told,
        fails=fails,
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


@pytest.fixture
def mlflow(monkeypatch):
    """As `wandb`; the client of a server that knows no experiment."""
    told = []

    class Client:
        def __getattr__(self, name):
            def method(*arguments, **options):
                told.append((name, arguments, options))
                info = types.SimpleNamespace(run_id="run7")
                return {
                    "create_experiment": "3",
                    "create_run": types.SimpleNamespace(info=info),
                }.get(name)

            return method

    module = types.ModuleType("mlflow")
    module.get_tracking_uri = lambda: "http://here"
    module.told = told
    entities = types.ModuleType("mlflow.entities")
    entities.Metric = lambda *values: values
    entities.Param = lambda *values: values
    inner = types.ModuleType("mlflow.tracking")
    inner.MlflowClient = Client
    for name, one in (("mlflow", module), ("mlflow.entities", entities)):
        monkeypatch.setitem(sys.modules, name, one)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", inner)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    return module


def log_something(name, folder, finished=True):
    (tracker,) = trackers.started([name], folder, WORDS)
    tracker.write(3, {"train/loss": 0.5, "eval/IoU/traffic_light (red)": 2.0})
    tracker.show(3, {"arm/weight_and_loss": png()})
    tracker.close(finished)


@pytest.fixture
def folder(tmp_path):
    run_folder.claim(tmp_path)
    return tmp_path


def test_wandb_gets_values_and_images_in_one_run(wandb, folder):
    log_something("wandb", folder)
    (_, _, options), *told = wandb.told
    name = json.loads((folder / "trackers.json").read_text())["wandb"]
    chosen = options.pop("settings")
    assert options == {
        "project": "arm_jax",
        "name": folder.name,
        "id": name,
        "resume": "allow",
        "dir": str(folder),
        "config": WORDS,
    }
    assert chosen["console"] == "off"
    values = {"train/loss": 0.5, "eval/IoU/traffic_light (red)": 2.0, "step": 3}
    assert told == [
        ("define_metric", ("step",), {"hidden": True}),
        ("define_metric", ("*",), {"step_metric": "step"}),
        ("log", (values,), {}),
        ("log", ({"arm/weight_and_loss": ("image", (3, 2)), "step": 3},), {}),
        ("finish", (), {"exit_code": 0}),
    ]
    # The next start goes on in the same run.
    wandb.told.clear()
    log_something("wandb", folder, finished=False)
    assert wandb.told[0][2]["id"] == name
    assert wandb.told[-1] == ("finish", (), {"exit_code": 1})


def test_mlflow_gets_values_and_images_in_one_run(mlflow, folder):
    log_something("mlflow", folder)
    (found, made, run, parameters, values, image, end) = mlflow.told
    assert found == ("get_experiment_by_name", ("mine",), {})
    assert made == ("create_experiment", ("mine",), {})
    assert run == ("create_run", ("3",), {"run_name": folder.name})
    assert parameters[1:] == (("run7",), {"params": [("seed", "0"), ("data.root", "x")]})
    points = [(name, value, step) for name, value, _, step in values[2]["metrics"]]
    # Its names have no brackets.
    assert points == [("train/loss", 0.5, 3), ("eval/IoU/traffic_light _red_", 2.0, 3)]
    assert image[0] == "log_image" and image[2] == {"key": "arm/weight_and_loss", "step": 3}
    assert end == ("set_terminated", ("run7", "FINISHED"), {})

    mlflow.told.clear()
    log_something("mlflow", folder, finished=False)
    assert mlflow.told[0] == ("update_run", ("run7",), {"status": "RUNNING"})
    assert mlflow.told[-1] == ("set_terminated", ("run7", "KILLED"), {})
    # At another server there is no such run.
    mlflow.told.clear()
    mlflow.get_tracking_uri = lambda: "http://there"
    log_something("mlflow", folder)
    assert "create_run" in [name for name, _, _ in mlflow.told]


@pytest.mark.parametrize("moment", ["init", "log", "finish"])
def test_a_service_that_fails_ends_with_one_line(wandb, folder, capsys, moment):
    wandb.fails[moment] = RuntimeError("api_key not configured\nand more")
    log_something("wandb", folder)
    told = capsys.readouterr().out
    assert told == "wandb: api_key not configured; the run goes on without it\n"


def test_a_service_that_does_not_answer_holds_up_nothing(wandb, folder, capsys, monkeypatch):
    monkeypatch.setattr(trackers, "CLOSING", 0.05)
    released = threading.Event()
    monkeypatch.setattr(wandb, "init", lambda **_: released.wait(10))
    log_something("wandb", folder)
    released.set()
    told = capsys.readouterr().out
    assert told.startswith("wandb: has not taken everything within") and told.count("\n") == 1


def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch):
    config = base.get_config("smoke")
    config.tracker = "mlflow"
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match=r"tracker = 'mlflow' needs .* 'arm_jax\[mlflow\]'"):
        refusals.check("train", settings.frozen(config), "runs/none")


def test_every_value_that_is_logged_has_a_group():
    fields = {*StepLine._fields, *EvaluationLine._fields} - {"step"}
    rates = {"images_per_second", "waiting_percent", "seconds_left"}
    assert set(tracking.GROUPS) == fields | rates
    assert all(name.count("/") == 1 for name in tracking.GROUPS.values())


def test_classes_without_an_iou_are_left_out():
    classes = Classes(("a", "b", "c"), ((0, 0, 0),) * 3)
    scores = metrics.scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert tracking.by_class(scores, classes) == {"eval/IoU/a": 75.0, "eval/IoU/b": 80.0}
