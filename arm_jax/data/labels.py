"""What the label values of a data set mean: class names, colours, and tables from stored values.

Everything after a source sees class indices 0..number-1 and one ignore value, as uint8. A `Table`
turns the values that a file stores (Cityscapes' label ids, ADE20K's one-based classes, anything in
a person's own PNGs) into those indices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from arm_jax.system.errors import InputError

# Never a class and never the ignore value: what a table makes of a value it does not list.
UNKNOWN = 254
MOST_CLASSES = 254


@dataclass(frozen=True)
class Classes:
    """Names and colours (RGB, 0..255) of the classes, in index order, and the ignore value.

    Raises InputError when names and colours differ in number, when a name is blank or occurs
    twice, when there are fewer than two classes or more than a byte can hold, or when the ignore
    value is a class.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ignore: int = 255

    def __post_init__(self) -> None:
        if not 2 <= len(self.names) <= MOST_CLASSES:
            raise InputError(
                f"{len(self.names)} class names are given; between 2 and {MOST_CLASSES} can be used"
            )
        if len(self.colors) != len(self.names):
            raise InputError(
                f"{len(self.names)} class names but {len(self.colors)} colours are given; "
                "give one colour for each class"
            )
        if not all(name.strip() for name in self.names):
            listed = ",".join(self.names)
            raise InputError(f"the class names {listed} have a blank one; name it, or remove it")
        double = sorted({name for name in self.names if self.names.count(name) > 1})
        if double:
            raise InputError(f"class name {double[0]!r} is given twice; names must differ")
        if not len(self.names) <= self.ignore <= 255:
            raise InputError(
                f"ignore = {self.ignore} is one of the classes 0 to {len(self.names) - 1} or no "
                f"byte; choose a value from {len(self.names)} to 255"
            )

    @property
    def number(self) -> int:
        return len(self.names)

    @cached_property
    def palette(self) -> np.ndarray:
        """uint8 (256, 3): the colour of each label value; black for all that are no class."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.number] = self.colors
        return palette


@dataclass(frozen=True)
class Table:
    """A map from stored byte values to class indices and the ignore value.

    `values[stored]` is the class index, the ignore value, or UNKNOWN where the data set gives the
    stored value no meaning.
    """

    values: tuple[int, ...]

    @classmethod
    def of(cls, mapping: Mapping[int, int], classes: Classes) -> "Table":
        """The table that knows exactly the stored values in `mapping`."""
        if classes.ignore == UNKNOWN:
            raise InputError(
                f"value map: the ignore value cannot be {UNKNOWN}, which marks what the map does "
                "not list; use 255"
            )
        values = [UNKNOWN] * 256
        for stored, label in mapping.items():
            if not 0 <= stored <= 255:
                raise InputError(f"value map: the stored value {stored} is not in 0 to 255")
            if not (0 <= label < classes.number or label == classes.ignore):
                raise InputError(
                    f"value map: {stored} -> {label}, but the classes are 0 to "
                    f"{classes.number - 1} and the ignore value is {classes.ignore}"
                )
            values[stored] = label
        return cls(tuple(values))

    @cached_property
    def _lookup(self) -> np.ndarray:
        return np.asarray(self.values, np.uint8)

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """uint8 (h, w) stored values -> uint8 (h, w) class indices, UNKNOWN where not listed."""
        return cv2.LUT(stored, self._lookup)

    def unknown(self, stored: np.ndarray) -> list[int]:
        """The values that occur in `stored` and that the table does not list, in order."""
        counts = np.bincount(stored.reshape(-1), minlength=256)
        return [int(v) for v in np.flatnonzero((counts > 0) & (self._lookup == UNKNOWN))]


class UnknownValues(InputError):
    """A label has values that stand for nothing.

    Attributes:
      stored: integers (256,), all pixels of the label by stored value; None where a table gives
        them another meaning.
    """

    stored: np.ndarray | None = None


@dataclass(frozen=True)
class Meaning:
    """What the stored values of a data set's labels stand for.

    Attributes:
      classes: of the data set.
      table: stored values to class indices; None where labels store class indices already.
      names: pairs of stored value and name, for the message about one that is no class.
    """

    classes: Classes
    table: Table | None = None
    names: tuple[tuple[int, str], ...] = ()

    def __call__(self, stored: np.ndarray, name: str) -> np.ndarray:
        """uint8 (h, w) stored values to class indices and the ignore value, uint8 (h, w).

        Raises InputError, which calls the label `name`, for values that stand for nothing.
        """
        # Finding out whether any value is unknown takes a tenth of the time of counting them all.
        if self.table is not None:
            label = self.table(stored)
            unknown = label == UNKNOWN
        else:
            label = stored
            unknown = (stored >= self.classes.number) & (stored != self.classes.ignore)
        if unknown.any():
            error = _no_class(
                np.bincount(stored[unknown], minlength=256),
                stored.size,
                self.classes,
                name,
                dict(self.names),
            )
            if self.table is None:
                error.stored = np.bincount(stored.reshape(-1), minlength=256)
            raise error
        return label


def check(counts: np.ndarray, classes: Classes, name: str) -> None:
    """Refuse a label that has other values than class indices and the ignore value.

    Args:
      counts: integers (256,), pixels by label value.
      classes: of the label.
      name: what to call the label in the message of the InputError.
    """
    unknown = counts.copy()
    unknown[: classes.number] = 0
    unknown[classes.ignore] = 0
    if unknown.any():
        error = _no_class(unknown, counts.sum(), classes, name)
        error.stored = counts
        raise error


def _no_class(
    unknown: np.ndarray,
    pixels: int,
    classes: Classes,
    name: str,
    names: Mapping[int, str] | None = None,
) -> UnknownValues:
    """The error for `unknown` (256,) of a label's pixels; `names` of values, if there are some."""
    values = [int(value) for value in np.flatnonzero(unknown)]
    called = {value: f" ({word})" for value, word in (names or {}).items()}
    shown = ", ".join(f"{value}{called.get(value, '')}" for value in values[:8]) + (
        ", ..." if len(values) > 8 else ""
    )
    return UnknownValues(
        f"{name}: label values {shown} ({unknown.sum() / pixels:.2%} of the pixels) are none of the"
        f" {classes.number} classes nor ignored; correct the file, the class list or the value map"
    )


