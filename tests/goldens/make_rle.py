"""Makes rle.json: masks and the compressed run lengths that pycocotools gives them.

    pip install pycocotools && python tests/goldens/make_rle.py

Made with pycocotools 2.0.x; only this script needs it.
"""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco


def main() -> None:
    rng = np.random.default_rng(0)
    masks = [np.zeros((5, 7)), np.ones((5, 7)), np.eye(9, 4), rng.random((13, 11)) < 0.5]
    blocks = np.kron(rng.random((4, 3)) < 0.4, np.ones((9, 30)))
    masks += [blocks, np.roll(blocks, 5, 0)]
    cases = []
    for mask in masks:
        rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle["counts"] = rle["counts"].decode()
        rows = ["".join(str(int(v)) for v in row) for row in mask]
        cases.append({"rle": rle, "pixels": rows})
    Path(__file__).with_name("rle.json").write_text(json.dumps(cases, indent=0) + "\n")


if __name__ == "__main__":
    main()
