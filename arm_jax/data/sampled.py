"""What the label images of a data set have in common, by a sample of them.

A single file often does not show what it is: 0 and 255 may be two classes, or one and what nobody
labelled; black may be a colour that a program stored as grey; a palette may number the classes
otherwise than that of the next file. `settle` decides for all of them, and the files that do not
agree are refused when they are read.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from arm_jax.data import images
from arm_jax.data.formats import pixels
from arm_jax.data.formats.contract import File, Reading
from arm_jax.data.labels import Meaning, Table
from arm_jax.data.records import Source, palettes, spread
from arm_jax.system.errors import InputError
from arm_jax.system.files import read_bytes

NUMBER = 32  # label images that are looked into


def settle(
    reading: Reading, own: Sequence[Path], every: Sequence[Path], *, numbered: bool
) -> tuple[Reading, list[str]]:
    """How all are to be read, and notes on what is unusual.

    Args:
      reading: what is known without them.
      own: the label files of the split's images.
      every: those of all splits.
      numbered: whether settings say what stored numbers stand for.
    """
    if reading.colors:
        return replace(reading, painted=_any_painted(reading, own)), []
    reading, notes = _masks(reading, every)
    if not numbered and not reading.masks:
        reading = replace(reading, palette=_palette(own))
    return reading, notes


def agree(found: Sequence[Source], counted: Sequence[Sequence[int]]) -> None:
    """Raise InputError where the palettes of splits, or of folders, number the classes differently.

    Each is read by its numbers alone, so that nothing else would show it.

    Args:
      found: sources of the same classes.
      counted: labelled pixels of each class, of one source or several; a class that one of them
        does not have may have any colour.
    """
    classes = found[0].classes.number
    first, *others = [one for source in found for one in palettes(source)] or [("", b"")]
    used = [k for k in range(classes) if all(counts[k] for counts in counted)]
    for other in others:
        pixels.compare_palettes(other, first, classes, lambda: used)


def _files(paths: Sequence[Path]) -> list[File]:
    """Of a sample that is spread over them, the images that can be read; the check names others."""
    chosen = [path for path in paths if path.suffix.lower() in images.SUFFIXES]
    found = []
    for index in spread(len(chosen), NUMBER):
        path = chosen[index]
        try:
            found.append(File(read_bytes(path), str(path), path.suffix.lower()))
        except InputError:
            continue
    return found


def _any_painted(reading: Reading, paths: Sequence[Path]) -> bool:
    """Whether one can only be colours: then grey and palette images among them are colours too.

    Programs that make files small store a black or grey part of a colour image as such.
    """
    for file in _files(paths):
        try:
            if pixels.is_painted(file, reading):
                return True
        except InputError:
            continue
    return False


def _palette(paths: Sequence[Path]) -> tuple[str, bytes] | None:
    """Name and palette of the first that has one."""
    for file in _files(paths):
        try:
            if palette := pixels.palette(file):
                return file.path, palette
        except InputError:
            continue
    return None


def _masks(reading: Reading, paths: Sequence[Path]) -> tuple[Reading, list[str]]:
    """For masks, where the labels that are sampled hold 0 and 255 alone.

    Read as class indices, the second class would be ignored. Another value in any other file is
    refused when that is read.
    """
    classes = reading.classes
    if classes.number != 2 or classes.ignore != 255 or reading.meaning.table:
        return reading, []
    alone, others = 0, 0  # files that hold 0 and 255 alone; others with a pixel of class 1
    for file in _files(paths):
        try:
            found = pixels.grey_values(file)
        except InputError:
            continue
        if found is None:
            return reading, []
        values = set(found.tolist())
        if not values <= {0, 1, 255}:
            return reading, []
        alone += 255 in values and 1 not in values
        others += 1 in values
    if not alone:
        return reading, []
    if others:
        return reading, [
            f"{alone} of the sampled label images have 0 and 255 alone, and {others} have 1 as"
            " well: 255 is ignored in all of them; if some are masks of 0 and 255, save all as 0"
            " and 1"
        ]
    table = Table.of({0: 0, 255: 1}, classes)
    return replace(reading, masks=True, meaning=Meaning(classes, table)), []
