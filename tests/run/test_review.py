"""`--mode review` on a run, and the way back of the decisions into labels."""

import csv
import importlib.util
import json
import shlex
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reviewed_runs import NAMES, SIZE, recorded, stored

from arm_jax import settings
from arm_jax.data import scenes
from arm_jax.data.labels import STREET_SCENES
from arm_jax.review import files
from arm_jax.run import configs, inputs, review
from arm_jax.system.errors import InputError

ROOT = Path(__file__).parents[2]
CAR = STREET_SCENES.names.index("car")


@pytest.fixture(scope="module")
def apply_review():
    spec = importlib.util.spec_from_file_location("apply", ROOT / "scripts" / "apply_review.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path):
    return stored(tmp_path / "data")


@pytest.fixture
def run(tmp_path, data, monkeypatch):
    """The folder of a run whose network knows the scenes as they are, and is sure of them."""
    folder = recorded(tmp_path, data)
    clean = {}
    for split, names in (("train", NAMES), ("val", NAMES[:2])):
        for index in range(len(names)):
            image, label = scenes.generate(split, index, SIZE)
            likely = np.full((*label.shape, STREET_SCENES.number), 0.01, np.float32)
            np.put_along_axis(likely, label[..., None].astype(np.intp), 0.9, -1)
            clean[image.tobytes()] = likely

    def opened(config, folder, checkpoint="latest"):
        chosen = configs.used(folder)[0] if config is None else config
        return types.SimpleNamespace(
            folder=Path(folder),
            step=7,
            experiment=types.SimpleNamespace(config=chosen),
            probabilities=lambda image: clean[image.tobytes()],
        )

    monkeypatch.setattr(review.restore, "opened", opened)
    # Two cars that are none.
    for name, box in (("b c", (30, 40, 10, 20)), ("sub/g", (5, 15, 30, 40))):
        path = data / "labels" / "train" / f"{name}.png"
        label = np.array(Image.open(path))
        top, bottom, left, right = box
        label[top:bottom, left:right] = 100 + CAR
        Image.fromarray(label).save(path)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decide(folder: Path, word: str, which) -> Path:
    """The run's review.csv with a decision on these of its rows."""
    found = rows(folder / "review" / "review.csv")
    for number in which:
        found[number]["decision"] = word
    path = folder.parent / f"{word}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, files.COLUMNS)
        writer.writeheader()
        writer.writerows(found)
    return path


def accepted(folder: Path, given: str, pixels: int, polygon: str) -> Path:
    """Decisions that the image `a` is road in a polygon, where it was `given`."""
    cells = ["k", "a", "component", given, "road", "1", "0", str(pixels), polygon]
    path = folder / "decisions.csv"
    path.write_text(f"{','.join(files.COLUMNS)}\n{','.join(cells)},,,accept\n")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")
    }


