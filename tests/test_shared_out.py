"""The work of several processes is, file by file, that of one."""

import re
import shutil
from pathlib import Path
from signal import SIGHUP, SIGTERM

import numpy as np
import pytest
from group import Groups, Phase
from PIL import Image

pytestmark = pytest.mark.slow

MADE = re.compile(rb"made_[0-9a-f]{8}")
TEXT = re.compile(MADE.pattern.decode())
SCENES = ["scenes", "--images", "11"]


def tasks(place: Path, images: Path) -> list[tuple[str, dict]]:
    """Every command whose work is shared, on the run in `place`."""
    run, made = str(place / "run"), str(place / "made")
    coarsen = [*SCENES, "--splits", "train,val", "--preset", "medium", "--out", made]
    own = ["folders", "--root", made, "--splits", "train,val", "--out", str(place / "sheets")]
    prepare = ["folders", "--source", made, "--data_dir", str(place / "prepared")]
    return [
        ("script", {"name": "coarsen", "arguments": coarsen}),
        ("script", {"name": "check_dataset", "arguments": own}),
        ("script", {"name": "prepare", "arguments": prepare}),
        ("evaluate", {"workdir": run}),
        ("predict", {"workdir": run, "images": str(images), "output": str(place / "predicted")}),
        ("review", {"workdir": run}),
    ]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[int, Path]:
    """The outputs, by number of processes."""
    above = tmp_path_factory.mktemp("shared")
    images = above / "images"
    images.mkdir()
    for number in range(9):
        size = (48, 32) if number % 3 else (32, 32)
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    (images / "5.png").write_bytes(b"no image")
    groups = Groups(above / "printed")
    first = Phase([("train", {"workdir": str(above / "run"), "steps": 2, "eval_every": 2})])
    ((trained,),) = groups.run(first)
    assert trained.status == 0, trained.err[-3000:]
    found = {}
    for number in (1, 2, 4):
        found[number] = above / f"of_{number}"  # as base64 never has it
        shutil.copytree(above / "run", found[number] / "run")
    phases = [Phase(tasks(place, images), number) for number, place in found.items()]
    for (number, place), group in zip(found.items(), groups.run(*phases), strict=True):
        for index, one in enumerate(group):
            assert one.status == 0, one.err[-3000:]
            (place / f"printed{index}").write_text(one.out)
            assert "1 of 9 images could not be read, first" in one.err and "5.png" in one.err
        assert len(group) == number
    return found


def files(place: Path) -> dict[str, bytes]:
    """Everything that a phase wrote, but journals; the place itself has another name.

    Prepared data are named after the times of the files that they were made of.
    """
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and not path.name.startswith(".arm_jax") and "printed" not in path.name:
            data = path.read_bytes().replace(place.name.encode(), b"PLACE")
            name = MADE.sub(b"made", path.relative_to(place).as_posix().encode()).decode()
            found[name] = MADE.sub(b"made", data)
    return found


@pytest.mark.parametrize("number", [2, 4])
def test_every_file_is_that_of_one_process(places, number):
    one, several = files(places[1]), files(places[number])
    assert one.keys() == several.keys()
    kinds = {name.split("/")[0] for name in one}
    assert kinds == {"made", "predicted", "prepared", "run", "sheets"} and len(one) > 100
    different = [name for name, data in one.items() if several[name] != data]
    assert not different


@pytest.mark.parametrize("number", [2, 4])
def test_the_first_process_prints_what_one_does_and_the_others_nothing(places, number):
    def printed(count: int, index: int) -> list[str]:
        lines = (places[count] / f"printed{index}").read_text().splitlines()
        own = [line for line in lines if not line.startswith("[Gloo]")]  # from JAX's runtime
        without_time = [re.sub(r" in \d+ s;", "", line) for line in own]
        return [TEXT.sub("", line.replace(f"of_{count}", "")) for line in without_time]

    assert len(printed(1, 0)) > 30
    assert printed(number, 0) == printed(1, 0)
    for index in range(1, number):
        assert printed(number, index) == []


def test_an_evaluation_is_left_by_all_processes_when_one_is_asked_to(places, tmp_path):
    task = ("evaluate_until_left", {"workdir": str(places[2] / "run")})
    (group,) = Groups(tmp_path).run(Phase([task], 2))
    left = [line for one in group for line in one.out.splitlines() if line.startswith("left by")]
    assert left == [f"left by signal {SIGTERM.value}", f"left by signal {SIGHUP.value}"]
