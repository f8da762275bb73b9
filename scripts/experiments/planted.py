"""How well does a review find label errors that were planted with a known key?

    python scripts/experiments/planted.py --workdir runs/planted --weights WEIGHTS --camvid CAMVID

Scenes drawn by `arm_jax.data.scenes`, and images of CamVid if its folder is given, get label errors
of six kinds: a wrong class for 1, 3 or 10 % of the components, 10 % of the small components
dropped, the labels of 5 % of the images swapped in pairs, those of 5 % shifted. A small network on
features of a frozen trunk (ResNet-50, ImageNet) learns from
them in three ways: plainly; by 3 folds, each image being judged by a network that was not trained
on it; and correcting labels while it trains, where its running average is sure of another class.
From the same likelihoods regions and images are then ranked in three ways:

    review     `arm_jax.review`
    disagree   connected components of the label by the mean of 1 - p(given), as Rottmann and Reese,
               arXiv 2207.06104; images by their worst component
    softmin    images by the soft minimum of Lad and Mueller, arXiv 2307.05080

The results go to results.jsonl, a line for each setting and seed, and are not computed again; the
tables to table.md. docs/review.md has them.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import numpy as np
from planted_data import CELLS, NOISES, REVIEWED, TRAINING, Data, key_of, planted, prepared
from planted_networks import NETWORKS, likelihoods, miou
from planted_rankings import Ranked, corrected, image_precision, measured, rank
from planted_tables import tables

from arm_jax.review import masks
from arm_jax.system import command_line, files


def closed_loop(data: Data, noisy: np.ndarray, ranked: Ranked, seed: int) -> dict[str, float]:
    """mIoU of networks trained on clean and noisy labels, and after N regions were reviewed.

    What is accepted gets the class that the review proposed, right or not.
    """
    found = {
        "clean": miou(data, data.labels[:TRAINING], seed),
        "noisy": miou(data, noisy, seed),
    }
    for most in REVIEWED:
        labels = noisy.copy()
        for n in range(min(most, len(ranked.region)) - 1, -1, -1):
            region = ranked.region[n]
            if region is not None and ranked.error[n] >= 0:
                mask = masks.filled(region.rings, labels.shape[1:])
                labels[int(ranked.image[n])][mask] = region.proposed
        found[str(most)] = miou(data, labels, seed)
    return found


def run(data: Data, noise: str, seed: int, workdir: Path) -> dict:
    """One line of the results; the likelihoods stay in `workdir`, for another score."""
    noisy = planted(data, noise, seed)
    keys, errors = key_of(data, noisy)
    bad = np.array([(key >= 0).any() for key in keys])
    line: dict = {"data": data.name, "noise": noise, "seed": seed, "errors": errors}
    line["bad images"] = int(bad.sum())
    for kind in NETWORKS:
        path = workdir / f"{data.name}-{NOISES.index(noise)}-{kind}-{seed}.npy"
        if not path.exists():
            with files.whole(path) as temporary, open(temporary, "wb") as file:
                np.save(file, likelihoods(data, noisy, kind, seed))
        likely = np.load(path)
        ranked, scores, swapped = rank(data, noisy, likely, keys)
        line[kind] = {
            "regions": {name: measured(one, errors) for name, one in ranked.items()},
            "images": {name: image_precision(one, bad) for name, one in scores.items()},
            "swapped": [len(swapped), sum(bool(bad[one.index]) for one in swapped)],
        }
        if kind == "folds" and noise == "wrong 10 %":
            line["decisions"] = {n: corrected(ranked["review"], n) for n in (20, 50, 100, 200)}
            line["loop"] = closed_loop(data, noisy, ranked["review"], seed)
    return line


@command_line.answered
def main() -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="features and results")
    parser.add_argument("--weights", required=True, help="of a ResNet-50: a file or hf://")
    parser.add_argument("--variant", default="caffe", help="of the weights; '' for torchvision's")
    parser.add_argument("--camvid", help="the folder of CamVid; scenes alone if not given")
    parser.add_argument("--seeds", default="0,1,2", help="e.g. 0,1,2")
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    return experiment(arguments)


def experiment(arguments: argparse.Namespace) -> int:
    """What is not in results.jsonl yet, then the tables."""
    results = arguments.workdir / "results.jsonl"
    lines = [json.loads(x) for x in results.read_text().splitlines()] if results.exists() else []
    there = {(one["data"], one["noise"], one["seed"]) for one in lines}
    kinds = list(CELLS) if arguments.camvid else ["scenes"]
    for seed, name in itertools.product(map(int, arguments.seeds.split(",")), kinds):
        missing = [noise for noise in NOISES if (name, noise, seed) not in there]
        if not missing:
            continue
        data = prepared(
            name,
            arguments.workdir,
            arguments.weights,
            arguments.variant or None,
            arguments.camvid,
        )
        for noise in missing:
            start = time.process_time()
            line = run(data, noise, seed, arguments.workdir)
            line["cpu_s"] = round(time.process_time() - start, 1)
            # Read back, so that a table made at once is that of a table made later.
            lines.append(json.loads(json.dumps(line)))
            with open(results, "a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{name}, {noise}, seed {seed}: {line['cpu_s']} CPU s", flush=True)
    text = tables(lines)
    (arguments.workdir / "table.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
