"""The breakdown point: at which share of wrong labels does ARM turn against its purpose?

    python scripts/experiments/breakdown.py configs/demo.py:linear configs/demo.py:arm \\
        --flips 0,1,3,10,20 --seeds 0 --workdir runs/breakdown

A mislabelled pixel that the network is sure of has a large loss. With enough of them the mean loss
of confident pixels exceeds that at boundaries, and an adversary that climbs the loss does better by
focusing on label noise than by suppressing confidence (Theorem 3.1 says W follows L).

Trains every row at every fraction of simulated coarse components with a wrong class
(`data.wrong_share`, here in percent), each run in ROW/flip_N/seed_N of --workdir, and measures at
its end what weight confident pixels get over that of unsure ones. Complete runs are read, others
continue. Config values for all rows are given as for arm_jax.main, --config.steps=1000. After every
run WORKDIR gets breakdown.json, breakdown.md (a table and a paragraph) and breakdown.png.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import bands
import matplotlib
import numpy as np
from bands import CONFIDENT, CURVE, UNSURE
from jax.sharding import Mesh
from matplotlib.figure import Figure

from arm_jax import settings
from arm_jax.reporting import curves, pictures
from arm_jax.reporting import markdown as tables
from arm_jax.run import arguments as shared
from arm_jax.run import configs, grid, mirror
from arm_jax.run.grid import Cell, Outcome
from arm_jax.system import command_line, files, host_memory
from arm_jax.system.errors import InputError

ALIKE = 1.1  # weights within this factor count as equal in words
# What is averaged over seeds; with a title, factor and digits where the table shows it.
AVERAGED: dict[str, tuple[str, float, int] | None] = {
    "wrong": ("wrong labels, %", 100, 1),
    "wrong_confident": ("wrong among confident pixels, %", 100, 1),
    "mIoU": ("mIoU, %", 1, 2),
    "band_weight_ratio": ("weight, confident / unsure", 1, 2),
    "band_loss_ratio": ("loss, confident / unsure", 1, 2),
    "holder_ratio": ("Hölder ratio", 1, 3),
    "slope_confident": None,
    "slope_unsure": None,
}


@command_line.answered
def main(argv: Sequence[str] | None = None, mesh: Mesh | None = None) -> int:
    parser = command_line.Parser(__doc__)
    shared.add_rows(parser, seeds="0")
    parser.add_argument("--flips", default="0,1,3,10,20", help="percent (default 0,1,3,10,20)")
    parser.add_argument(
        "--coarsen", default="medium", help="preset of the labels, for configs that name none"
    )
    arguments, overrides = command_line.parse(parser, argv)
    command = command_line.typed("scripts/experiments/breakdown.py", argv)
    folder = arguments.workdir
    planned = list(cells(arguments, overrides))
    grid.claim(folder)
    points: list[dict[str, Any]] = []
    outcomes = []
    for flip, cell in planned:
        outcome = grid.run(cell, mesh)
        outcomes.append(outcome)
        points.append(point(flip, cell, outcome))
        write(folder, points, grid.caption(outcomes, command))
    mirror.finish(folder)
    print((folder / "breakdown.md").read_text())
    return 0


def cells(arguments: argparse.Namespace, overrides: Sequence[str]) -> list[tuple[float, Cell]]:
    """All runs with their share of wrong components in percent, seed by seed."""
    try:
        flips = sorted({float(text) for text in arguments.flips.split(",")})
    except ValueError:
        raise InputError(f"--flips = {arguments.flips!r} are no numbers, as in 0,1,3") from None
    found = []
    for seed in arguments.seeds:
        for flip in flips:
            for row, name in zip(arguments.rows, grid.names(arguments.rows), strict=True):
                config = configs.load(row, [*overrides, f"--config.seed={seed}"])
                preset = config.data.coarsen or arguments.coarsen
                config = settings.frozen(
                    config, {"data.coarsen": preset, "data.wrong_share": flip / 100}
                )
                run = grid.folder_of(arguments.workdir, name, f"flip_{flip:g}", f"seed_{seed}")
                found.append((flip, Cell(name, seed, config, run)))
    return found


def point(flip: float, cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """A run's entry in breakdown.json; only its name and share if it diverged."""
    entry = {"row": cell.row, "flip": flip, "seed": cell.seed, "diverged": outcome.diverged}
    if outcome.diverged:
        return entry
    values = {name: outcome.values.get(name, math.nan) for name in ("mIoU", "holder_ratio")}
    return entry | values | dataclasses.asdict(bands.measure(cell.config, cell.folder))


