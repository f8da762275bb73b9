"""Training batches without end: shuffled, augmented, and the same for the same (seed, step).

Example number p of the stream, counted over all epochs and processes, is a function of the seed
and p alone: Grain's global shuffle chooses the record, and its random numbers are seeded by p.
So the position is one number, and what a batch holds depends neither on how many workers and
threads made it nor on how many processes share it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from arm_jax.data import augment
from arm_jax.data.features import Features
from arm_jax.data.image_files import ImageFile
from arm_jax.data.mixed import MixedSource, Mixture
from arm_jax.data.records import Source, encoded
from arm_jax.system import signals, workers
from arm_jax.system.errors import InputError

if TYPE_CHECKING:  # Grain imports Orbax, and is imported where batches are made.
    import grain

_ENDLESS = 1 << 48  # examples; Grain counts them in floats here and there


class Augment:
    """Turns a numbered record into an example; called with the example's own random numbers."""

    def __init__(self, *, crop: tuple[int, int], ignore: int, **drawing: Any):
        self._crop, self._ignore, self._drawing = crop, ignore, drawing

    def __call__(self, record: dict, rng: np.random.Generator) -> dict[str, Any]:
        drawn, label = augment.draw(
            rng, record["label"], crop=self._crop, ignore=self._ignore, **self._drawing
        )
        image = record["image"]
        if isinstance(image, ImageFile):
            image = image.part(augment.source_box(drawn))
        image, label, extent = augment.apply(
            image, label, drawn, crop=self._crop, ignore=self._ignore
        )
        return {
            "image": image,
            "label": label,
            "extent": np.array(extent, np.int32),
            "key": rng.integers(0, 1 << 32, 2, dtype=np.uint32),
            "index": np.int64(record["index"]),
        }


class _Numbered:
    """A source whose records carry their number, and their image as a file if it has one."""

    def __init__(self, source: Source):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict:
        return {**encoded(self._source, index), "index": index}


class _Share:
    """One process's examples: a contiguous part of each global batch, from batch `first` on."""

    def __init__(self, stream: "grain.MapDataset", first: int, batch: int, part: slice):
        self._stream, self._first, self._batch, self._part = stream, first, batch, part

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, index: int) -> dict:
        batch, place = divmod(index, self._part.stop - self._part.start)
        return self._stream[(self._first + batch) * self._batch + self._part.start + place]


class Batches:
    """What `training_batches` returns: iterate over it, any number of times."""

    def __init__(
        self,
        stream: "grain.MapDataset",
        source: Source,
        batch: int,
        part: slice,
        workers: int,
        threads: int,
        batch_bytes: int,
    ):
        self._stream, self.records = stream, len(source)
        mixed = source if isinstance(source, MixedSource) else None
        # Of a mixture: the records of each part, and what is done to which records.
        self.parts = list(mixed.numbers) if mixed else None
        self.marks = mixed.marks() if mixed else {}
        self._batch_bytes = batch_bytes
        self.batch, self._part = batch, part
        self._workers, self._threads = workers, threads

    def __iter__(self) -> "BatchIterator":
        return BatchIterator(self)

    def open(self, first: int) -> Iterator:
        """Grain's iterator over this process's share, from batch number `first` on."""
        import grain

        share = _Share(self._stream, first, self.batch, self._part)
        # Batches are made before they are dealt out to threads and workers: the order stays.
        dataset = (
            grain.MapDataset.source(share)
            .batch(self._part.stop - self._part.start)
            .to_iter_dataset(
                grain.ReadOptions(
                    num_threads=self._threads, prefetch_buffer_size=max(2, self._threads)
                )
            )
        )
        if self._workers:
            if not flags.FLAGS.is_parsed():  # Grain asks for one, also in a script without flags
                flags.FLAGS.mark_as_parsed()
            workers.check_shared_memory(self._workers, self._batch_bytes)
            dataset = dataset.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=self._workers),
                worker_init_fn=_start_worker,
            )
        else:
            workers.one_core_each()
        return iter(dataset)


