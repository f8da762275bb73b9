"""Generated street scenes with fine and coarse labels, as a TensorFlow Datasets builder.

Prepare it with `python scripts/prepare.py street_scenes --data_dir DIR`. Images are handed over
as encoded PNGs, so that TensorFlow is not needed.
"""

import dataclasses
from collections.abc import Iterator
from functools import partial

import tensorflow_datasets as tfds

from arm_jax.data import builders, coarsen, images, scenes
from arm_jax.data.labels import STREET_SCENES
from arm_jax.system import parallel, processes, terminal

# Below this many scenes the start of worker processes takes longer than they save.
_WORTH_WORKERS = 1000


@dataclasses.dataclass
class Scenes(tfds.core.BuilderConfig):
    """Size in pixels, scenes by split, and how coarse the coarse labels are."""

    size: tuple[int, int] = (256, 512)
    train: int = 2000
    val: int = 300
    coarsening: str = "medium"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Image, fine label, coarse label and id of each scene."""

    name = "street_scenes"
    progress = True  # whether to show a bar
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        Scenes(name="standard", description="256x512"),
        Scenes(name="demo", description="128x256", size=(128, 256), train=400, val=80),
        Scenes(name="smoke", description="64x128", size=(64, 128), train=16, val=8),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return builders.information(
            self,
            STREET_SCENES,
            ("fine", "coarse"),
            description="Generated street scenes with exact fine labels and simulated coarse ones.",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        return {
            split: self._generate_examples(split, number)
            for split, number in (("train", config.train), ("val", config.val))
        }

    def _generate_examples(self, split: str, number: int) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        draw = partial(_draw, split, config.size, config.coarsening)
        workers = parallel.cores() if number >= _WORTH_WORKERS else 0
        mine = parallel.ordered(draw, processes.share(number), workers)
        bar = terminal.bar(
            f"{self.name} {split}",
            processes.merged(mine, number),
            total=number,
            unit="scene",
            shown=self.progress,
        )
        for index, pictures in enumerate(bar):
            yield index, {**pictures, "id": f"{split}_{index:06d}"}


def _draw(split: str, size: tuple[int, int], coarsening: str, index: int) -> dict[str, bytes]:
    image, fine = scenes.generate(split, index, size)
    coarse = coarsen.coarsen(
        fine,
        STREET_SCENES,
        coarsen.preset(coarsening),
        seed=0,
        name=f"{split}_{index:06d}",
    )
    pictures = {"image": image, "fine": fine, "coarse": coarse}
    return {key: images.encode_png(pixels) for key, pixels in pictures.items()}