def write(folder: Path, points: Sequence[dict[str, Any]], caption: str) -> None:
    """The three files over the runs made so far."""
    table = averages(points)
    report = {"confident": CONFIDENT, "unsure": UNSURE, "averages": table, "runs": points}
    files.write_json(folder / "breakdown.json", report | {"caption": caption}, indent=2)
    files.write(folder / "breakdown.md", f"{markdown(table)}\n\n{paragraph(table)}\n\n{caption}\n")
    if any("mIoU" in one for one in points):
        pictures.save(figure(table, points), folder / "breakdown.png")


def averages(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each row and share: mean and standard deviation over seeds of each number."""
    found = []
    for row, flip in dict.fromkeys((one["row"], one["flip"]) for one in points):
        same = [one for one in points if (one["row"], one["flip"]) == (row, flip)]
        finished = [one for one in same if not one["diverged"]]
        entry = {"row": row, "flip": flip, "finished": len(finished), "started": len(same)}
        entry["has_arm"] = any(one["curve"] for one in finished)
        for name in AVERAGED:
            values = [one[name] for one in finished if not math.isnan(one[name])]
            entry[name] = grid.mean_and_spread(values)
        found.append(entry)
    # In order of the rows, then of the shares, whichever run was made first.
    order = list(dict.fromkeys(one["row"] for one in points))
    return sorted(found, key=lambda entry: (order.index(entry["row"]), entry["flip"]))


def markdown(table: Sequence[dict[str, Any]]) -> str:
    """A block for each quantity, a line for each row, a column for each share.

    Cells without a finished run are empty; lines without any number are left out.
    """
    flips = sorted({entry["flip"] for entry in table})
    heads = ["", "flipped components:", *(f"{flip:g} %" for flip in flips)]
    lines = []
    for name, shown in AVERAGED.items():
        if shown is None:
            continue
        title, factor, digits = shown
        told = list(table)
        if name == "wrong":  # the same labels for all rows
            told = [entry | {"row": "all"} for entry in told if entry["row"] == table[0]["row"]]
        elif name == "band_weight_ratio":  # 1 without an ARM
            told = [entry for entry in told if entry["has_arm"]]
        for row in dict.fromkeys(entry["row"] for entry in told):
            found = {entry["flip"]: entry[name] for entry in told if entry["row"] == row}
            cells = [
                _figure([factor * x for x in found.get(flip, (math.nan, math.nan))], digits)
                for flip in flips
            ]
            if any(cells):
                lines.append([title, row, *cells])
                title = ""
    return tables.table(heads, lines)


def _figure(pair: Sequence[float], digits: int = 2) -> str:
    return grid.figure(pair[0], pair[1], digits)


def paragraph(table: Sequence[dict[str, Any]]) -> str:
    """What the table shows, in words, from its numbers alone."""
    text = [
        f"Confident pixels are those with v > {CONFIDENT[0]:g}, unsure ones those with"
        f" {UNSURE[0]:g} < v < {UNSURE[1]:g}."
    ]
    for row in dict.fromkeys(entry["row"] for entry in table):
        entries = [e for e in table if e["row"] == row and e["finished"]]
        if not entries:
            text.append(f"All runs of `{row}` diverged.")
            continue
        first, last = entries[0], entries[-1]
        text.append(
            f"With `{row}`, mIoU is {_figure(first['mIoU'])} % at {first['flip']:g} % of"
            f" flipped components"
            + (f" and {_figure(last['mIoU'])} % at {last['flip']:g} %." if last != first else ".")
        )
        measured = [e for e in entries if not math.isnan(e["band_weight_ratio"][0])]
        if not measured or not first["has_arm"]:
            continue
        weights = ", ".join(f"{e['band_weight_ratio'][0]:.2f} at {e['flip']:g} %" for e in measured)
        text.append(
            f"It gives confident pixels this multiple of the weight of unsure ones: {weights}."
        )
        text.append(verdict(measured))
    return " ".join(text)


def verdict(entries: Sequence[dict[str, Any]]) -> str:
    """At which of the measured shares W suppresses confident pixels, and at which it does not."""
    meanings = (
        ("suppresses them", lambda entry: entry["band_weight_ratio"][0] < 1 / ALIKE),
        ("weighs both alike", lambda entry: 1 / ALIKE <= entry["band_weight_ratio"][0] <= ALIKE),
        ("focuses on them", lambda entry: entry["band_weight_ratio"][0] > ALIKE),
    )
    parts = [
        f"{meaning} at {shares}"
        for meaning, applies in meanings
        if (shares := ", ".join(f"{e['flip']:g} %" for e in entries if applies(e)))
    ]
    more = ", ".join(f"{e['flip']:g} %" for e in entries if e["band_loss_ratio"][0] > 1)
    return (
        f"That is, it {'; '.join(parts)}. The mean loss of confident pixels, which W follows by the"
        f" theorem, is above that of unsure ones at {more or 'none of these shares'}."
    )


def figure(table: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]]) -> Figure:
    """mIoU, and the weight of confident pixels, against the share; W(v) of each row with an ARM."""
    rows = list(dict.fromkeys(entry["row"] for entry in table))
    curved = [row for row in rows if any(e["has_arm"] for e in table if e["row"] == row)]
    lines = 1 + -(-len(curved) // 2)
    drawn = Figure(figsize=(9.6, 3.6 * lines), layout="constrained")
    panels = drawn.subplots(lines, 2, squeeze=False)
    for axes in panels.flat[2 + len(curved) :]:
        axes.set_axis_off()
    score, weight = panels[0]
    for number, row in enumerate(rows):
        entries = [e for e in table if e["row"] == row and e["finished"]]
        flips = [entry["flip"] for entry in entries]
        for axes, name in ((score, "mIoU"), (weight, "band_weight_ratio")):
            means, spreads = np.array([entry[name] for entry in entries]).reshape(-1, 2).T
            axes.errorbar(
                flips,
                means,
                np.nan_to_num(spreads),
                color=f"C{number}",
                marker="o",
                ms=4,
                capsize=2,
                label=row,
            )
        if row in curved:
            loss = [entry["band_loss_ratio"][0] for entry in entries]
            weight.plot(flips, loss, color=f"C{number}", lw=1, ls=(0, (4, 3)))
    score.set_ylabel("mIoU on fine labels, %")
    score.legend(frameon=False, fontsize=8.5)
    weight.set_yscale("log")
    weight.axhline(1.0, color="0.5", lw=0.8, ls=":")
    weight.set_ylabel("confident over unsure pixels")
    weight.set_title("weight (dashed: mean loss); above 1: focusing", fontsize=9.5)
    for axes in (score, weight):
        axes.set_xlabel("coarse components with a wrong class, %")
        axes.set_xticks(sorted({entry["flip"] for entry in table}))
        curves.plain(axes)
    flips = sorted({one["flip"] for one in points})
    for axes, row in zip(panels.flat[2:], curved, strict=False):
        for one in points:
            if one["row"] == row and one.get("curve"):
                color = matplotlib.colormaps["viridis"](flips.index(one["flip"]) / len(flips))
                v = np.linspace(-1, 1, CURVE)
                label = f"{one['flip']:g} %" if one["seed"] == points[0]["seed"] else None
                axes.plot(v, one["curve"], color=color, lw=1.5, label=label)
        for low, high in (CONFIDENT, UNSURE):
            axes.axvspan(low, high, color="0.93", zorder=0)
        axes.set_title(f"{row}: W(v) over its mean", fontsize=9.5)
        axes.set_xlabel("confidence v (grey: unsure, confident)")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8.5, title="flipped")
        curves.plain(axes)
    return drawn


if __name__ == "__main__":
    host_memory.keep_freed()
    sys.exit(main())
