"""Everything about a split that can be counted: sizes, values, classes, and a second label set.

Every file is opened and decoded once, in threads; problems are collected instead of raised.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from arm_jax.data import labels, records
from arm_jax.data.agreement import Agreement
from arm_jax.data.check import Checked
from arm_jax.data.labels import Classes
from arm_jax.data.records import Source
from arm_jax.data.value_maps import Override, Stored, override
from arm_jax.system import parallel, terminal
from arm_jax.system.errors import InputError


@dataclass
class Survey:
    """What was found in a split.

    Attributes:
      classes: of the labels.
      records: how many there are.
      sizes: (height, width) -> records.
      values: int64 (256,), pixels by label value.
      present: int64 (256,), records in which the value occurs.
      agreement: with a second label set; None without one.
      problems: one line for each record that cannot be used.
      bands: sums over the pixels, float64 (3, bands) of ones, values and squares; None for RGB.
      hint: what probably was meant, where label values stand for nothing; "" if nothing is likely.
    """

    classes: Classes
    records: int
    sizes: Counter = field(default_factory=Counter)
    values: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    present: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    agreement: Agreement | None = None
    problems: list[str] = field(default_factory=list)
    bands: np.ndarray | None = None
    hint: str = ""

    @property
    def coverage(self) -> float:
        """Share of the pixels that have a label; nan without any pixels."""
        total = self.values.sum()
        return float(self.values[: self.classes.number].sum() / total) if total else float("nan")

    def checked(self) -> Checked:
        """What `check` would have counted."""
        pixels = tuple(int(n) for n in self.values[: self.classes.number])
        return Checked(self.records, pixels, int(self.values[self.classes.ignore]))

    def table(self) -> str:
        """All of it as lines of text."""
        lines = [f"{self.records:,} records, {len(self.problems)} of them bad"]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"in all labels: {self.hint}"] if self.hint else []
        lines.append("sizes (height x width): " + self._sizes())
        lines.append(f"labelled: {self.coverage:.2%} of the pixels")
        labelled = max(int(self.values[: self.classes.number].sum()), 1)
        lines.append(
            f"{'class':>24} {'value':>5} {'of the labelled pixels':>23} {'in records':>11}"
        )
        for value, name in enumerate(self.classes.names):
            share = self.values[value] / labelled
            lines.append(f"{name:>24} {value:>5} {share:>23.3%} {self.present[value]:>11,}")
        absent = [name for name, n in zip(self.classes.names, self.present, strict=False) if not n]
        if absent:
            lines.append(f"never labelled: {', '.join(absent)}")
        if self.agreement is not None:
            lines.append(self.agreement.table())
        if self.bands is not None:
            number, total, squares = self.bands
            mean = total / number
            deviation = np.sqrt(np.maximum(squares / number - mean**2, 0))
            for name, each in (("mean", mean), ("deviation", deviation)):
                numbers = ",".join(f"{x:.6g}" for x in each)
                lines.append(f"{name} of the bands: --config.data.{name}='({numbers},)'")
        return "\n".join(lines)

    def _sizes(self) -> str:
        if not self.sizes:
            return "none"
        common = self.sizes.most_common(4)
        text = ", ".join(f"{h}x{w} ({n:,})" for (h, w), n in common)
        if len(self.sizes) > len(common):
            heights, widths = zip(*self.sizes, strict=True)
            text += (
                f" and {len(self.sizes) - len(common):,} others, heights {min(heights)} to "
                f"{max(heights)}, widths {min(widths)} to {max(widths)}"
            )
        return text


def survey(
    source: Source,
    second: Source | None = None,
    *,
    name: str = "data",
    progress: bool = True,
    write: Override = override,
) -> Survey:
    """Read all records of `source`, beside the same records with other labels in `second`.

    `write` is how the hint writes a setting's value. The processes of a group share the records;
    every one must call this, and gets the same result.

    Raises InputError when the two sources do not have the same number of records.
    """
    for one in (source, second):
        if one is not None:
            records.compare(one, name)
    if second is not None and len(second) != len(source):
        raise InputError(
            f"{name}: {len(source)} records have the one kind of label and {len(second)} the other"
        )
    result, stored = Survey(source.classes, len(source)), Stored(source.classes)
    if second is not None:
        result.agreement = Agreement(source.classes)
    everything = parallel.shared_out(partial(_found, source, second), len(source))
    bar = terminal.bar(f"survey {name}", everything, total=len(source), shown=progress)
    for found in bar:
        if isinstance(found, InputError):
            stored.add(found)
            result.problems.append(str(found))
            continue
        size, counts, agreement, bands = found
        if bands is not None:
            result.bands = bands if result.bands is None else result.bands + bands
        stored.add(counts)
        result.sizes[size] += 1
        result.values += counts
        result.present += counts > 0
        if result.agreement is not None and agreement is not None:
            result.agreement.merge(agreement)
    result.hint = stored.suggestion(write)
    return result


def _found(source: Source, second: Source | None, index: int) -> InputError | tuple:
    """Size, pixels by label value, agreement and sums of one record, or what is wrong with it."""
    try:
        record = source[index]
        label = record["label"]
        counts = np.bincount(label.reshape(-1), minlength=256)
        labels.check(counts, source.classes, record["id"])
        agreement = None
        if second is not None:
            other = second[index]
            if other["id"] != record["id"] or other["label"].shape != label.shape:
                return InputError(
                    f"{record['id']}: its other label is that of {other['id']} or of other size"
                )
            agreement = Agreement(source.classes)
            agreement.add(label, other["label"])
        bands, image = None, record["image"]
        if image.dtype != np.uint8:
            pixels = image.reshape(-1, image.shape[2]).astype(np.float64)
            bands = np.stack([(pixels**power).sum(0) for power in (0, 1, 2)])
        return label.shape, counts, agreement, bands
    except InputError as error:
        return error