def test_a_review_s_decisions_become_labels_beside_the_old_ones(run, data, apply_review, capsys):
    page = review.review(None, run)
    assert "in-sample scores" in page.read_text(encoding="utf-8")
    target = run / "review"
    lines = [json.loads(line) for line in (target / "review.jsonl").read_text().splitlines()]
    table = rows(target / "review.csv")
    assert [line["key"] for line in lines] == [row["key"] for row in table]
    assert sorted(row["image"] for row in rows(target / "images.csv")) == sorted(NAMES)
    # Both cars that are none come first, as what they are.
    assert {(row["image"], row["kind"], row["given"]) for row in table[:2]} == {
        (name, "component", "car") for name in ("b c", "sub/g")
    }
    first = next(n for n, row in enumerate(table) if row["image"] == "b c")
    chosen = lines[first]
    opened = json.loads((target / "labelme" / f"{chosen['image']}.json").read_text())
    beside = target / "labelme" / Path(chosen["image"]).parent / opened["imagePath"]
    assert beside.resolve() == (data / "images/train" / f"{chosen['image']}.png").resolve()
    assert len(json.loads((target / "coco.json").read_text())["annotations"]) > 0

    before = contents(data / "labels")
    accepted = decide(run, "accept", [first])
    capsys.readouterr()
    assert apply_review.main(["--workdir", str(run), "--decisions", str(accepted)]) == 0
    told = capsys.readouterr().out
    assert contents(data / "labels") == before
    after = contents(data / "labels_reviewed")
    assert sorted(after) == sorted(before)
    assert [name for name in before if after[name] != before[name]] == [
        f"train/{chosen['image']}.png"
    ]
    assert f"{chosen['pixels']} px  {chosen['given']} -> {chosen['proposed']}" in told or (
        f"{chosen['pixels']:,} pixels of 1 images changed" in told
    )
    # The override that it prints is all it takes to train on them.
    (override,) = shlex.split(told.splitlines()[-1])
    config = settings.overridden(configs.read(run), [override])
    old = inputs.training_source(settings.frozen(configs.read(run)))
    new = inputs.training_source(config)
    for index in range(len(NAMES)):
        differ = old[index]["label"] != new[index]["label"]
        assert differ.any() == (old[index]["id"] == chosen["image"])
        if differ.any():
            proposed = STREET_SCENES.names.index(chosen["proposed"])
            assert (old[index]["label"][differ] == CAR).all()
            assert (new[index]["label"][differ] == proposed).all()
            assert differ.sum() == chosen["pixels"] == 100

    # They are refused where the label is another one by now.
    path = data / "labels" / "train" / f"{chosen['image']}.png"
    path.write_bytes(before["train/a.png"])
    assert apply_review.main(["--workdir", str(run), "--decisions", str(accepted)]) == 2
    assert "was made on another label of this image" in capsys.readouterr().err
    assert not (data / "labels_reviewed_2").exists()
    path.write_bytes(before[f"train/{chosen['image']}.png"])

    # Another review leaves out what was decided.
    review.review(None, run, decisions=str(accepted))
    assert chosen["key"] not in {row["key"] for row in rows(target / "review.csv")}
    assert "1 earlier decisions are left out" in page.read_text(encoding="utf-8")


def test_corrected_labelme_files_are_taken_and_those_left_alone_are_not(
    run, data, apply_review, capsys
):
    review.review(None, run)
    folder = run / "review" / "labelme"
    arguments = ["--workdir", str(run), "--labelme", str(folder)]
    assert apply_review.main(arguments) == 2  # nothing was corrected yet
    assert "nothing was accepted or corrected" in capsys.readouterr().err
    path = next(iter(sorted(folder.rglob("*.json"))))
    stored = json.loads(path.read_text())
    stored["shapes"] = [
        {"label": "sky", "points": [[0, 0], [9, 4]], "shape_type": "rectangle", "flags": {}}
    ]
    path.write_text(json.dumps(stored, indent=2))
    review.review(None, run)  # which leaves the corrected file as it is
    assert json.loads(path.read_text())["shapes"] == stored["shapes"]
    assert apply_review.main(arguments) == 0
    name = path.relative_to(folder).with_suffix("").as_posix()
    new = np.asarray(Image.open(data / "labels_reviewed" / "train" / f"{name}.png"))
    assert (new[:5, :10] == 100 + STREET_SCENES.names.index("sky")).all()


def test_new_labels_are_not_written_over_those_that_are_read(tmp_path, data, apply_review, capsys):
    # A folder that apply_review wrote may be written by it again, but not while it is the data.
    (data / ".arm_jax.jsonl").write_text(json.dumps({"claim": apply_review.COMMAND}) + "\n")
    table = accepted(data.parent, "car", 4, "0 0 3 0 3 3")
    before = contents(data)
    arguments = [
        "--workdir",
        str(recorded(tmp_path, data)),
        "--decisions",
        str(table),
        "--out",
        str(data),
    ]
    assert apply_review.main(arguments) == 2
    assert "holds the labels that were reviewed (data.root)" in capsys.readouterr().err
    assert contents(data) == before


