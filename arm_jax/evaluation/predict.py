"""Any images of any size -> labels, overlays, and how sure the network is of each."""

import csv
import functools
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from PIL import Image

from arm_jax.data import chosen, colors
from arm_jax.data.labels import Classes
from arm_jax.evaluation import blocks
from arm_jax.evaluation.blocks import Blocks
from arm_jax.evaluation.predictions import UNWRITTEN, Prediction, predictions, read_image
from arm_jax.evaluation.protocol import Protocol
from arm_jax.networks import Segmenter
from arm_jax.networks import input as inputs
from arm_jax.system import files, locks, names, outputs, processes, terminal
from arm_jax.system.errors import InputError
from arm_jax.system.parallel import ordered

# From this many different sizes on, a hint at `Protocol.multiple` is due.
MANY_SIZES = 6
MAPS = {"confidence": ".png", "probabilities": ".npz"}  # what else can be written, and as what
TABLE = "predictions.csv"
COMMAND = "predict"  # as the folder of its output is claimed


def predict_images(
    model: Segmenter,
    images: str | Path,
    output_dir: str | Path,
    classes: Classes,
    *,
    maps: Collection[str] = (),
    threshold: float = 0.0,
    protocol: Protocol | None = None,
    batch_size: int = 1,
    mesh: Mesh | None = None,
    threads: int = 4,
    progress: bool = True,
    orientation: str = "exif",
    cut: Blocks | None = None,
) -> int:
    """Label images; no labels are needed.

    For `a/b.jpg` below the deepest common folder this writes `labels/a/b.png`, a palette PNG whose
    values are class indices and which viewers show in the classes' colours, and
    `overlays/a/b.jpg`, the colours over the image. Every file is whole or absent; those of an
    earlier run are replaced, if nobody changed them. At the end, `predictions.csv` lists the
    images, the least sure first: those to label next.

    A TIFF of more than `Blocks.above` pixels is labelled in blocks, see `blocks`: its labels and
    its confidence are tiled TIFFs, and its overlay is small.

    An image that cannot be read does not stop the others: the error comes at the end and names it.

    The processes of a group share the images, and every one must call this.

    Args:
      model: as from `networks.create`, in evaluation mode.
      images: a file, a folder, a pattern or a list, see `chosen.find`.
      output_dir: new, empty, or of an earlier call; it may lie among the images, and is not read
        then.
      classes: names and colours of the model's classes.
      maps: what else to write, of `MAPS`: "confidence" as `confidence/a/b.png` of 16 bits, whose
        value k means v = 2 k / 65535 - 1 (v by variance, see `arm.confidence`); "probabilities" as
        `probabilities/a/b.npz` with `probabilities`, float16 (h, w, classes), and `classes`.
      threshold: v below which a pixel counts as unsure in `predictions.csv`.
      protocol: how to run on an image; by default the whole image, once. Every distinct size of
        an image compiles the network anew; `Protocol.multiple` groups them.
      batch_size, mesh: as for `predictions.predictions`.
      threads: that read, and as many that write.
      progress: show a bar with images per second, where the output is a terminal.
      orientation: "exif" labels images as viewers show them, "stored" as their pixels lie.
      cut: how large images are cut.

    Returns:
      How many images were labelled.

    Raises:
      InputError: there is no such image, two images would have one output, the output cannot be
        written or holds something else, or some images could not be read.
    """
    if model.num_classes != classes.number:
        raise InputError(
            f"the model has {model.num_classes} classes but {classes.number} names are given"
        )
    protocol = protocol or Protocol()
    output_dir = names.local(output_dir)
    turn, cut = orientation == "exif", cut or Blocks()
    found = processes.from_first(lambda: _claimed(images, output_dir, maps, cut))
    shared = processes.place()[1] > 1
    mine = [found.paths[index] for index in processes.share(len(found.paths))]
    large, small = _by_size(found.root, mine, cut)
    unreadable: list[tuple[Path, InputError]] = []
    sizes: set[tuple[int, int]] = set()

    def skip(path: Path, error: InputError) -> None:
        unreadable.append((path, error))
        if not shared:  # else the first process reports it at the end
            bar.write(f"skipped: {error}")
        bar.update()

    def results() -> Iterator[Prediction]:
        for one in predictions(
            model,
            lambda path: read_image(found.root / path, turn=turn, bands=inputs.of(model)),
            small,
            protocol=protocol,
            batch_size=batch_size,
            mesh=mesh,
            threads=threads,
            on_error=skip,
            beside="probabilities" if "probabilities" in maps else "confidence",
        ):
            new = one.image.shape[:2] not in sizes
            sizes.add(one.image.shape[:2])
            many = len(sizes) == MANY_SIZES and protocol.multiple is None
            if new and many and processes.is_first():
                bar.write(
                    "These images have many different sizes, and each compiles the network anew. "
                    "Padding to multiples of 64 pixels (Protocol.multiple) would be faster."
                )
            yield one

    rows = []
    with (
        processes.held_by_first(lambda: locks.held(output_dir)),
        terminal.bar("predict", total=len(mine), shown=progress) as bar,
    ):
        write = functools.partial(_write, output_dir, classes, maps, threshold)
        label_in_blocks = functools.partial(
            _in_blocks,
            model,
            found.root,
            output_dir,
            classes,
            maps,
            bar,
            cut=cut,
            protocol=protocol,
            turn=turn,
            threshold=threshold,
            mesh=mesh,
        )
        error = None
        try:
            for row in ordered(write, results(), threads, threads=True, ahead=UNWRITTEN):
                rows.append(row)
                bar.update()
            for path in large:
                try:
                    rows.append(label_in_blocks(path))
                    bar.update()
                except InputError as unread:
                    skip(path, unread)
        except InputError as mistake:
            error = mistake
        parts = processes.gathered((rows, unreadable, error))
        for _, _, raised in parts:
            if raised is not None:
                raise raised
        rows = [row for part, _, _ in parts for row in part]
        processes.once(
            lambda: files.write(
                output_dir / TABLE, table(rows, threshold), errors="surrogateescape"
            )
        )
    if skipped := dict(pair for _, part, _ in parts for pair in part):
        in_order = [skipped[path] for path in found.paths if path in skipped]
        if shared:
            terminal.say("\n".join(f"skipped: {error}" for error in in_order))
        raise InputError(
            f"{len(skipped)} of {len(found.paths)} images could not be read, first"
            f" {in_order[0]}; the others are in {output_dir}"
        )
    return len(found.paths)


