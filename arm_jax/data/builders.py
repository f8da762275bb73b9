"""What the builders under datasets/ have in common.

They hand images over as encoded bytes. TensorFlow Datasets then needs no TensorFlow, and images
are stored as they came, without a second compression.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from arm_jax.data import images
from arm_jax.data.labels import Classes
from arm_jax.data.layouts import Layout
from arm_jax.data.records import compare, fingerprint, named
from arm_jax.system import parallel, processes, terminal
from arm_jax.system.errors import InputError


@dataclasses.dataclass
class Labels(tfds.core.BuilderConfig):
    """The kinds of label, and the splits that have them all."""

    kinds: tuple[str, ...] = ("fine",)
    splits: tuple[str, ...] = ("train", "val")


class LayoutBuilder:
    """What a builder has to do if a `Layout` defines how its files are read.

    Attributes:
      layout: of the official files.
      about: a sentence on the data set.
      image: format of the images as they come.
      progress: whether to show bars.
    """

    layout: Layout
    about: str
    image = "png"
    progress = True
    VERSION = tfds.core.Version("1.0.0")

    name: str
    builder_config: Labels

    def _info(self) -> Any:
        kinds = self.builder_config.kinds
        return information(
            self, self.layout.classes, kinds, description=self.about, image=self.image
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        root = manual_folder(dl_manager)
        return {split: self._generate_examples(root, split) for split in self.builder_config.splits}

    def _generate_examples(self, root: Path, split: str) -> Iterator[tuple[int, dict]]:
        kinds = self.builder_config.kinds
        sources = {kind: self.layout.open(root, split, kind) for kind in kinds}
        return examples(f"{self.name} {split}", sources, self.progress)


@dataclasses.dataclass
class Own(tfds.core.BuilderConfig):
    """A person's own data: split -> source of it."""

    sources: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def own(root: str, sources: Mapping[str, Any]) -> Own:
    """The config of a person's own data, named after the folder and the state of its files.

    Files that were changed are so prepared anew, beside the earlier ones. Raises InputError for the
    name of a split or of an image that a prepared data set cannot have.
    """
    digest = hashlib.blake2b(digest_size=4)
    for split, source in sources.items():
        if not re.fullmatch(r"\w+", split):
            raise InputError(f"--splits={split}: a prepared split is named by letters and digits")
        for one in (named(source, number)[0] for number in range(len(source))):
            if one != one.encode(errors="replace").decode():
                raise InputError(
                    f"{split}: {one!r} is no name in UTF-8, which prepared data ask for; rename the"
                    " image and its label"
                )
        digest.update(f"{split} {fingerprint(source)} {source.classes}".encode())
    start = re.sub(r"\W+", "_", Path(root).resolve().name) or "data"
    # Copies on several hosts differ in the times of their files.
    state = processes.from_first(digest.hexdigest)
    return Own(name=f"{start}_{state}", description=root, sources=sources)


class OwnBuilder:
    """What the builder of a person's own data has to do; its config has the sources."""

    progress = True
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: tuple[Own, ...] = ()

    name: str
    builder_config: Own

    def _info(self) -> Any:
        classes = next(iter(self.builder_config.sources.values())).classes
        about = "Images and labels of one's own, labels as class indices."
        return information(self, classes, ("fine",), description=about)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in self.builder_config.sources}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        source = self.builder_config.sources[split]
        return examples(f"{self.name} {split}", {"fine": source}, self.progress)


def information(
    builder: Any, classes: Classes, labels: tuple[str, ...], *, description: str, image: str = "png"
) -> Any:
    """The DatasetInfo of images in the format `image`, with these kinds of label, and ids.

    The order is the source's, and the classes go with the data.
    """
    label = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format=image),
                **dict.fromkeys(labels, label),
                "id": tfds.features.Text(),
            }
        ),
        metadata=tfds.core.MetadataDict(
            names=classes.names, colors=classes.colors, ignore=classes.ignore
        ),
        disable_shuffling=True,
    )


def manual_folder(manager: Any) -> Path:
    """The folder of the official files that the person named. Raises InputError for none."""
    try:
        return Path(manager.manual_dir)
    except AssertionError:
        raise InputError(
            "the folder of the official files is not there or not given; name it by --source"
        ) from None


def examples(name: str, sources: Mapping[str, Any], progress: bool) -> Iterator[tuple[int, dict]]:
    """Examples with every kind of label that `sources` (kind -> source) has, in order.

    The sources are `FileSource`s of the same images. Raises InputError where their ids differ.
    """
    first = next(iter(sources.values()))
    for kind, source in sources.items():
        if len(source) != len(first):
            raise InputError(
                f"{name}: {len(source)} images have {kind} labels and {len(first)} have "
                f"{next(iter(sources))} ones; complete the files"
            )
    for kind, source in sources.items():
        compare(source, f"{name} {kind}")
    together = parallel.shared_out(partial(_example, dict(sources)), len(first))
    bar = terminal.bar(name, together, total=len(first), shown=progress)
    yield from enumerate(bar)


def _example(sources: dict[str, Any], index: int) -> dict[str, Any]:
    example: dict[str, Any] = {}
    for kind, source in sources.items():
        record = source.encoded(index)
        if example.setdefault("id", record["id"]) != record["id"]:
            raise InputError(
                f"image {index} is {example['id']} for one kind of label and {record['id']} for "
                "the other; complete the files"
            )
        if "image" not in example:
            # What is damaged must not get into a data set that is taken for whole.
            images.verify_image(record["image"].data, f"the image of {record['id']}")
            example["image"] = record["image"].data
        example[kind] = images.encode_png(np.asarray(record["label"]))
    return example
