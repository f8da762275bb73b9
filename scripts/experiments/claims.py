"""The signs that the paper's Tables 1, 2, 4 and 5 claim, and what a bench says of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pairs

from arm_jax.reporting import markdown


@dataclass(frozen=True)
class Claim:
    """mIoU of `row` is above that of `other`, or `row` does not train.

    Attributes:
      table: of the paper.
      row, other: as in `configs/base.py`.
      text: the claim with the paper's figures.
      fails: whether the claim is that the row does not train.
    """

    table: int
    row: str
    other: str
    text: str
    fails: bool = False


CLAIMS = (
    Claim(1, "linear", "base", "Linear ARM helps (72.13, 70.33)"),
    Claim(1, "base", "linear_focusing", "focusing harms (69.54, 70.33)"),
    Claim(1, "linear", "linear_focusing", "suppressing beats focusing (72.13, 69.54)"),
    Claim(1, "linear_no_detach", "base", "without the detach it collapses (4.03, 70.33)", True),
    Claim(2, "arm", "base", "ARM helps (71.94, 70.33)"),
    Claim(2, "arm", "norm3", "the L2 norm beats the L3 norm (71.94, 71.10)"),
    Claim(2, "norm3", "base", "ARM with the L3 norm helps (71.10, 70.33)"),
    Claim(2, "norm1", "base", "the L1 norm does not converge", True),
    Claim(2, "std", "base", "ARM on the deviation helps (71.83, 70.33)"),
    Claim(2, "log_var", "base", "ARM on the log variance helps (71.93, 70.33)"),
    Claim(2, "entropy", "base", "the entropy does not converge", True),
    Claim(4, "gce", "base", "GCE helps (71.23, 70.33)"),
    Claim(4, "base", "kl", "the KL loss harms (69.06, 70.33)"),
    Claim(4, "kl_arm", "kl", "ARM helps the KL loss (71.86, 69.06)"),
    Claim(4, "gce_arm", "gce", "ARM helps GCE (72.08, 71.23)"),
    Claim(5, "arm", "ohem", "ARM beats OHEM on coarse labels (71.94, 70.31)"),
)
ROWS = tuple(dict.fromkeys(row for claim in CLAIMS for row in (claim.other, claim.row)))


@dataclass(frozen=True)
class Runs:
    """The runs of one row on one kind of labels.

    Attributes:
      mIoU: by seed, of those that finished.
      diverged: how many did not.
    """

    mIoU: Mapping[int, float]
    diverged: int

    @property
    def failed(self) -> bool:
        """Whether half of the runs or more diverged."""
        return self.diverged > 0 and self.diverged >= len(self.mIoU)


def verdict(claim: Claim, row: Runs, other: Runs) -> str:
    """Shown, refuted here, or not decidable; "" where nothing was run."""
    found = pairs.difference(row.mIoU, other.mIoU)
    if claim.fails:
        seeds = row.mIoU.keys() & other.mIoU.keys()
        if row.failed or (seeds and all(row.mIoU[s] < 0.5 * other.mIoU[s] for s in seeds)):
            return "shown"
        return "refuted here" if seeds else ""
    if not found.number:
        return ""
    if found.sign:
        return "shown" if found.sign > 0 else "refuted here"
    needed = pairs.seeds_needed(found)
    with_ = f"not decidable with {found.number} seed{'s' * (found.number > 1)}"
    if needed is None:
        return with_ if math.isnan(found.half) else f"{with_} (nor with {pairs.MOST_SEEDS:,})"
    return f"{with_} (about {needed:,} would take it)"


def table(found: Mapping[str, Runs]) -> str:
    """What was run of the claims, as markdown; rows that nobody ran are empty."""
    lines = []
    none = Runs({}, 0)
    for claim in CLAIMS:
        row, other = found.get(claim.row, none), found.get(claim.other, none)
        one = pairs.difference(row.mIoU, other.mIoU)
        cells = [str(claim.table), f"`{claim.row}`, `{claim.other}`: {claim.text}"]
        cells += [interval(one), "" if math.isnan(one.p) else f"{one.p:.3f}"]
        lines.append([*cells, verdict(claim, row, other)])
    return markdown.table(["table", "claim", "difference, mIoU points", "p", "verdict"], lines)


def interval(found: pairs.Difference) -> str:
    """As in "+1.20 ± 0.85 (n 5)", half the interval behind the sign; "" for no pair."""
    if not found.number:
        return ""
    half = "" if math.isnan(found.half) else f" ± {found.half:.2f}"
    return f"{found.mean:+.2f}{half} (n {found.number})"


def rows_of(tables: Sequence[int]) -> list[str]:
    """The rows that the claims of these tables need."""
    chosen = [claim for claim in CLAIMS if claim.table in tables]
    return list(dict.fromkeys(row for claim in chosen for row in (claim.other, claim.row)))