def _claimed(
    images: str | Path, output_dir: Path, maps: Collection[str], cut: Blocks
) -> chosen.Chosen:
    """The images, found after it is sure that the output may be written."""
    outputs.check(output_dir, COMMAND)
    found = chosen.find(images, output_dir)
    large, _ = _by_size(found.root, found.paths, cut)
    for path in large:
        blocks.refuse_maps(maps, found.root / path)
    planned = [
        name.as_posix()
        for path in found.paths
        for name in _outputs(path, maps, large=path in large).values()
    ]
    outputs.claim(output_dir, COMMAND, planned=[*planned, TABLE])
    return found


@dataclass(frozen=True)
class Summary:
    """A line of `predictions.csv`: mean v, the share of pixels below the threshold, classes."""

    name: str
    confidence: float
    unsure: float
    classes: tuple[str, ...]


def table(rows: Sequence[Summary], threshold: float) -> str:
    """`predictions.csv`, the least sure image first; shares in percent.

    >>> print(table([Summary("a.jpg", 0.9, 0.02, ("road",))], 0.0), end="")
    image,mean confidence,% with v < 0,classes
    a.jpg,0.9000,2.00,road
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "mean confidence", f"% with v < {threshold:g}", "classes"])
    for row in sorted(rows, key=lambda row: (row.confidence, row.name)):
        shown = f"{row.confidence:.4f}", f"{100 * row.unsure:.2f}"
        writer.writerow([row.name, *shown, " ".join(row.classes)])
    return text.getvalue()


def _by_size(root: Path, paths: Sequence[Path], cut: Blocks) -> tuple[list[Path], list[Path]]:
    """The images that are labelled in blocks, and the others; damaged ones are among these."""
    large: list[Path] = []
    small: list[Path] = []
    for path in paths:
        try:
            is_large = blocks.is_large(root / path, cut)
        except InputError:
            is_large = False
        (large if is_large else small).append(path)
    return large, small


def _in_blocks(
    model: Segmenter,
    root: Path,
    output_dir: Path,
    classes: Classes,
    maps: Collection[str],
    bar: Any,
    path: Path,
    **options: Any,
) -> "Summary":
    """Label a large image; what is done of it is shown at the end of the bar."""
    to = {
        kind: names.below(output_dir, name.as_posix())
        for kind, name in _outputs(path, maps, large=True).items()
    }

    def show(done: int, number: int) -> None:
        bar.set_postfix_str(f"{path.name}: {done} of {number} blocks")

    seen = blocks.label(model, root / path, to, classes, on_block=show, **options)
    present = tuple(classes.names[k] for k in seen.classes)
    return Summary(path.as_posix(), seen.confidence, seen.unsure, present)


def _outputs(name: Path, maps: Collection[str] = (), large: bool = False) -> dict[str, Path]:
    """Where everything about an image goes, below the output."""
    endings = {"labels": ".png", "overlays": ".jpg", **{k: MAPS[k] for k in MAPS if k in maps}}
    if large:
        endings |= {kind: ".tif" for kind in ("labels", "confidence") if kind in endings}
    return {kind: kind / name.with_suffix(ending) for kind, ending in endings.items()}


def _write(
    folder: Path, classes: Classes, maps: Collection[str], threshold: float, one: Prediction
) -> Summary:
    label, confidence = one.label(), one.confidence()
    to = {
        kind: names.below(folder, name.as_posix())
        for kind, name in _outputs(one.name, maps).items()
    }
    colors.write_label(to["labels"], label, classes)
    colors.write_image(to["overlays"], colors.overlay(one.image, label, classes))
    if "confidence" in maps:
        steps = np.rint((confidence + 1) / 2 * (2**16 - 1)).astype(np.uint16)
        with files.whole(to["confidence"]) as temporary:
            Image.fromarray(steps).save(temporary, format="PNG")
    if "probabilities" in maps:
        # By an open file, or numpy would add an ending to its name.
        with files.whole(to["probabilities"]) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file, probabilities=one.probabilities(), classes=np.array(classes.names)
            )
    present = tuple(classes.names[k] for k in np.unique(label))
    mean = float(confidence.mean(dtype=np.float64))
    return Summary(one.name.as_posix(), mean, float((confidence < threshold).mean()), present)
