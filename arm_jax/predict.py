"""A folder of images, any images of any size, -> labels and overlays."""

import functools
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from tqdm import tqdm

from arm_jax import inference, pictures, processes, sharding
from arm_jax.data.images import SUFFIXES, decode_image
from arm_jax.data.labels import Classes
from arm_jax.errors import InputError
from arm_jax.inference import Prepared
from arm_jax.networks import Segmenter
from arm_jax.protocol import Protocol
from arm_jax.readahead import ahead

# Images read ahead of the device, and results that may wait to be written.
READ_AHEAD = 8
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
    threads: int = 4,
    progress: bool = True,
) -> int:
    """Label every image of a folder and its subfolders; no labels are needed.

    For `a/b.jpg` this writes `labels/a/b.png`, a palette PNG whose values are class indices and
    which viewers show in the classes' colours, and `overlays/a/b.jpg`, the colours over the image.
    Every file is whole or absent; those of an earlier run are replaced.

    An image that cannot be read does not stop the others: the error comes at the end and names it.

    Args:
      model: as from `networks.create`, in evaluation mode.
      input_dir: folder of images.
      output_dir: made where it does not exist; it may lie in `input_dir`, and is not read then.
      classes: names and colours of the model's classes.
      protocol: how to look at an image; by default the whole image, once. Every distinct size of
        an image compiles the network anew; `Protocol.multiple` groups them.
      threads: that read, and as many that write.
      progress: show a bar with images per second.

    Returns:
      How many images were labelled.

    Raises:
      InputError: there is no such folder or no image in it, two images would have one output, the
        output cannot be written, or some images could not be read.
    """
    if model.num_classes != classes.number:
        raise InputError(
            f"the model has {model.num_classes} classes but {classes.number} names are given"
        )
    protocol = protocol or Protocol()
    input_dir, output_dir = Path(input_dir), Path(output_dir)
    paths = find_images(input_dir, output_dir)
    graphdef, state = nnx.split(model)
    state = processes.local_copy(sharding.make_mesh(jax.local_devices()[:1]), state)
    unreadable: list[str] = []
    sizes: set[tuple] = set()

    def predictions() -> Iterator[tuple[Path, np.ndarray, jax.Array]]:
        """What is under way on the device; `write` waits for it in a thread of its own."""
        read = functools.partial(_read, input_dir, protocol)
        for path, found in ahead(read, paths, threads=threads, number=READ_AHEAD):
            if isinstance(found, InputError):
                unreadable.append(str(found))
                bar.write(f"skipped: {found}")
                bar.update()
                continue
            image, prepared = found
            sizes.add(prepared.group)
            if len(sizes) == MANY_SIZES and protocol.multiple is None:
                bar.write(
                    "These images have many different sizes, and each compiles the network anew. "
                    "Padding to multiples of 64 pixels (Protocol.multiple) would be faster."
                )
            yield path, image, inference.labels(graphdef, state, [prepared], protocol)

    with tqdm(
        total=len(paths), desc="predict", unit="image", dynamic_ncols=True, disable=not progress
    ) as bar:
        write = functools.partial(_write, output_dir, classes)
        for _ in ahead(write, predictions(), threads=threads, number=UNWRITTEN):
            bar.update()
    if unreadable:
        raise InputError(
            f"{len(unreadable)} of {len(paths)} images could not be read, first {unreadable[0]}; "
            f"the others are in {output_dir}"
        )
    return len(paths)


def find_images(input_dir: Path, output_dir: Path) -> list[Path]:
    """Paths of all images under a folder, relative to it, in order.

    Hidden files and folders, and what lies in `output_dir`, are left out.

    Raises:
      InputError: as `predict_folder`.
    """
    if not input_dir.is_dir():
        raise InputError(f"{input_dir} is no folder; give the folder that holds the images")
    output = output_dir.resolve()
    paths = sorted(
        path.relative_to(input_dir)
        for path in input_dir.rglob("*")
        if path.suffix.lower() in SUFFIXES and output not in path.resolve().parents
    )
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
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


def _read(
    folder: Path, protocol: Protocol, path: Path
) -> tuple[Path, InputError | tuple[np.ndarray, Prepared]]:
    try:
        image = decode_image((folder / path).read_bytes(), str(folder / path))
    except OSError as error:
        return path, InputError(f"{folder / path} cannot be read ({error.strerror})")
    except InputError as error:
        return path, error
    return path, (image, inference.prepare(image, protocol))


def _write(folder: Path, classes: Classes, prediction: tuple[Path, np.ndarray, jax.Array]) -> None:
    path, image, found = prediction
    label = np.asarray(found)[0, : image.shape[0], : image.shape[1]]
    pictures.write_label(folder / "labels" / path.with_suffix(".png"), label, classes)
    blend = pictures.overlay(image, label, classes)
    pictures.write_image(folder / "overlays" / path.with_suffix(".jpg"), blend)