class BatchIterator:
    """Batches in order, with a position that can be saved and returned to."""

    def __init__(self, batches: Batches):
        self._batches = batches
        self._next = 0
        self._opened: Any = None

    def __iter__(self) -> "BatchIterator":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        if self._opened is None:
            with signals.shielded():  # its threads and workers start here
                self._opened = self._batches.open(self._next)
                return self._advance()
        return self._advance()

    def _advance(self) -> dict[str, np.ndarray]:
        batch = next(self._opened)
        self._next += 1
        marks = self._batches.marks
        return {**batch, **{key: values[batch["index"]] for key, values in marks.items()}}

    def get_state(self) -> dict[str, Any]:
        """Where the stream stands after the last batch; the same in every process."""
        parts = self._batches.parts
        return {
            "examples": self._next * self._batches.batch,
            "records": self._batches.records,
            **({} if parts is None else {"parts": parts}),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a position; batches read ahead are dropped.

        Raises InputError when the data set had another number of records then.
        """
        if state["records"] != self._batches.records:
            raise InputError(
                f"the training data have {self._batches.records} records now and had "
                f"{state['records']} when the position was saved; restore them or start afresh"
            )
        if state.get("parts") != self._batches.parts:
            raise InputError(
                f"the sources have {self._batches.parts} records now and had {state.get('parts')}"
                " when the position was saved; restore them or start afresh"
            )
        if state["examples"] % self._batches.batch:
            raise InputError(
                f"the position, {state['examples']} examples, is no whole number of batches of "
                f"{self._batches.batch}; go on with the batch size it was saved with"
            )
        self.close()
        self._next = state["examples"] // self._batches.batch

    def close(self) -> None:
        """Stop threads and workers. Iterating again goes on from the same position."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def training_batches(
    source: Source,
    *,
    crop: tuple[int, int],
    batch_size: int,
    seed: int,
    ratio: tuple[float, float] = (0.5, 2.0),
    base_size: tuple[int, int] | None = None,
    category_limit: float = 0.75,
    flip: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    threads: int = 2,
    features: Features | None = None,
    pixel_bytes: int = 3,
) -> Batches:
    """The shuffled, augmented, endless stream of batches.

    Every epoch visits each record once, in a new order. A batch may span two epochs, and a data set
    may be smaller than a batch. A `MixedSource` has such epochs for each of its parts, and every
    part has its share of the examples, see `mixed.Composition`.

    Args:
      source: the records.
      crop: height, width of the examples.
      batch_size: of the global batch; process i of n gets the i-th of n equal parts.
      seed: of the order, the augmentation and the keys.
      ratio: range of the random resize.
      base_size: short and long side that a resize of 1 means; None for the image's own.
      category_limit: largest share of one class in a crop.
      flip: whether half of the examples are flipped from left to right.
      process_index: of this process.
      process_count: how many processes split the batch.
      workers: processes that read and augment; 0: threads of this process alone.
      threads: in each of those, or in this process.
      features: kept ones to read in place of the images; `ratio` must be (1, 1) then.
      pixel_bytes: of a pixel of the images.

    Returns:
      An iterable. Its iterators yield dicts of image uint8 (b, h, w, 3) (or as the source has it,
      uint16 (b, h, w, bands)), label uint8 (b, h, w), extent int32 (b, 2) (height, width that are
      no padding), key uint32 (b, 2) (random bits for `jitter.jitter`) and index int64 (b,) (the
      record), where b is the process's part; they have `get_state`, `set_state` and `close`. With
      `features`, that by name, float16 (b, h', w', c), stands for the image. Of a mixture, bool
      (b,) by the keys of `MixedSource.marks` says what is done to the example.

    Raises:
      InputError: for an empty source or a value out of its range.
    """
    if len(source) < 1:
        raise InputError("the training data are empty; there must be at least one record")
    if min(crop) < 1:
        raise InputError(f"crop = {crop[0]}x{crop[1]}; both sides must be at least 1")
    if not 0 < ratio[0] <= ratio[1]:
        raise InputError(f"ratio = {tuple(ratio)}; it must rise and be above 0")
    if not 0 < category_limit <= 1:
        raise InputError(f"category_limit = {category_limit}; it must be above 0 and at most 1")
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"batch_size = {batch_size} cannot be split evenly over {process_count} processes; "
            f"choose a multiple of {process_count}"
        )
    drawing: dict[str, Any] = {
        "crop": (crop[0], crop[1]),
        "ignore": source.classes.ignore,
        "category_limit": category_limit,
        "flip": flip,
    }
    records: Any = _Numbered(source)
    transform: Any = Augment(ratio=ratio, base_size=base_size, **drawing)
    if features is not None:
        records, transform = features.labels(source), features.examples(**drawing)
    import grain

    if isinstance(source, MixedSource):
        mixture = Mixture(records, source, seed, _ENDLESS)
        stream = grain.MapDataset.source(mixture).seed(seed).random_map(transform)
    else:
        stream = (
            grain.MapDataset.source(records)
            .seed(seed)
            # A separate seed: a transform added further down does not change the order.
            .shuffle(seed=seed)
            .repeat()
            .random_map(transform)
        )
    local = batch_size // process_count
    part = slice(process_index * local, (process_index + 1) * local)
    # Those of the image and one of the label.
    a_pixel = 1.0 + (pixel_bytes if features is None else features.bytes_a_pixel)
    batch_bytes = int(local * crop[0] * crop[1] * a_pixel)
    return Batches(stream, source, batch_size, part, workers, threads, batch_bytes)


def _start_worker(worker_index: int, worker_count: int) -> None:
    workers.begin()
    workers.one_core_each()