def test_the_split_to_evaluate_on_is_corrected_in_its_own_folder(tmp_path, data, apply_review):
    """And the other one is written as it is; so are data that have moved meanwhile."""
    folder = recorded(tmp_path, data)
    data = data.rename(tmp_path / "moved")
    table = accepted(tmp_path, "car", 16, "0 0 3 0 3 3 0 3")
    out = tmp_path / "out"
    arguments = ["--workdir", str(folder), "--decisions", str(table), "--out", str(out)]
    assert apply_review.main([*arguments, "--split", "val"]) == 2  # of the old place
    moved = f"--config.data.root={data}"
    assert apply_review.main([*arguments, "--split", "val", moved]) == 0
    for split, names in (("train", NAMES), ("val", NAMES[:2])):
        for index, name in enumerate(names):
            expected = scenes.generate(split, index, SIZE)[1].copy()
            if (split, name) == ("val", "a"):
                expected[:4, :4] = STREET_SCENES.names.index("road")
            label = np.asarray(Image.open(out / "labels" / split / f"{name}.png"))
            np.testing.assert_array_equal(label, expected)
    assert len(list((out / "images").rglob("*.png"))) == len(NAMES) + 2


def test_corrections_of_a_split_that_nobody_uses_are_not_lost(tmp_path, data, apply_review, capsys):
    folder = recorded(tmp_path, data)
    for kind in ("images", "labels"):
        shutil.copytree(data / kind / "val", data / kind / "extra")
    table = accepted(tmp_path, "car", 16, "0 0 3 0 3 3 0 3")
    arguments = ["--workdir", str(folder), "--decisions", str(table), "--split", "extra"]
    assert apply_review.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "--split=extra: a is neither trained nor evaluated on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert apply_review.main(arguments) == 0  # beside the old ones there is room for all


def test_an_image_without_a_label_gets_one(tmp_path, data, apply_review):
    (data / "labels" / "train" / "a.png").unlink()
    folder = recorded(tmp_path, data, **{"data.unlabelled": "ignore"})
    table = accepted(tmp_path, "(no label)", 16, "0 0 3 0 3 3 0 3")
    assert apply_review.main(["--workdir", str(folder), "--decisions", str(table)]) == 0
    new = np.asarray(Image.open(data / "labels_reviewed" / "train" / "a.png"))
    assert (new[:4, :4] == 100 + STREET_SCENES.names.index("road")).all()
    assert (new == 255).sum() == new.size - 16
    old = contents(data / "labels")
    assert {name: contents(data / "labels_reviewed")[name] for name in old} == old


def test_a_review_that_finds_nothing_tells_so(run, data, capsys):
    for index, name in enumerate(NAMES):
        path = data / "labels" / "train" / f"{name}.png"
        label = scenes.generate("train", index, SIZE)[1]
        Image.fromarray(np.where(label == 255, 255, label + 100).astype(np.uint8)).save(path)
    text = review.review(None, run).read_text(encoding="utf-8")
    assert "nothing to decide on: the network contradicts no label" in capsys.readouterr().out
    assert 'id="nothing">Nothing to decide on' in text
    assert rows(run / "review" / "review.csv") == []


def test_what_cannot_be_reviewed_is_refused(run, data):
    with pytest.raises(InputError, match=r"was not trained on, so review\.folds"):
        config = settings.overridden(configs.read(run), ["--config.review.folds=2"])
        review.review(config, run, split="val")
    with pytest.raises(InputError, match="there are 6 images"):
        review.review(settings.overridden(configs.read(run), ["--config.review.folds=7"]), run)
    with pytest.raises(InputError, match=r"review\.folds = 1 leaves nothing"):
        settings.overridden(configs.read(run), ["--config.review.folds=1"])
    with pytest.raises(InputError, match=r"data\.fold"):
        settings.overridden(configs.read(run), ["--config.data.fold=2,2"])
    (data.parent / "x.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="no column key"):
        review.review(None, run, decisions=str(data.parent / "x.csv"))
