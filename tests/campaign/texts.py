"""Values, arguments and programs that somebody might type, or that somebody means ill with."""

import random
import zipfile
from pathlib import Path

from arm_jax import settings

# Entries of a place that a mistyped argument may make beside the usual ones.
ALSO = ("runs",)
VALUES = (
    "", " ", "0", "-1", "1", "2", "255", "256", "1e9", "1e400", "nan", "inf", "-inf", "0.5", "true",
    "None", "()", "(1,)", "(1,2)", "(1,2,3)", "((0,0),(1,1))", "((0,0),)", "(((", "[1, 2", "{}",
    "'a'", '"a', "a,b", "a,,b", "a,a", ",", "road", "road,building", "train", "val", "../..", "/",
    "/etc/passwd", "/dev/null", "~", "~nobody/x", "\n", "a\nb", "é", "\u202e", "x" * 5000,
    "__import__('os')", "1_000", "0x10", "9" * 400, "*", "%s", "{0}", "\\", "-", "--", "gs://a/b",
    "http://127.0.0.1:9/x", "imagenet", "hf://a/b", "scenes", "camvid", "ocr", "tiny", "latest",
)  # fmt: skip
LINES = (
    "raise ValueError('no')", "raise SystemExit(3)", "exit()", "import nowhere", "1 / 0",
    "    return None", "    return 3", "    config.steps = 'many'", "    config.nothing = 1",
    "    del config.model", "    config.model = 3", "    config.data = None", "def (", "\tpass",
    "    raise KeyboardInterrupt", "    config.unlock(); config.new = 1", "import os; os._exit",
    "    config.steps = -1", "    config.augment.crop = 64", "    config.lock = 3", "print('a')",
    "    config = {}", "    raise RecursionError", "    return get_config()", "class A: pass",
    "    raise MemoryError", "    config.batch_size = None", "    config.arm.p = float('nan')",
)  # fmt: skip


def value(rng: random.Random) -> str:
    """What may stand behind an equals sign."""
    text = rng.choice(VALUES)
    if rng.random() < 0.15:
        text = f"({text},{rng.choice(VALUES)})"
    return text.replace("\0", "")


def override(rng: random.Random) -> str:
    """`--config.KEY=VALUE`, of a real key or one that is nearly so."""
    # A folder for compiled programs is made wherever it is asked for.
    keys = set(settings.flat(settings.defaults())) - {"compilation_cache"}
    key = rng.choice(sorted(keys))
    if rng.random() < 0.1:
        place = rng.randrange(len(key))
        key = key[:place] + rng.choice(("", "x", ".", "_", " ")) + key[place + 1 :]
    return f"--config.{key}={value(rng)}"


def flags(line: list[str], rng: random.Random, given: Path) -> list[str]:
    """A command line with one argument changed, left out, doubled or added."""
    changed = list(line)
    first = 2 if line[0] == "-m" else 1
    index = rng.randrange(first, len(line))
    way = rng.randrange(5)
    name = line[index].partition("=")[0]
    # An output by a strange name would lie outside of the place, as asked for.
    fixed = ("--workdir", "--out", "--output", "--data_dir")
    if way == 0 and name not in fixed:
        changed[index] = f"{name}={value(rng)}"
    elif way == 1 and name not in fixed:
        del changed[index]
    elif way == 2:
        changed.insert(index, line[index])
    elif way == 3:
        changed.append(rng.choice(MORE))
    else:
        changed.append(f"--{rng.choice(('checkpoint', 'mode', 'input', 'seed'))}={value(rng)}")
    return changed


MORE = (
    "stray", "--", "--nothing", "--nothing=1", "-x", "--mode=evaluate", "--mode=trian",
    "--checkpoint=9999", "--checkpoint=best", "--checkpoint=-1", "--checkpoint=../8",
    "--coordinator=host", "--coordinator=auto", "--coordinator=127.0.0.1:notaport", "--processes=2",
    "--processes=0", "--process=1", "--process=-1", "--coordinator=:", "--input=/dev/null",
    "--input=/nowhere", "--input=", "--output=", "--images=-1", "--images=x", "--seed=x",
    "--wrong_share=2", "--wrong_share=nan", "--preset=no", "--workers=-1", "--size", "--dtype=no",
    "--names=no", "--version=maybe", "--verbosity=x", "--config.steps", "--config.", "--config.=1",
)  # fmt: skip


def changed_program(text: str, rng: random.Random) -> str:
    """A program with a line changed, left out, doubled, moved or added."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(lines))
        way = rng.randrange(6)
        if way == 0:
            del lines[place]
        elif way == 1:
            lines.insert(place, lines[place])
        elif way == 2:
            lines.insert(place, lines.pop(rng.randrange(len(lines))))
        elif way == 3:
            middle = rng.randrange(len(lines[place]) + 1)
            lines[place] = lines[place][:middle]
        elif way == 4:
            lines[place] = lines[place].replace("=", "= [") if "=" in lines[place] else "x ="
        else:
            lines.insert(place, rng.choice(LINES))
    return "\n".join(lines) + "\n"


HOSTILE = (
    "../{}", "/tmp/{}", "a/../../{}", "..\\{}", "C:\\{}", "{}\0x", "./{}", "{}/", "con/{}", "{}.",
    "{} ", "a/" * 200 + "{}", "leftImg8bit/train/../../../{}", "//{}", "", "~/{}",
)  # fmt: skip


def hostile_names(path: Path, rng: random.Random) -> None:
    """Write a zip again with some of its names changed."""
    with zipfile.ZipFile(path) as archive:
        contents = [(name, archive.read(name)) for name in archive.namelist()]
    pattern = rng.choice(HOSTILE)
    chosen = rng.sample(range(len(contents)), min(len(contents), rng.choice((1, 2, 5))))
    with zipfile.ZipFile(path, "w") as archive:
        for index, (name, data) in enumerate(contents):
            new = name
            if index in chosen:
                last = name.rpartition("/")[2]
                new = pattern.format(name if rng.random() < 0.5 else last)
            info = zipfile.ZipInfo("x")
            info.filename = new or "x"
            archive.writestr(info, data)
