"""Which format a label file has, and the label in it."""

from arm_jax.data.formats import FORMATS
from arm_jax.data.formats.contract import (
    Collected,
    Collection,
    File,
    Format,
    Label,
    Pixels,
    Reading,
    Shapes,
    Size,
)
from arm_jax.data.formats.drawing import UNEXPECTED, DrawnLabel, broken, readable
from arm_jax.system.errors import InputError


def suffixes() -> tuple[str, ...]:
    """Of all files that may hold the label of one image, the preferred first."""
    single = (f.suffixes for f in FORMATS.values() if not isinstance(f, Collection))
    return tuple(dict.fromkeys(suffix for some in single for suffix in some))


def recognised(file: File, reading: Reading) -> Format:
    """Raises InputError for a file that no format recognises."""
    for entry in FORMATS.values():
        if file.suffix not in entry.suffixes:
            continue
        if isinstance(entry, Pixels):
            known = entry.recognises(file, reading)
        else:
            known = entry.recognises(file)  # type: ignore[attr-defined]
        if known:
            return entry
    titles = ", ".join(f.title for f in FORMATS.values() if file.suffix in f.suffixes)
    raise InputError(
        f"{file.path}: is none of {titles or 'the known formats of labels'}; export it again"
    )


def opened(file: File, size: Size, reading: Reading) -> Label:
    """The label of one image of this size.

    Raises InputError for a file that cannot be read; what it holds may be refused later.
    """
    entry = recognised(file, reading)
    if isinstance(entry, Pixels):
        return entry.read(file, reading)
    if isinstance(entry, Shapes):
        drawing = readable(file.path, entry.read, file, size)
        return DrawnLabel(drawing, size, reading, file.path)
    raise InputError(
        f"{file.path}: is {entry.title}, which has the labels of many images; move it to the root,"
        " or name it as data.label_folder"
    )


def collected(file: File) -> tuple[Collection, Collected] | None:
    """What a file has for many images; None if it is not of such a format.

    Raises InputError for one that is, and cannot be read.
    """
    for entry in FORMATS.values():
        if isinstance(entry, Collection) and file.suffix in entry.suffixes:
            try:
                if entry.recognises(file):
                    return entry, entry.read(file)
            except UNEXPECTED as error:
                raise (
                    error if isinstance(error, InputError) else broken(file.path, error)
                ) from None
    return None
