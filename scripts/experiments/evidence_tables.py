"""The tables of the evidence, from the lines of a results.jsonl."""

import math
from collections.abc import Sequence
from typing import Any

import claims
import pairs

from arm_jax.reporting import markdown
from arm_jax.run import grid

# Kinds of labels, all made from the fine ones; the last is what they are measured against.
KINDS: dict[str, dict[str, Any]] = {
    "cityscapes": {"data.coarsen": "cityscapes"},
    "hard": {"data.coarsen": "hard"},
    "sloppy": {"data.coarsen": "sloppy"},
    "flip10": {"data.coarsen": "cityscapes", "data.wrong_share": 0.1},
    "fine": {"data.coarsen": "", "data.train_labels": "fine"},
}
FINE, BASE = "fine", "base"
# `matched`: steps as long as the base model's.
ROWS = ("base", "linear", "arm", "linear,matched", "arm,matched", "recipe", "recipe_arm")


def report(results: Sequence[dict[str, Any]], command: Sequence[str]) -> str:
    """The rows of each kind of labels, the claims, and how to make the numbers again."""
    parts = [rows_table(results)]
    for kind in dict.fromkeys(one["kind"] for one in results):
        parts += [f"Claims of the paper, on {kind} labels:", claims_table(results, kind)]
    outcomes = [grid.Outcome({}, "", tuple(one["devices"]), tuple(one["days"])) for one in results]
    return "\n\n".join([*parts, grid.caption(outcomes, command)]) + "\n"


def claims_table(results: Sequence[dict[str, Any]], kind: str) -> str:
    """What the runs on a kind of labels say of the claims."""
    found = {
        row: claims.Runs(values(results, kind, row), diverged(results, kind, row))
        for row in dict.fromkeys(one["row"] for one in results)
    }
    return claims.table(found)


def rows_table(results: Sequence[dict[str, Any]]) -> str:
    """A line for each kind of labels and row."""
    heads = ["labels", "row", "runs", "mIoU, %", "above base (95 %)", "p", "gap closed"]
    heads += ["band mIoU", "mAcc", "aAcc", "ECE"]
    lines = []
    fine = values(results, FINE, BASE)
    kinds, usual = list(KINDS), list(dict.fromkeys((*ROWS, *claims.ROWS)))

    def place(one: tuple[str, str]) -> tuple[int, int, str]:
        kind, row = one
        return kinds.index(kind), usual.index(row) if row in usual else len(usual), row

    for kind, row in sorted({(one["kind"], one["row"]) for one in results}, key=place):
        ours, base = values(results, kind, row), values(results, kind, BASE)
        found = pairs.difference(ours, base)
        share = math.nan if kind == FINE else pairs.share_of_gap(ours, base, fine)
        lost = diverged(results, kind, row)
        own = row == BASE
        cells = [
            kind,
            f"`{row}`",
            f"{len(ours) + lost}" + (f", {lost} diverged" if lost else ""),
            spread(ours.values()),
            "" if own else claims.interval(found),
            "" if own or math.isnan(found.p) else f"{found.p:.3f}",
            "" if own or math.isnan(share) else f"{100 * share:.0f} %",
            *(
                spread(values(results, kind, row, name).values(), 1)
                for name in ("band", "mAcc", "aAcc", "ece")
            ),
        ]
        lines.append(cells)
    return markdown.table(heads, lines)


def values(
    results: Sequence[dict[str, Any]], kind: str, row: str, metric: str = "mIoU"
) -> dict[int, float]:
    """A figure by seed, of the runs that finished."""
    return {
        one["seed"]: one[metric]
        for one in results
        if (one["kind"], one["row"]) == (kind, row) and one.get(metric) is not None
    }


def diverged(results: Sequence[dict[str, Any]], kind: str, row: str) -> int:
    """How many runs have no figure."""
    same = [one for one in results if (one["kind"], one["row"]) == (kind, row)]
    return sum(bool(one["diverged"]) for one in same)


def spread(found: Any, digits: int = 2) -> str:
    """Mean and standard deviation over seeds."""
    return grid.figure(*grid.mean_and_spread(found), digits)
