"""Makes networks_resize.npz: torch's bilinear interpolation, up and down, with odd sizes.

python tests/goldens/make_resize.py        (torch 2.13.0)
"""

from pathlib import Path

import fill
import numpy as np
import torch
import torch.nn.functional as F

# From (height, width) to (height, width): doubled, odd, shrunk, mixed, from one pixel, to one.
CASES = [
    ((8, 12), (16, 24)),
    ((9, 13), (65, 97)),
    ((16, 24), (5, 7)),
    ((13, 7), (8, 29)),
    ((1, 1), (5, 3)),
    ((5, 3), (1, 1)),
    ((17, 33), (64, 130)),
    ((33, 65), (11, 13)),
]


def main():
    arrays = {"versions": np.array(f"torch {torch.__version__}, numpy {np.__version__}")}
    for source, target in CASES:
        images = torch.from_numpy(fill.images(1, *source))
        for align_corners in (False, True):
            resized = F.interpolate(
                images, target, mode="bilinear", align_corners=align_corners, antialias=False
            )
            name = f"{source[0]} {source[1]} {target[0]} {target[1]} {int(align_corners)}"
            arrays[name] = resized[0, 0].numpy()
    np.savez_compressed(Path(__file__).parent / "networks_resize.npz", **arrays)


if __name__ == "__main__":
    main()
