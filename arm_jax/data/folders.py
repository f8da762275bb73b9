"""A person's own images and labels, in whatever format they were drawn: `data.dataset = "folders"`.

`places` and `arrangement` find the files, `formats` reads the labels, a class file or the settings
define what names, numbers and colours stand for. `about` reports what was found out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arm_jax.data import arrangement, images, places, sampled
from arm_jax.data.formats import keys, pixels
from arm_jax.data.formats.contract import (
    BACKGROUND,
    OVERLAPS,
    Color,
    Reading,
)
from arm_jax.data.formats.keys import Key
from arm_jax.data.label_files import CollectionLabels, FormatLabels, NoLabels, OrNone
from arm_jax.data.labels import BY_NAME, Classes, Meaning, Table, generic
from arm_jax.data.pairs import FileSource
from arm_jax.data.places import Places
from arm_jax.data.records import spread
from arm_jax.data.trees import Folder, Tree
from arm_jax.system.errors import InputError


class FolderSource(FileSource):
    """A person's own data, see the head of this file and of `places`.

    Args:
      root: their folder.
      split: a subfolder or a list; "" takes all there is.
      classes: those of the labels, or their names, or the name of a benchmark; () for those that a
        class file or a COCO file lists.
      table: meaning of stored label values; without one a class file says it, or they are class
        indices.
      image_folder, label_folder: below the root; the second may also be one file.
      orientation: one of `images.ORIENTATIONS`.
      ignore: the label value of pixels without a label, unless `classes` has another.
      colors: of the classes, in the labels and in drawn images; () if they are not known.
      names: pairs of a name in the labels and a class name, "" to leave it out.
      undrawn: the class of what nobody drew; "" to ignore it.
      unlabelled: "refuse" an image without a label, or "ignore" all of its pixels; "all" looks for
        no label and ignores all pixels of all images.
      overlaps: one of `formats.contract.OVERLAPS`.
      channels: as for `images.decode_image`.

    Raises:
      InputError: a folder is missing or empty, an image has no label, a class file cannot be
        understood, or settings contradict what is there.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        classes: Classes | Sequence[str] = (),
        *,
        table: Table | Mapping[int, int] | None = None,
        image_folder: str = places.IMAGES,
        label_folder: str = places.LABELS,
        orientation: str = "exif",
        ignore: int = 255,
        colors: Sequence[Color] = (),
        names: Sequence[tuple[str, str]] = (),
        undrawn: str = "",
        unlabelled: str = "refuse",
        overlaps: str = OVERLAPS[0],
        channels: int = 0,
    ):
        for setting, value, known in (
            ("orientation", orientation, images.ORIENTATIONS),
            ("overlaps", overlaps, OVERLAPS),
        ):
            if value not in known:
                raise InputError(f"data.{setting} = {value!r}; choose from {', '.join(known)}")
        place = places.places(Path(root).expanduser(), split, image_folder, label_folder)
        key = keys.find(place.for_keys())
        turn = orientation == "exif"
        found = arrangement.find(place, unlabelled)
        if not isinstance(classes, Classes):
            listed = found.many.content.names if found.many else ()
            classes = _classes(classes, ignore, colors, key, undrawn, listed, place)
        if undrawn and undrawn not in classes.names:
            raise InputError(
                f"data.undrawn = {undrawn!r} is none of the classes {', '.join(classes.names)}"
            )
        if isinstance(table, Mapping):
            table = Table.of(table, classes)
        reading = Reading(
            classes=classes,
            meaning=Meaning(classes, table),
            colors=_own_colors(classes, colors),
            renamed=tuple((there, meant) for there, meant in names),
            undrawn=classes.names.index(undrawn) if undrawn else classes.ignore,
            overlaps=overlaps,
            turn=turn,
        )
        for there, meant in reading.renamed:
            if meant and meant not in classes.names:
                raise InputError(
                    f"data.label_names: {there!r} is to be {meant!r}, which is none of the classes"
                    f" {', '.join(classes.names)}"
                )
        if key is not None:
            reading = _explained(reading, key)
        self.notes = found.notes
        self._place, self._numbered = place, bool(table)
        self._reading, self._key, self._many = reading, key, found.many
        if found.many is None:
            tree: Tree = Folder(place.labels)
            own = [place.labels / label for _, _, label in found.pairs if label]
            every = _label_images(place, found.pairs)
            self._reading, notes = sampled.settle(reading, own, every, numbered=bool(table))
            self.notes = (*notes, *self.notes)
            labels: Any = FormatLabels(tree, self._reading)
        else:
            labels = CollectionLabels(found.many, self._reading)
        if unlabelled == "all":
            labels = NoLabels(classes.ignore)
        elif unlabelled == "ignore":
            labels = OrNone(labels, classes.ignore)
        super().__init__(
            Folder(place.images), labels, found.pairs, classes, turn=turn, channels=channels
        )

    def numbers(self) -> tuple[Path, list[Path], Table | None] | None:
        """For labels that are images of one number a pixel, in a folder of their own.

        Returns:
          The folder of all splits' labels, the file of each record (where it would be, for an image
          without a label), and the meaning of the numbers (None where they are class indices); None
          for labels of any other kind.
        """
        place, names = self._place, [label for _, _, label in self._pairs]
        if self._many is not None or place.beside or place.inner:
            return None
        plain = {pixels.INDEX.title, pixels.MASK.title, OrNone.TITLE}
        if any(self._labels.title(name) not in plain for name in names):  # type: ignore[attr-defined]
            return None
        files = [place.labels / (label or f"{key}.png") for key, _, label in self._pairs]
        if not all(place.label_root in path.parents for path in files):
            return None
        return place.label_root, files, self._reading.meaning.table

    def palettes(self) -> list[tuple[str, bytes]]:
        """File and palette that the label images of the split agree with; none without one."""
        hidden = isinstance(self._labels, NoLabels)
        return [self._reading.palette] if self._reading.palette and not hidden else []

    def about(self) -> list[str]:
        """Lines on what the labels are, what defines their meaning, and what was left alone."""
        reading, classes = self._reading, self.classes
        formats: Counter[str] = Counter()
        chosen = spread(len(self), sampled.NUMBER)
        for index in chosen:
            formats[self._labels.title(self._pairs[index][2])] += 1  # type: ignore[attr-defined]
        titles = ", ".join(
            title if len(formats) == 1 else f"{title} ({number} of {len(chosen)} read)"
            for title, number in formats.most_common()
        )
        lines = [f"labels are {titles}" + (f", {self._many.path}" if self._many else "")]
        if reading.masks:
            lines.append(f"0 is {classes.names[0]} and 255 is {classes.names[1]}")
        if self._key is not None:
            lines.append(f"classes are explained by {self._key.path}")
        undrawn = reading.undrawn
        if set(formats) <= {pixels.INDEX.title, pixels.MASK.title, OrNone.TITLE}:
            if undrawn != classes.ignore and self._key is None:
                lines.append(
                    f"data.undrawn = {classes.names[undrawn]!r} has no effect: every pixel of these"
                    " labels has a number, which data.label_values may give another meaning"
                )
        else:
            meant = "ignored" if undrawn == classes.ignore else classes.names[undrawn]
            over = {"later": "later shapes over earlier ones", "small": "small ones over large"}
            lines.append(f"what nobody drew is {meant}; {over[reading.overlaps]}")
        if self._numbered and set(formats) <= {pixels.COLORED.title, OrNone.TITLE}:
            lines.append("data.label_values has no effect: the labels are colours, not numbers")
        return lines + list(self.notes)


