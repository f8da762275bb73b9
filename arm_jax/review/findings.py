"""What a review keeps of many images, in bounded memory."""

import hashlib
import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from arm_jax.data.labels import Classes
from arm_jax.review import confusions, groups, images, refit, regions
from arm_jax.review.regions import Region

# Regions of the kinds that are reported apart, by score.
MOST_APART = 200


@dataclass(frozen=True)
class Seen:
    """One image: what `look` finds, and what remains of its likelihoods.

    Attributes:
      index: of the image in its source.
      name: its id.
      size: (h, w).
      found: see `regions.find`.
      soft_minimum: see `images.soft_minimum`.
      labelled: share of the pixels that have a label.
      agreement: share of these whose label is the prediction; nan for an empty label.
      digest: of the label, see `digest`.
      label, prediction: small copies, see `images.small`.
      confusion: see `confusions.counts`.
    """

    index: int
    name: str
    size: tuple[int, int]
    found: list[Region]
    soft_minimum: float
    labelled: float
    agreement: float
    digest: str
    label: np.ndarray
    prediction: np.ndarray
    confusion: np.ndarray


def look(
    index: int, name: str, image: np.ndarray, label: np.ndarray, probabilities: np.ndarray
) -> Seen:
    """Judge one image.

    Args:
      index, name: of the image.
      image: uint8 (h, w, 3) RGB.
      label: uint8 (h, w); values from C on are no label.
      probabilities: float (h, w, C).
    """
    number = probabilities.shape[-1]
    predicted = probabilities.argmax(-1).astype(np.uint8)
    labelled = label < number
    rows, columns = np.nonzero(labelled)
    given = probabilities[rows, columns, label[rows, columns]]
    return Seen(
        index=index,
        name=name,
        size=(label.shape[0], label.shape[1]),
        found=regions.find(probabilities, label, image),
        soft_minimum=images.soft_minimum(given),
        labelled=float(labelled.mean()),
        agreement=float((predicted == label)[labelled].mean()) if len(rows) else float("nan"),
        digest=digest(label),
        label=images.small(label),
        prediction=images.small(predicted),
        confusion=confusions.counts(label, predicted, number),
    )


@dataclass(frozen=True)
class Item:
    """A region with its image, or a whole image: one line of the CSV, one card of the page.

    Attributes:
      key: see `key`; another review of the same labels gives it again.
      index, image: of the image in its source.
      size: (h, w) of the image.
      region: for `swapped` and `empty`, the whole image.
      score: what it is sorted by: the region's own, or the refitted likelihood.
      group: its number; items of one group are of one kind.
      digest: of the image's label, see `digest`.
      other: the image that the label of this one belongs to, for kind `swapped`.
    """

    key: str
    index: int
    image: str
    size: tuple[int, int]
    region: Region
    score: float
    group: int = -1
    digest: str = ""
    other: str = ""


@dataclass(frozen=True)
class Image:
    """The scores of one image, and the digest of its label.

    Attributes:
      worst: the highest score of its regions.
      soft_minimum, labelled, agreement, digest: see `Seen`.
    """

    name: str
    worst: float
    soft_minimum: float
    labelled: float
    agreement: float
    digest: str

    @property
    def score(self) -> float:
        """What images are sorted by: 1 - (1 - worst) * soft minimum, in [0, 1].

        A wrong label is there unless neither a region nor the least likely pixels tell of one.
        """
        return 1 - (1 - self.worst) * self.soft_minimum


