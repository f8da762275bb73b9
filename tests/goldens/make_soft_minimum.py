"""Makes soft_minimum.npz: the image scores of Lad and Mueller, by their own implementation.

    pip install cleanlab==2.9.0
    python tests/goldens/make_soft_minimum.py

Made with cleanlab 2.9.0 and numpy 2.4.6, in an environment of its own.
"""

from pathlib import Path

import numpy as np
from cleanlab.segmentation.rank import get_label_quality_scores

IMAGES, CLASSES, HEIGHT, WIDTH = 6, 4, 9, 13
TEMPERATURES = (0.1, 0.3)


def main():
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((IMAGES, CLASSES, HEIGHT, WIDTH))
    likelihoods = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = rng.integers(0, CLASSES, (IMAGES, HEIGHT, WIDTH))
    labels[:3] = likelihoods[:3].argmax(1)  # right, but for a few pixels of two images
    labels[1, 2, 3] = (labels[1, 2, 3] + 1) % CLASSES
    labels[2, :4, :4] = 0
    scores = [
        get_label_quality_scores(
            labels, likelihoods, method="softmin", temperature=t, verbose=False
        )[0]
        for t in TEMPERATURES
    ]
    np.savez_compressed(
        Path(__file__).with_name("soft_minimum.npz"),
        likelihoods=np.moveaxis(likelihoods, 1, -1),
        labels=labels.astype(np.uint8),
        temperatures=TEMPERATURES,
        scores=np.stack(scores),
    )


if __name__ == "__main__":
    main()
