"""Predictions as the benchmarks' servers want them: one zip, checked before it is given its name.

Cityscapes scores single-channel PNGs of label ids (not of training indices) at 2048x1024, named by
city, sequence and frame (cityscapesscripts/evaluation/evalPixelLevelSemanticLabeling.py). ADE20K
scores PNGs of class + 1, where 0 is "other", at the image's own size and under its name.
"""

import functools
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jax.sharding import Mesh

from arm_jax.data import labels
from arm_jax.data.images import decode_image, decode_label, encode_png
from arm_jax.data.labels import Classes, Table
from arm_jax.data.trees import Tree
from arm_jax.evaluation.predictions import UNWRITTEN, Prediction, predictions
from arm_jax.evaluation.protocol import Protocol
from arm_jax.networks import Segmenter
from arm_jax.system import files, terminal
from arm_jax.system.errors import InputError
from arm_jax.system.parallel import ordered


@dataclass(frozen=True)
class Server:
    """What one server wants.

    Attributes:
      name: of the benchmark.
      classes: of the predictions.
      table: from the values in the files to class indices.
      image: pattern of a test image's file name; its first group names the prediction.
      size: (height, width) that every prediction must have; None for the size of its image.
      images: how many test images there are, where the benchmark states it.
    """

    name: str
    classes: Classes
    table: Table
    image: re.Pattern
    size: tuple[int, int] | None = None
    images: int | None = None

    @property
    def values(self) -> np.ndarray:
        """uint8 (classes,): what the server calls each class."""
        return np.array([self.table.values.index(i) for i in range(self.classes.number)], np.uint8)


SERVERS = {
    "cityscapes": Server(
        "Cityscapes",
        labels.CITYSCAPES,
        labels.CITYSCAPES_TABLE,
        image=re.compile(r"([a-z-]+_\d{6}_\d{6}_leftImg8bit)\.png"),
        size=(1024, 2048),
        images=1525,
    ),
    # The paper and the benchmark's own pages give different numbers of test images.
    "ade20k": Server(
        "ADE20K",
        labels.ADE20K,
        labels.ADE20K_TABLE,
        image=re.compile(r"(ADE_(?:test|val)_\d{8})\.jpg"),
    ),
}

# Shape and hash of class indices.
Digest: TypeAlias = tuple[tuple[int, ...], bytes]
# Of every file of a zip, by name.
Digests: TypeAlias = Mapping[str, Digest]


def write_zip(
    model: Segmenter,
    images: Tree,
    target: str | Path,
    server: Server,
    *,
    protocol: Protocol | None = None,
    batch_size: int = 1,
    mesh: Mesh | None = None,
    threads: int = 4,
    progress: bool = True,
) -> list[str]:
    """Label the test images of a benchmark and zip the predictions for its server.

    The zip gets its name only after it was opened again and every prediction in it, read back
    through the label table, was what the network predicted.

    Args:
      model: with the benchmark's classes, in evaluation mode.
      images: `data.trees.Folder` or `Zip` that holds the test images under their official names,
        anywhere in it; if some of them lie in a folder `test`, only those are taken.
      target: path of the zip.
      server: one of `SERVERS`.
      protocol, batch_size, mesh, threads: as for `predictions.predictions`.
      progress: show a bar with images per second.

    Returns:
      Remarks for a person to read, e.g. that some of the benchmark's images are missing.

    Raises:
      InputError: the model has other classes, there are no test images, one cannot be read or has
        another size than the benchmark's, or the zip cannot be written.
    """
    if model.num_classes != server.classes.number:
        raise InputError(
            f"the model has {model.num_classes} classes but {server.name} has "
            f"{server.classes.number}; use a model trained on it"
        )
    names = _test_images(images, server)
    digests: dict[str, Digest] = {}

    def read(path: Path) -> np.ndarray:
        image = decode_image(images.read(path.as_posix()), images.path(path.as_posix()))
        if server.size is not None and image.shape[:2] != server.size:
            raise InputError(
                f"{images.path(path.as_posix())}: is {image.shape[1]}x{image.shape[0]} pixels, but "
                f"{server.name}'s images are {server.size[1]}x{server.size[0]}; use the original"
            )
        return image

    def results() -> Iterator[Prediction]:
        return predictions(
            model,
            read,
            names,
            protocol=protocol or Protocol(),
            batch_size=batch_size,
            mesh=mesh,
            threads=threads,
        )

    with (
        files.whole(target) as temporary,
        terminal.bar(server.name, total=len(names), shown=progress) as bar,
    ):
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            encode = functools.partial(_encode, server)
            for name, data, digest in ordered(
                encode, results(), threads, threads=True, ahead=UNWRITTEN
            ):
                archive.writestr(name, data)
                digests[name] = digest
                bar.update()
        check_zip(temporary, server, digests)
    remarks = [f"{len(names)} predictions for {server.name}, checked"]
    if server.images is not None and len(names) != server.images:
        remarks.append(
            f"{server.name}'s test split has {server.images} images: the server will refuse this "
            f"zip of {len(names)}"
        )
    return remarks


def check_zip(path: Path, server: Server, digests: Digests) -> None:
    """Read every file of a zip as the server will.

    Args:
      path: of the zip.
      server: the one it is meant for.
      digests: of the class indices that each file must hold.

    Raises:
      InputError: the zip or a file in it is broken, or a file holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name, digest in digests.items():
                label = server.table(decode_label(archive.read(name), f"{path}: {name}"))
                if _digest(label) != digest:
                    raise InputError(
                        f"{path}: {name} does not read back as what was predicted; write it again"
                    )
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no whole zip ({error}); write it again") from error


def _test_images(images: Tree, server: Server) -> list[Path]:
    paths = [Path(name) for name in images.names()]
    paths = [path for path in paths if server.image.fullmatch(path.name)]
    paths = [path for path in paths if "test" in path.parts[:-1]] or paths
    if not paths:
        raise InputError(
            f"{images.path('')}: holds no test image of {server.name}; their names match "
            f"{server.image.pattern}"
        )
    by_name: dict[str, Path] = {}
    for path in paths:
        other = by_name.setdefault(path.name, path)
        if other != path:
            raise InputError(
                f"{images.path(path.as_posix())}: there is another image of this name, {other}; "
                "give the folder of one split"
            )
    return paths


def _encode(server: Server, one: Prediction) -> tuple[str, bytes, Digest]:
    label = one.label()
    match = server.image.fullmatch(one.name.name)
    assert match is not None
    return f"{match[1]}.png", encode_png(server.values[label]), _digest(label)


def _digest(label: np.ndarray) -> Digest:
    return label.shape, hashlib.blake2b(label.tobytes(), digest_size=16).digest()
