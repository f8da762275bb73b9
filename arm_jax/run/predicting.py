"""What can be done with a trained network and the settings of its run: labels of any image."""

from pathlib import Path
from typing import Any, overload

import jax
import numpy as np
from flax import nnx

from arm_jax import consistency
from arm_jax import experiment as experiments
from arm_jax.data.labels import Classes
from arm_jax.evaluation import inference
from arm_jax.evaluation.predictions import read_image
from arm_jax.experiment import Experiment
from arm_jax.networks import Segmenter
from arm_jax.system.errors import InputError

Image = str | Path | np.ndarray


class Predicts:
    """A trained network.

    Attributes:
      experiment: the run's settings, and what is made of them.
    """

    experiment: Experiment

    @property
    def model(self) -> Segmenter:
        """The network, in evaluation mode."""
        raise NotImplementedError

    @property
    def classes(self) -> Classes:
        """The names and colours of its classes, in the order of the labels."""
        return self.experiment.classes

    @overload
    def predict(self, image: Image) -> np.ndarray: ...

    @overload
    def predict(self, image: list[Image] | tuple[Image, ...]) -> list[np.ndarray]: ...

    def predict(self, image: Any) -> Any:
        """Class of every pixel, as `--mode predict` finds it.

        Args:
          image: the path of a file, or uint8 (h, w, 3) RGB of any size (uint16 (h, w, bands) for a
            run with `data.channels`); or a list of such.

        Returns:
          uint8 (h, w) indices of `classes`; a list for a list.

        Raises:
          InputError: a file cannot be read, or an array is no image.
        """
        if isinstance(image, list | tuple):
            return [self.predict(one) for one in image]
        return inference.predict(self.model, self._pixels(image), self.experiment.protocol)

    @overload
    def probabilities(self, image: Image) -> np.ndarray: ...

    @overload
    def probabilities(self, image: list[Image] | tuple[Image, ...]) -> list[np.ndarray]: ...

    def probabilities(self, image: Any) -> Any:
        """Likelihood of every class at every pixel: float32 (h, w, classes), summing to 1.

        `predict` is its argmax. Arguments and errors are those of `predict`.
        """
        if isinstance(image, list | tuple):
            return [self.probabilities(one) for one in image]
        protocol = self.experiment.protocol
        scores = inference.class_scores(self.model, self._pixels(image), protocol)
        if protocol.average == "probabilities":
            return scores
        return np.asarray(jax.nn.softmax(scores, axis=-1))

    def _pixels(self, image: Any) -> np.ndarray:
        """The bands of a file or of an array that is one already."""
        if isinstance(image, str | Path):
            turn = self.experiment.config.data.orientation == "exif"
            return read_image(Path(image).expanduser(), turn, self.model.bands)
        bands = self.model.bands
        kind = getattr(image, "dtype", type(image).__name__)
        if kind != bands.dtype or np.ndim(image) != 3 or image.shape[2] != bands.number:
            raise InputError(
                f"an image must be a path or an array of {bands.dtype} (height, width,"
                f" {bands.number}), not {kind} {np.shape(image)}"
            )
        if not all(image.shape):
            raise InputError(f"an image must have pixels, not the shape {image.shape}")
        return image

    def in_precision(self, dtype: str) -> Segmenter:
        """The trained network, but with convolutions in another `model.dtype`."""
        config = consistency.checked(self.experiment.config, {"model.dtype": dtype})
        other = experiments.build(config, self.classes)
        graphdef, _ = nnx.split(nnx.eval_shape(other.create_players).segmenter)
        return nnx.merge(graphdef, nnx.split(self.model)[1])