def _classes(
    names: Sequence[str],
    ignore: int,
    colors: Sequence[Color],
    key: Key | None,
    undrawn: str,
    listed: Sequence[str],
    place: Places,
) -> Classes:
    """The classes that a config means, or else a class file or the labels name."""
    if len(names) == 1 and names[0] in BY_NAME:
        known = BY_NAME[names[0]]
        return Classes(known.names, known.colors, ignore)
    names = tuple(names)
    if not names and key is not None:
        names = key.classes(undrawn)
    if not names:
        names = tuple(name for name in listed if name == undrawn or name not in BACKGROUND)
    if not names:
        raise InputError(
            "classes is empty; list the class names in the order of the label values, name one of"
            f" {', '.join(BY_NAME)}, or put a classes.txt with a name a line into {place.root}"
        )
    if colors:
        return Classes(names, tuple((r, g, b) for r, g, b in colors), ignore)
    shown = dict(zip(key.names, key.colors, strict=True)) if key and key.colors else {}
    made_up = generic(names, ignore)
    if not all(name in shown for name in names):
        return made_up
    return Classes(names, tuple(shown[name] for name in names), ignore)


def _own_colors(classes: Classes, colors: Sequence[Color]) -> tuple[tuple[Color, int], ...]:
    """Those that the settings give the classes. Raises InputError for two of one colour."""
    if colors and len(colors) != classes.number:
        raise InputError(
            f"data.colors has {len(colors)} colours for {classes.number} classes; give one for each"
        )
    own = [(red, green, blue) for red, green, blue in colors]
    double = next((color for color in own if own.count(color) > 1), None)
    if double is not None:
        raise InputError(f"data.colors gives {double} to two classes; their colours must differ")
    return tuple((color, k) for k, color in enumerate(own))


def _explained(reading: Reading, key: Key) -> Reading:
    """With what a class file says of numbers and colours, where the settings say nothing."""
    meant = {name: reading.named(name) for name in key.names}
    for name in key.unevaluated:
        if meant[name] is None:
            meant[name] = reading.classes.ignore
    if not set(meant) & set(reading.classes.names) and not reading.renamed:
        raise InputError(
            f"{key.path}: names {', '.join(key.names[:8])}, and none of these is a class of"
            f" data.classes = {','.join(reading.classes.names[:8])}; correct one of the two, or"
            " pair the names by data.label_names"
        )
    classes = reading.classes
    if reading.meaning.table is None:
        values = {
            number: value
            for number, name in zip(key.numbers, key.names, strict=True)
            if (value := meant[name]) is not None and 0 <= number < 256
        }
        numbered = tuple(zip(key.numbers, key.names, strict=True))
        plain = all(values.get(k) == k for k in range(classes.number))
        if plain and len(values) == classes.number:
            meaning = Meaning(classes, None, numbered)
        else:
            table = Table.of({classes.ignore: classes.ignore} | values, classes)
            meaning = Meaning(classes, table, numbered)
        reading = replace(reading, meaning=meaning)
    if not reading.colors and key.colors:
        colored = [
            (color, value)
            for color, name in zip(key.colors, key.names, strict=True)
            if (value := meant[name]) is not None
        ]
        reading = replace(reading, colors=tuple(colored))
    return reading


def _label_images(place: Places, pairs: Sequence[tuple[str, str, str]]) -> list[Path]:
    """The label images of all splits; where they lie beside the images, of this one."""
    if place.beside:
        found = [place.labels / label for _, _, label in pairs if label]
    elif place.inner:
        above = place.root.glob(f"*/{place.label_folder}")
        found = [folder / name for folder in sorted(above) for name in Folder(folder).names()]
    else:
        found = [place.label_root / name for name in Folder(place.label_root).names()]
    return [path for path in found if path.suffix.lower() in images.SUFFIXES]
