"""Labels that mean something else than was intended, found before the first step.

Every label file may be whole and every value allowed, and a run still learns nothing: masks of 0
and 255, values that begin at 1, a class that only the evaluation has, crops that are mostly
padding. What was counted by the check shows it. `judge` refuses what cannot be meant, and returns
a table and remarks, each with the setting that helps.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from arm_jax.data import augment
from arm_jax.data.check import Checked
from arm_jax.data.formats.contract import BACKGROUND
from arm_jax.data.image_files import ImageFile
from arm_jax.data.labels import Classes
from arm_jax.data.records import Source, encoded, image, spread
from arm_jax.data.value_maps import Override, override, shift
from arm_jax.system.errors import InputError

MOST_PADDING = 1 / 3  # of a crop on average, above which there is a remark
MOST_UNLABELLED = 0.5  # of the pixels
SAMPLED = 64  # records whose sizes are looked up
_LISTED = 8  # classes of a remark
_DECODED = 8  # images of 16 bits that are decoded
_BRIGHT = 64  # of 255; sensors of 14 bits reach 63


def judge(
    classes: Classes, found: Mapping[str, Checked], *, write: Override = override
) -> tuple[str, list[str]]:
    """A table of the classes' shares in every split, and remarks on what is unusual.

    Args:
      classes: of all splits.
      found: what `check` counted, by split; the first is trained on.
      write: how the remarks write an override.

    Raises:
      InputError: fewer than two classes have a pixel to train on.
    """
    name, training = next(iter(found.items()))
    present = [k for k, n in enumerate(training.pixels) if n]
    if len(present) < 2:
        raise InputError(_single_class(classes, name, training, present, write))
    remarks = []
    for split, checked in _columns(found, whole=False).items():
        total = sum(checked.pixels) + checked.ignored
        if total and checked.ignored > MOST_UNLABELLED * total:
            remarks.append(
                f"{split}: {checked.ignored / total:.1%} of the pixels have the ignore value"
                f" {classes.ignore} and teach nothing; unless labels are meant to be sparse,"
                f" correct data.ignore, or name the class where no outline or colour is:"
                f" {write('data.undrawn', 'CLASS')}"
            )
    others = {split: checked for split, checked in found.items() if split != name}
    unseen = [k for k in range(classes.number) if not training.pixels[k]]
    later = [k for k in unseen if any(checked.pixels[k] for checked in others.values())]
    never = [k for k in unseen if k not in later]
    if later:
        remarks.append(
            f"{_listed(classes, later)}: evaluated, but without a pixel in {name}, so that the IoU"
            " will be 0; label some of them in training, or leave the class out"
        )
    if never:
        remarks.append(
            f"{_listed(classes, never)}: without a pixel in {' and '.join(found)}; the class list"
            " may be longer than that of the labels, or shifted against it"
            + _shifted(classes, training, write)
            + _undrawn(classes, never, write)
        )
    for split, checked in others.items():
        missing = [k for k in present if not checked.pixels[k]]
        if missing:
            remarks.append(
                f"{_listed(classes, missing)}: trained, but without a pixel in {split}, so that"
                " nothing shows how well"
            )
    return table(classes, _columns(found)), remarks


def _columns(found: Mapping[str, Checked], whole: bool = True) -> dict[str, Checked]:
    """With the sources of a mixture behind it; without `whole`, in its place."""
    columns: dict[str, Checked] = {}
    for split, checked in found.items():
        if whole or not checked.parts:
            columns[split] = checked
        for name, part in checked.parts:
            columns[f"{split} {name}" if name in found else name] = part
    return columns


def table(classes: Classes, found: Mapping[str, Checked]) -> str:
    """Share of each class in the labelled pixels of every split, and of all that have a label."""
    width = max(len("with a label"), *(len(name) for name in classes.names))
    lines = [f"{'% of the labelled pixels':<{width + 6}}" + _row(found)]
    for k, class_name in enumerate(classes.names):
        shares = [100 * c.pixels[k] / max(sum(c.pixels), 1) for c in found.values()]
        cells = (f"{share:>12.3f}" if share else f"{'none':>12}" for share in shares)
        lines.append(f"{k:>3}  {class_name:<{width}} " + "".join(cells))
    covered = (100 * sum(c.pixels) / max(sum(c.pixels) + c.ignored, 1) for c in found.values())
    lines.append(f"     {'with a label':<{width}} " + "".join(f"{c:>12.1f}" for c in covered))
    return "\n".join(lines)


def _row(found: Mapping[str, Checked]) -> str:
    return "".join(f" {name[-11:]:>11}" for name in found)


def _single_class(
    classes: Classes, name: str, found: Checked, present: Sequence[int], write: Override
) -> str:
    only = classes.names[present[0]] if present else "none"
    share = found.ignored / max(sum(found.pixels) + found.ignored, 1)
    line = (
        f"{name}: only one of {classes.number} classes has a pixel to train on ({only}), and"
        f" {share:.1%} of the pixels have the ignore value {classes.ignore}; nothing can be learned"
    )
    unseen = [k for k in range(classes.number) if k not in present]
    undrawn = _undrawn(classes, unseen, write)
    masks = classes.ignore == 255 and classes.number == 2 and present == [0]
    if masks and found.ignored and not undrawn:
        mapping = write("data.label_values", "((0,0),(255,1))")
        return f"{line}. These look like masks of 0 and 255: read them by {mapping}"
    return f"{line}. Correct the class list, data.ignore or data.label_values{undrawn}"


def _shifted(classes: Classes, training: Checked, write: Override) -> str:
    """The override for values that begin at 1, if only the first class is missing."""
    if training.pixels[0] or not all(training.pixels[1:]) or classes.number > 20:
        return ""
    mapping = write("data.label_values", shift(classes))
    return f". If the values begin at 1, leave out {classes.names[-1]!r} or use {mapping}"


def _undrawn(classes: Classes, unseen: Sequence[int], write: Override) -> str:
    """The override for a background that nobody draws."""
    names = [classes.names[k] for k in unseen if classes.names[k].lower() in BACKGROUND]
    if not names:
        return ""
    return f". If {names[0]!r} is what nobody drew: {write('data.undrawn', names[0])}"


def _listed(classes: Classes, indices: Sequence[int]) -> str:
    shown = ", ".join(classes.names[k] for k in indices[:_LISTED])
    more = len(indices) - _LISTED
    return f"{shown} and {more} more classes" if more > 0 else shown


def sizes(source: Source) -> tuple[Counter[tuple[int, int]], int]:
    """(height, width) of up to `SAMPLED` records spread over a source, and how many are turned.

    Turned are images that are read as their EXIF orientation asks.
    """
    number = 1 if getattr(source, "trusted", False) else SAMPLED
    found: Counter[tuple[int, int]] = Counter()
    turned = 0
    for index in spread(len(source), number):
        record = encoded(source, int(index))
        found[(record["label"].shape[0], record["label"].shape[1])] += 1
        file = record["image"]
        turned += isinstance(file, ImageFile) and file.is_turned
    return found, turned


def padding(
    found: Mapping[tuple[int, int], int],
    crop: tuple[int, int],
    ratio: tuple[float, float],
    base_size: tuple[int, int] | None = None,
) -> float:
    """Mean share of a crop, 0 to 1, that is padding, as the resized image is smaller.

    Args:
      found: (height, width) -> images.
      crop: height, width of the crop.
      ratio: range of the random resize, uniform.
      base_size: see `augment.rescaled`.
    """
    filled = 0.0
    factors = np.linspace(*ratio, 33).tolist()
    for size, count in found.items():
        for factor in factors:
            height, width = augment.rescaled(size, factor, base_size)
            filled += count * min(height, crop[0]) * min(width, crop[1])
    return 1 - filled / (sum(found.values()) * len(factors) * crop[0] * crop[1])


def remarks_on_images(
    source: Source,
    *,
    crop: tuple[int, int] | None = None,
    ratio: tuple[float, float] = (1.0, 1.0),
    base_size: tuple[int, int] | None = None,
    write: Override = override,
) -> list[str]:
    """Whether crops are mostly padding, and images turned, by a sample of a source.

    Args:
      source: to train on.
      crop, ratio, base_size: as for `padding`; without a crop it is not judged.
      write: how the remarks write an override.
    """
    found, turned = sizes(source)
    lines = []
    share = padding(found, crop, ratio, base_size) if crop else 0.0
    if crop and share > MOST_PADDING:
        height, width = (
            int(np.median([size[axis] for size in found.elements()])) for axis in (0, 1)
        )
        fits = write("augment.crop", f"({min(crop[0], height)},{min(crop[1], width)})")
        lines.append(
            f"augment.crop = {crop[0]}x{crop[1]} is larger than the resized images (most are"
            f" {height}x{width}, times {ratio[0]:g} to {ratio[1]:g}): {share:.0%} of a crop is"
            f" padding on average; use {fits}"
        )
    if turned:
        lines.append(
            f"{turned} of {found.total()} sampled images have an EXIF orientation: images and"
            f" labels are read as viewers show them; {write('data.orientation', 'stored')} takes"
            " their pixels as they lie"
        )
    if dark := _dark(source):
        lines.append(dark)
    return lines


def _dark(source: Source) -> str:
    """A sentence on images of 16 bits that use few of them, as sensors of 10 to 12 bits do."""
    largest, number = 0, 0
    for index in spread(len(source), _DECODED):
        try:
            file = image(source, index)
            if not isinstance(file, ImageFile) or file.channels or file.bits != 16:
                return ""
            largest, number = max(largest, int(file.part().max())), number + 1
        except InputError:
            continue  # the check names it
    if not number or largest >= _BRIGHT:
        return ""
    return (
        f"images have 16 bits, of which the upper 8 are read, and in {number} sampled ones these do"
        f" not go beyond {largest} of 255: they are nearly black; stretch them to 16 bits, save"
        " them with 8, or have data.channels read all bits"
    )