def generic(names: tuple[str, ...] | list[str], ignore: int = 255) -> Classes:
    """Classes with made-up colours, far apart also between neighbours in the list.

    The hue turns by the golden angle from class to class; lightness and saturation take turns.
    """
    names = tuple(names)
    index = np.arange(len(names))
    hue = (index * 0.61803398875 * 180 + 8) % 180
    saturation = np.take([215, 140, 255], index % 3)
    value = np.take([235, 190, 140, 255], index % 4)
    hsv = np.stack([hue, saturation, value], -1).astype(np.uint8)[None]
    colors = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0] if names else np.zeros((0, 3), np.uint8)
    return Classes(names, tuple((int(r), int(g), int(b)) for r, g, b in colors), ignore)


def _classes(names: str, colors: str) -> Classes:
    """Classes from comma-separated names and blank-separated hexadecimal RGB colours."""
    return Classes(
        tuple(name.strip() for name in names.split(",")),
        tuple((int(c[0:2], 16), int(c[2:4], 16), int(c[4:6], 16)) for c in colors.split()),
    )


# The 19 evaluated classes and their colours, as cityscapesscripts/helpers/labels.py defines them.
CITYSCAPES = _classes(
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, "
    "terrain, sky, person, rider, car, truck, bus, train, motorcycle, bicycle",
    """804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000
    00008e 000046 003c64 005064 0000e6 770b20""",
)
# `id` of each of those classes in *_labelIds.png, in index order (the same file).
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
# Ids 0 to 33 that are no class are ignored; the licence plate's -1 is 255 in a PNG of bytes.
CITYSCAPES_TABLE = Table.of(
    dict.fromkeys([*range(34), 255], CITYSCAPES.ignore)
    | {stored: index for index, stored in enumerate(CITYSCAPES_IDS)},
    CITYSCAPES,
)

# The 11 classes of the SegNet version of CamVid.
CAMVID = _classes(
    "sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist",
    "808080 800000 c0c080 804080 0000c0 808000 c08080 404080 400080 404000 0080c0",
)

# SegNet's 11 and the usual 255 both mean that there is no label.
CAMVID_TABLE = Table.of({k: k for k in range(11)} | {11: CAMVID.ignore, 255: CAMVID.ignore}, CAMVID)

# PASCAL VOC's 21 classes, in the colours of its palette.
VOC = _classes(
    "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, "
    "dog, horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor",
    """000000 800000 008000 808000 000080 800080 008080 808080 400000 c00000 408000 c08000 400080
    c00080 408080 c08080 004000 804000 00c000 80c000 004080""",
)

# The 150 classes of the scene parsing benchmark and the colours that its tools give them.
ADE20K = _classes(
    """wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
    person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf,
    house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub,
    railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink,
    skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow,
    screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill,
    bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar,
    arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
    television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman,
    bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
    swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food,
    step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket,
    sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate,
    monitor, bulletin board, shower, radiator, glass, clock, flag""",
    """787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d
    787846 08ff33 ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0
    0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06
    ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00
    ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70
    00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99
    ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52
    000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00
    08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff
    9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00
    00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8
    005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff""",
)
# Annotation PNGs store the class plus one, and 0 for what no class covers.
ADE20K_TABLE = Table.of(
    {0: ADE20K.ignore, 255: ADE20K.ignore} | {k + 1: k for k in range(150)}, ADE20K
)

# The generated scenes of `arm_jax.data.scenes`.
STREET_SCENES = _classes(
    "road, pavement, grass, building, fence, vegetation, sky, pole, sign, car, pedestrian",
    "804080 f423e8 98fb98 464646 be9999 6b8e23 4682b4 c8c8a0 dcdc00 00008e dc143c",
)

BY_NAME = {
    "cityscapes": CITYSCAPES,
    "camvid": CAMVID,
    "ade20k": ADE20K,
    "voc": VOC,
    "street_scenes": STREET_SCENES,
}
