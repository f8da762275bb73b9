"""Runs of folds: no image is judged by a network that has learnt its label."""

import types

import jax.numpy as jnp
import pytest
import tiny
from reviewed_runs import NAMES, recorded, stored

from arm_jax import experiment as experiments
from arm_jax import settings
from arm_jax.run import configs, folds, inputs, relabel, restore, review
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system.errors import InputError
from configs import base


@pytest.fixture
def data(tmp_path):
    return stored(tmp_path / "data")


@pytest.fixture
def network(tmp_path, data, monkeypatch):
    """The folder of a run with a tiny network as it was initialised."""
    tiny.shrink(monkeypatch)
    folder = recorded(tmp_path, data)
    config = settings.frozen(configs.read(folder))
    experiment = experiments.build(config, run_folder.read_classes(folder))
    _, state = experiment.create_state()
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, state.replace(step=jnp.int32(1)), {"records": 1})
    checkpoints.close()
    return folder


@pytest.mark.slow
def test_every_image_is_judged_by_a_network_that_has_not_seen_its_label(
    network, capsys, monkeypatch
):
    judged = {}
    look = review._look

    def recorded(opened, source, indices):
        for index in indices:
            judged[index] = opened.experiment.config.data.fold
        yield from look(opened, source, indices)

    monkeypatch.setattr(review, "_look", recorded)
    overrides = ["--config.review.folds=2", "--config.review.fold_steps=1"]
    config = settings.overridden(configs.read(network), overrides)
    page = review.review(config, network)
    assert judged == {n: (n % 2, 2) for n in range(len(NAMES))}
    assert "out-of-fold scores" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().out.count("--- without fold") == 2
    first = (network / "review" / "review.csv").read_bytes()
    review.review(config, network)  # which trains nothing again
    assert "--- without fold" not in capsys.readouterr().out
    assert (network / "review" / "review.csv").read_bytes() == first

    # The same runs judge for --mode relabel.
    judges = {}
    probabilities = restore.Run.probabilities

    def noted(judge, image):
        judges[image.tobytes()] = judge.experiment.config.data.fold
        return probabilities(judge, image)

    monkeypatch.setattr(restore.Run, "probabilities", noted)
    target = relabel.relabel(config, network)
    assert "--- without fold" not in capsys.readouterr().out
    source = inputs.labelled_as_training(settings.frozen(config), "train")
    assert [judges[source[n]["image"].tobytes()] for n in range(6)] == [(0, 2), (1, 2)] * 3
    assert "one of 2 networks that was not trained" in (target / "changes.html").read_text()


def test_folds_that_were_trained_on_other_images_judge_nothing(tmp_path, monkeypatch):
    """By its number modulo 3 an image would be judged by a network that has learnt its label."""
    changes = {"review.folds": 3, "data.train_images": 7}
    config = settings.frozen(base.get_config("smoke"), changes)
    run = types.SimpleNamespace(experiment=types.SimpleNamespace(config=config), folder=tmp_path)
    monkeypatch.setattr(folds.grid, "run", lambda cell: types.SimpleNamespace(diverged=""))
    monkeypatch.setattr(folds.restore, "load", lambda folder: folder.name)
    for fold, number in (("1", 4), ("2", 5), ("3", 5)):
        (tmp_path / "folds/3" / fold).mkdir(parents=True)
        (tmp_path / "folds/3" / fold / "classes.json").write_text(f'{{"images": {number}}}')
    assert list(folds.trained(run)) == ["1", "2", "3"]
    (tmp_path / "folds/3/2/classes.json").write_text('{"images": 6}')
    with pytest.raises(InputError, match=r"folds/3/2 was trained on 6 images.* 5 by now; remove"):
        list(folds.trained(run))
    monkeypatch.setattr(folds.records, "named", lambda source, number: (f"other {number}", ""))
    with pytest.raises(InputError, match=r"folds/3 was trained on images of other names"):
        list(folds.trained(run))


def test_a_fold_is_left_out_of_training(data):
    flat = {**settings.flat(base.get_config("smoke")), "data.dataset": "scenes"}
    every = inputs.training_source(settings.frozen(base.get_config(), flat))
    flat |= {"data.fold": (1, 3)}
    rest = inputs.training_source(settings.frozen(base.get_config(), flat))
    ids = [every[n]["id"] for n in range(len(every))]
    assert [rest[n]["id"] for n in range(len(rest))] == [x for n, x in enumerate(ids) if n % 3 != 1]