@dataclass
class Findings:
    """The worst `most` regions of all images seen, what is reported apart, and the tables.

    `add` images in any order; memory grows by 1.5 KiB an image.
    """

    classes: Classes
    most: int = 2000
    images: dict[int, Image] = field(default_factory=dict)
    matrix: np.ndarray = field(init=False)
    edges: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.matrix = np.zeros(2 * (self.classes.number,), np.int64)
        self._mistakes: list[tuple[float, int, Item]] = []
        self._apart: list[tuple[float, int, Item]] = []
        self._order = itertools.count()
        self._small: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._sizes: dict[int, tuple[int, int]] = {}

    def add(self, seen: Seen) -> None:
        """Take in one image."""
        self.matrix += seen.confusion
        self._small[seen.index] = seen.label, seen.prediction
        self._sizes[seen.index] = seen.size
        worst = 0.0
        for region in seen.found:
            item = Item(
                key=key(seen.name, region),
                index=seen.index,
                image=seen.name,
                size=seen.size,
                region=region,
                score=region.score,
                digest=seen.digest,
            )
            if region.kind in regions.MISTAKES:
                worst = max(worst, region.score)
                self._keep(self._mistakes, item, self.most)
            else:
                self._keep(self._apart, item, MOST_APART)
            if region.kind == "edge":
                pair = self.edges.setdefault((region.given, region.proposed), [0, 0])
                pair[0] += 1
                pair[1] += region.area
        self.images[seen.index] = Image(
            seen.name, worst, seen.soft_minimum, seen.labelled, seen.agreement, seen.digest
        )

    def _keep(self, heap: list[tuple[float, int, Item]], item: Item, most: int) -> None:
        # Of equal scores the earlier one stays.
        entry = (item.score, -next(self._order), item)
        if len(heap) < most:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def whole_images(self) -> list[Item]:
        """Labels of other images and empty labels: `swapped`, surest first, then `empty`."""
        order = sorted(self._small)
        found = []
        for one in images.swapped(
            [self._small[index][0] for index in order],
            [self._small[index][1] for index in order],
            self.classes.number,
        ):
            index, other = order[one.index], order[one.other]
            item = self._whole(index, "swapped", one.gain)
            found.append(replace(item, other=self.images[other].name))
        empty = [index for index in order if self.images[index].labelled == 0]
        return found + [self._whole(index, "empty", 1.0) for index in empty]

    def _whole(self, index: int, kind: str, score: float) -> Item:
        height, width = self._sizes[index]
        none = self.classes.number
        corners = [(0, 0), (0, height - 1), (width - 1, height - 1), (width - 1, 0)]
        region = Region(
            kind=kind,
            given=none,
            proposed=none,
            score=score,
            margin=score,
            evidence=score,
            size=1.0,
            reach=1.0,
            area=height * width,
            box=(0, 0, width, height),
            rings=(np.array(corners, np.int32),),
            color=(0.0, 0.0, 0.0),
            center=(0.5, 0.5),
        )
        image = self.images[index]
        return Item(
            key=key(image.name, region),
            index=index,
            image=image.name,
            size=(height, width),
            region=region,
            score=score,
            digest=image.digest,
        )

    def items(self) -> list[Item]:
        """The mistakes, worst first, with the number of their group."""
        items = [item for _, _, item in sorted(self._mistakes, key=_worst_first)]
        numbers = groups.grouped([item.region for item in items])
        return [replace(item, group=group) for item, group in zip(items, numbers, strict=True)]

    def apart(self) -> list[Item]:
        """What is no mistake, or perhaps none: kinds `edge` and `unlabelled`, worst first."""
        return [item for _, _, item in sorted(self._apart, key=_worst_first)]


def _worst_first(entry: tuple[float, int, Item]) -> tuple[float, int]:
    return -entry[0], -entry[1]


def key(image: str, region: Region) -> str:
    """A digest of an image's name and what is proposed for which pixels of it."""
    head = repr((image, region.kind, region.given, region.proposed)).encode()
    return _hashed(head, *(np.ascontiguousarray(ring, "<i4").tobytes() for ring in region.rings))


def digest(label: np.ndarray) -> str:
    """A digest of a uint8 (h, w) label: what a decision was made on."""
    return _hashed(repr(label.shape).encode(), np.ascontiguousarray(label, np.uint8).tobytes())


def _hashed(*parts: bytes) -> str:
    """12 hexadecimal digits behind an x, without which spreadsheets take some for numbers."""
    found = hashlib.blake2b(digest_size=6)
    for part in parts:
        found.update(part)
    return f"x{found.hexdigest()}"


def decided(items: Sequence[Item], decisions: Mapping[str, bool]) -> tuple[list[Item], bool]:
    """The items that are left to decide, sorted by the score as the decisions have refitted it.

    Args:
      items: as from `Findings.items`.
      decisions: key -> accepted or not; keys of no item are left alone.

    Returns:
      The rest, and whether there were decisions enough to refit the score.
    """
    known = {n: decisions[item.key] for n, item in enumerate(items) if item.key in decisions}
    scores = refit.refitted([item.region for item in items], known)
    rest = [n for n in range(len(items)) if n not in known]
    if scores is None:
        return [items[n] for n in rest], False
    rest.sort(key=lambda n: -scores[n])
    return [replace(items[n], score=float(scores[n])) for n in rest], True
