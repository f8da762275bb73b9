"""The tables of planted.py."""

import functools
import itertools

import numpy as np
from planted_data import CELLS, NOISES, REVIEWED
from planted_networks import NETWORKS
from planted_rankings import FIRST

from arm_jax.reporting import markdown


def spread(values: list[float], digits: int) -> str:
    """The mean, and behind it the standard deviation of the sample if there are several."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} \u00b1 {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def tables(lines: list[dict]) -> str:
    """The results in Markdown: means over seeds, with the standard deviation of the sample."""
    seeds = ", ".join(map(str, sorted({line["seed"] for line in lines})))
    parts = [ranking_table(lines), decisions_table(lines), loop_table(lines)]
    return (
        "\n\n".join([f"Seeds {seeds}; means \u00b1 standard deviation over seeds.", *parts]) + "\n"
    )


def ranking_table(lines: list[dict]) -> str:
    """How well regions and images with errors are found."""
    ways = [f"{name}: p@10, 50, 100" for name in ("review", "disagree")]
    heads = ["data", "errors", "network", ways[0], "AP", ways[1], "AP"]
    heads += ["images: review", "disagree", "softmin"]
    rows = []
    for data, noise in itertools.product(CELLS, NOISES):
        here = [one for one in lines if (one["data"], one["noise"]) == (data, noise)]
        for kind in NETWORKS if here else ():

            def values(*path: str, here: list[dict] = here, kind: str = kind) -> list[float]:
                return [functools.reduce(dict.__getitem__, path, one[kind]) for one in here]

            cells = [data, f"{noise} ({np.mean([one['errors'] for one in here]):.0f})", kind]
            for name in ("review", "disagree"):
                first = [np.mean(values("regions", name, f"p@{n}")) for n in FIRST]
                cells.append(", ".join(f"{one:.2f}" for one in first))
                cells.append(spread(values("regions", name, "ap"), 2))
            cells += [spread(values("images", n), 2) for n in ("review", "disagree", "softmin")]
            rows.append(cells)
    return markdown.table(heads, rows)


def decisions_table(lines: list[dict]) -> str:
    """Right and wrong corrections after a number of decisions."""
    ways, rows = ("one by one", "refitted", "groups", "both"), []
    for data in CELLS:
        here = [one for one in lines if one["data"] == data and "decisions" in one]
        for number in here[0]["decisions"] if here else ():
            cells = [data, str(number)]
            for way in ways:
                pairs = [one["decisions"][number][way] for one in here]
                both = (spread([pair[k] for pair in pairs], 0) for k in ("right", "wrong"))
                cells.append(" + ".join(both))
            rows.append(cells)
    return markdown.table(["data", "decisions", *ways], rows)


def loop_table(lines: list[dict]) -> str:
    """mIoU of networks trained on what was corrected."""
    names, rows = ("clean", "noisy", *map(str, REVIEWED)), []
    for data in CELLS:
        here = [one["loop"] for one in lines if one["data"] == data and "loop" in one]
        if here:
            rows.append([data, *(spread([one[name] for one in here], 2) for name in names)])
    return markdown.table(["data", *names], rows)
