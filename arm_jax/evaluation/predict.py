"""A folder of images, any images of any size, -> labels and overlays."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from tqdm import tqdm

from arm_jax.data import colors, trees
from arm_jax.data.images import SUFFIXES, decode_image
from arm_jax.data.labels import Classes
from arm_jax.evaluation import inference
from arm_jax.evaluation.batching import grouped
from arm_jax.evaluation.inference import Prepared
from arm_jax.evaluation.protocol import Protocol
from arm_jax.networks import Segmenter
from arm_jax.system import files, locks, names, outputs, processes, sharding
from arm_jax.system.errors import InputError
from arm_jax.system.parallel import ordered

# Images read ahead of the devices, images that may wait for others of their size, and results that
# may wait to be written.
READ_AHEAD = 8
MOST_WAITING = 32
UNWRITTEN = 4
# From this many different sizes on, a hint at `Protocol.multiple` is due.
MANY_SIZES = 6


def predict_folder(
    model: Segmenter,
    input_dir: str | Path,
    output_dir: str | Path,
    classes: Classes,
    *,
    protocol: Protocol | None = None,
    batch_size: int = 1,
    mesh: Mesh | None = None,
    threads: int = 4,
    progress: bool = True,
    orientation: str = "exif",
) -> int:
    """Label every image of a folder and its subfolders; no labels are needed.

    For `a/b.jpg` this writes `labels/a/b.png`, a palette PNG whose values are class indices and
    which viewers show in the classes' colours, and `overlays/a/b.jpg`, the colours over the image.
    Every file is whole or absent; those of an earlier run are replaced, if nobody changed them.

    An image that cannot be read does not stop the others: the error comes at the end and names it.

    Args:
      model: as from `networks.create`, in evaluation mode.
      input_dir: folder of images.
      output_dir: new, empty, or of an earlier call; it may lie in `input_dir`, and is not read
        then.
      classes: names and colours of the model's classes.
      protocol: how to run on an image; by default the whole image, once. Every distinct size of
        an image compiles the network anew; `Protocol.multiple` groups them.
      batch_size, mesh: as for `predictions`.
      threads: that read, and as many that write.
      progress: show a bar with images per second, where the output is a terminal.
      orientation: "exif" labels images as viewers show them, "stored" as their pixels lie.

    Returns:
      How many images were labelled.

    Raises:
      InputError: there is no such folder or no image in it, two images would have one output, the
        output cannot be written or holds something else, or some images could not be read.
    """
    if model.num_classes != classes.number:
        raise InputError(
            f"the model has {model.num_classes} classes but {classes.number} names are given"
        )
    protocol = protocol or Protocol()
    input_dir, output_dir = names.local(input_dir), names.local(output_dir)
    outputs.check(output_dir, "predict")
    paths = find_images(input_dir, output_dir)
    planned = [name.as_posix() for path in paths for name in _outputs(path)]
    outputs.claim(output_dir, "predict", planned=planned)
    unreadable: list[InputError] = []
    sizes: set[tuple[int, int]] = set()

    def skip(error: InputError) -> None:
        unreadable.append(error)
        bar.write(f"skipped: {error}")
        bar.update()

    def results() -> Iterator[Prediction]:
        for one in predictions(
            model,
            lambda path: read_image(input_dir / path, turn=orientation == "exif"),
            paths,
            protocol=protocol,
            batch_size=batch_size,
            mesh=mesh,
            threads=threads,
            on_error=skip,
        ):
            new = one.image.shape[:2] not in sizes
            sizes.add(one.image.shape[:2])
            if new and len(sizes) == MANY_SIZES and protocol.multiple is None:
                bar.write(
                    "These images have many different sizes, and each compiles the network anew. "
                    "Padding to multiples of 64 pixels (Protocol.multiple) would be faster."
                )
            yield one

    with (
        locks.held(output_dir),
        tqdm(
            total=len(paths),
            desc="predict",
            unit="image",
            dynamic_ncols=True,
            disable=None if progress else True,
        ) as bar,
    ):
        write = functools.partial(_write, output_dir, classes)
        for _ in ordered(write, results(), threads, threads=True, ahead=UNWRITTEN):
            bar.update()
    if unreadable:
        raise InputError(
            f"{len(unreadable)} of {len(paths)} images could not be read, first {unreadable[0]}; "
            f"the others are in {output_dir}"
        )
    return len(paths)


@dataclass(frozen=True)
class Prediction:
    """One labelled image; the device may still be at work on it."""

    name: Path
    image: np.ndarray
    batch: jax.Array
    number: int

    def label(self) -> np.ndarray:
        """uint8 (h, w) class indices; waits for the device."""
        height, width = self.image.shape[:2]
        return np.asarray(self.batch)[self.number, :height, :width]


def predictions(
    model: Segmenter,
    read: Callable[[Path], np.ndarray],
    names: Sequence[Path],
    *,
    protocol: Protocol,
    batch_size: int = 1,
    mesh: Mesh | None = None,
    threads: int = 4,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[Prediction]:
    """Label images, reading ahead; in order of their names but for images of different sizes.

    Args:
      model: in evaluation mode.
      read: uint8 (h, w, 3) of a name; called in threads; may raise InputError.
      names: of the images.
      protocol: how to run on an image.
      batch_size: images in work at a time, over all devices.
      mesh: devices of this process; by default the first one.
      threads: that read.
      on_error: called with what `read` raised; by default that is raised.
    """
    mesh = sharding.make_mesh(jax.local_devices()[:1]) if mesh is None else mesh
    sharding.local_batch_size(batch_size, mesh)
    graphdef, state = nnx.split(model)
    state = processes.local_copy(mesh, state)
    put = functools.partial(sharding.shard_batch, mesh)

    def prepared(name: Path) -> InputError | tuple[Path, np.ndarray, Prepared]:
        try:
            image = read(name)
        except InputError as error:
            return error
        return name, image, inference.views(image, protocol)

    def readable() -> Iterator[tuple[Path, np.ndarray, Prepared]]:
        number = READ_AHEAD + batch_size
        for one in ordered(prepared, names, threads, threads=True, ahead=number):
            if not isinstance(one, InputError):
                yield one
            elif on_error is None:
                raise one
            else:
                on_error(one)

    most = max(MOST_WAITING, batch_size)
    for batch in grouped(readable(), lambda one: one[2].group, batch_size, most):
        full = [one[2] for one in batch] + [batch[0][2]] * (batch_size - len(batch))
        found = inference.labels(graphdef, state, full, protocol, put, mesh.size)
        for number, (name, image, _) in enumerate(batch):
            yield Prediction(name, image, found, number)


def find_images(input_dir: Path, output_dir: Path) -> list[Path]:
    """Paths of all images under a folder, relative to it, in order.

    Hidden files and folders, and what lies in `output_dir` or in the output of an earlier command,
    are left out; links are followed.

    Raises:
      InputError: as `predict_folder`.
    """
    if not input_dir.is_dir():
        raise InputError(f"{input_dir} is no folder; give the folder that holds the images")
    output = output_dir.resolve()
    paths = [Path(name) for name in trees.Folder(input_dir).names()]
    below = {folder for path in paths for folder in path.parents[:-1]}
    earlier = {folder for folder in below if outputs.is_output(input_dir / folder)}
    paths = [path for path in paths if earlier.isdisjoint(path.parents)]
    paths = sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES
        # A link that leads to itself cannot be resolved by pathlib.
        and output not in Path(os.path.realpath(input_dir / path)).parents
    )
    if not paths:
        raise InputError(f"{input_dir} holds no image ({', '.join(SUFFIXES)})")
    by_name: dict[Path, Path] = {}
    for path in paths:
        other = by_name.setdefault(path.with_suffix(""), path)
        if other != path:
            raise InputError(
                f"{input_dir}: {other} and {path} would have the same output; rename one of them"
            )
    return paths


def read_image(path: Path, turn: bool = True) -> np.ndarray:
    """uint8 (h, w, 3) RGB of a file, turned as its EXIF orientation says if `turn`.

    Raises InputError when it cannot be read.
    """
    return decode_image(files.read_bytes(path), str(path), turn=turn)


def _outputs(name: Path) -> tuple[Path, Path]:
    """Where the label and the overlay of an image go, below the output."""
    return "labels" / name.with_suffix(".png"), "overlays" / name.with_suffix(".jpg")


def _write(folder: Path, classes: Classes, one: Prediction) -> None:
    label = one.label()
    to_label, to_overlay = (names.below(folder, name.as_posix()) for name in _outputs(one.name))
    colors.write_label(to_label, label, classes)
    blend = colors.overlay(one.image, label, classes)
    colors.write_image(to_overlay, blend)
