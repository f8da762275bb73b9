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
import functools
import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import numpy as np
from planted_data import CELLS, NOISES, TRAINING, Data, key_of, pieces, planted, prepared
from planted_networks import NETWORKS, full_size, likelihoods, miou

from arm_jax.reporting import markdown
from arm_jax.review import findings, groups, images, masks, refit, regions
from arm_jax.review.regions import Region
from arm_jax.system import command_line, files

FIRST = (10, 50, 100)
REVIEWED = (50, 200, 1000)


# Rankings


@dataclass(frozen=True)
class Ranked:
    """A list of regions, best first.

    Attributes:
      image, score: of each.
      error: the number of the planted error that most of its pixels are in; -1 for a right label.
      region: what `review` found; None for the other way.
    """

    image: np.ndarray
    score: np.ndarray
    error: np.ndarray
    region: list[Region | None]


def _error(key: np.ndarray, mask: np.ndarray) -> int:
    """The error that most of a region's pixels are in; -1 where most are right."""
    inside = key[mask]
    if (inside >= 0).mean() < 0.5:
        return -1
    return int(np.bincount(inside[inside >= 0]).argmax())


def rank(
    data: Data, noisy: np.ndarray, likely: np.ndarray, keys: list[np.ndarray]
) -> tuple[dict[str, Ranked], dict[str, np.ndarray], list[images.Swapped]]:
    """Both lists of regions, the images' scores three ways (high is wrong), and swapped images."""
    entries: dict[str, list[tuple]] = {"review": [], "disagree": []}
    scores = {name: np.zeros(TRAINING) for name in ("review", "disagree", "softmin")}
    seen = []
    for index in range(TRAINING):
        label, key = noisy[index], keys[index]
        full = full_size(likely[index], label.shape)
        one = findings.look(index, str(index), data.rgb[index], label, full)
        seen.append((one.label, one.prediction))
        worst = 0.0
        for region in one.found:
            if region.kind in regions.MISTAKES:
                error = _error(key, masks.filled(region.rings, label.shape))
                entries["review"].append((index, region.score, error, region))
                worst = max(worst, region.score)
        scores["review"][index] = 1 - (1 - worst) * one.soft_minimum
        scores["softmin"][index] = 1 - one.soft_minimum
        given = np.take_along_axis(full, np.minimum(label, data.number - 1)[..., None], -1)[..., 0]
        for _, box, mask in pieces(label, data.number):
            value = float(1 - given[masks.within(box)][mask].mean())
            whole = np.zeros(label.shape, bool)
            whole[masks.within(box)] = mask
            entries["disagree"].append((index, value, _error(key, whole), None))
            scores["disagree"][index] = max(scores["disagree"][index], value)
    ranked = {}
    for name, found in entries.items():
        found.sort(key=lambda one: -one[1])
        columns = list(zip(*found, strict=True)) or [(), (), (), ()]
        ranked[name] = Ranked(*(np.array(c) for c in columns[:3]), list(columns[3]))
    swapped = images.swapped(*(list(x) for x in zip(*seen, strict=True)), data.number)
    for one in swapped:
        scores["review"][one.index] += 1 + one.gain
    return ranked, scores, swapped


def measured(ranked: Ranked, errors: int) -> dict[str, float]:
    """Precision among the first, and average precision over the errors that were planted.

    Regions beyond the first one of the same error count neither as hits nor as mistakes.
    """
    hit = ranked.error >= 0
    found = {f"p@{n}": float(hit[:n].mean()) if len(hit) else 0.0 for n in FIRST}
    first = np.zeros(len(hit), bool)
    if hit.any():
        first[np.unique(np.where(hit, ranked.error, -1), return_index=True)[1]] = True
    first &= hit
    right, wrong = np.cumsum(first), np.cumsum(~hit)
    precision = right / np.maximum(right + wrong, 1)
    return {**found, "ap": float(precision[first].sum() / max(errors, 1))}


def image_precision(scores: np.ndarray, bad: np.ndarray) -> float:
    """Average precision of images with an error."""
    order = np.argsort(-scores, kind="stable")
    hit = bad[order]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].mean()) if hit.any() else float("nan")


# Decisions


def corrected(ranked: Ranked, decisions: int) -> dict[str, dict[str, int]]:
    """Right and wrong corrections after this number of decisions by somebody who knows the key.

    one by one  the first regions of the list
    refitted    likewise, but the rest is sorted anew after every 10 decisions
    groups      the decision on a group's first region holds for all of it
    both        groups, sorted anew after every 10 decisions by their first region's score
    """
    wrong, kept = ranked.error >= 0, [one for one in ranked.region if one is not None]
    numbers = np.array(groups.grouped(kept))
    members = [np.flatnonzero(numbers == n) for n in range(numbers.max(initial=-1) + 1)]

    def by_one(sharpen: bool) -> list[int]:
        made: dict[int, bool] = {}
        order = list(range(len(kept)))
        while order and len(made) < decisions:
            for index in order[: min(10, decisions - len(made))]:
                made[index] = bool(wrong[index])
            order = _sorted_anew(kept, made, [n for n in order if n not in made], sharpen)
        return [index for index, accepted in made.items() if accepted]

    def by_group(sharpen: bool) -> list[int]:
        made: dict[int, bool] = {}
        order, used = [int(group[0]) for group in members], 0
        while order and used < decisions:
            for index in order[: min(10, decisions - used)]:
                made |= dict.fromkeys(map(int, members[numbers[index]]), bool(wrong[index]))
                used += 1
            order = _sorted_anew(kept, made, [n for n in order if n not in made], sharpen)
        return [index for index, accepted in made.items() if accepted]

    chosen = {
        "one by one": by_one(False),
        "refitted": by_one(True),
        "groups": by_group(False),
        "both": by_group(True),
    }
    return {
        name: {
            "right": len({int(ranked.error[n]) for n in found if wrong[n]}),
            "wrong": sum(not wrong[n] for n in found),
        }
        for name, found in chosen.items()
    }


def _sorted_anew(
    kept: list[Region], made: dict[int, bool], order: list[int], sharpen: bool
) -> list[int]:
    scores = refit.refitted(kept, made) if sharpen else None
    return order if scores is None else sorted(order, key=lambda n: -scores[n])


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


# Runs and tables


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


def spread(values: list[float], digits: int) -> str:
    """The mean, and behind it the standard deviation of the sample if there are several."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} \u00b1 {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def tables(lines: list[dict]) -> str:
    """The results in Markdown: means over seeds, with the standard deviation of the sample."""
    seeds = ", ".join(map(str, sorted({line["seed"] for line in lines})))
    parts = [ranking_table(lines), decisions_table(lines), loop_table(lines)]
    return (
        "\n\n".join([f"Seeds {seeds}; means \u00b1 standard deviation over seeds.", *parts]) + "\n"
    )


def ranking_table(lines: list[dict]) -> str:
    """How well regions and images with errors are found."""
    ways = [f"{name}: p@10, 50, 100" for name in ("review", "disagree")]
    heads = ["data", "errors", "network", ways[0], "AP", ways[1], "AP"]
    heads += ["images: review", "disagree", "softmin"]
    rows = []
    for data, noise in itertools.product(CELLS, NOISES):
        here = [one for one in lines if (one["data"], one["noise"]) == (data, noise)]
        for kind in NETWORKS if here else ():

            def values(*path: str, here: list[dict] = here, kind: str = kind) -> list[float]:
                return [functools.reduce(dict.__getitem__, path, one[kind]) for one in here]

            cells = [data, f"{noise} ({np.mean([one['errors'] for one in here]):.0f})", kind]
            for name in ("review", "disagree"):
                first = [np.mean(values("regions", name, f"p@{n}")) for n in FIRST]
                cells.append(", ".join(f"{one:.2f}" for one in first))
                cells.append(spread(values("regions", name, "ap"), 2))
            cells += [spread(values("images", n), 2) for n in ("review", "disagree", "softmin")]
            rows.append(cells)
    return markdown.table(heads, rows)


def decisions_table(lines: list[dict]) -> str:
    """Right and wrong corrections after a number of decisions."""
    ways, rows = ("one by one", "refitted", "groups", "both"), []
    for data in CELLS:
        here = [one for one in lines if one["data"] == data and "decisions" in one]
        for number in here[0]["decisions"] if here else ():
            cells = [data, str(number)]
            for way in ways:
                pairs = [one["decisions"][number][way] for one in here]
                both = (spread([pair[k] for pair in pairs], 0) for k in ("right", "wrong"))
                cells.append(" + ".join(both))
            rows.append(cells)
    return markdown.table(["data", "decisions", *ways], rows)


def loop_table(lines: list[dict]) -> str:
    """mIoU of networks trained on what was corrected."""
    names, rows = ("clean", "noisy", *map(str, REVIEWED)), []
    for data in CELLS:
        here = [one["loop"] for one in lines if one["data"] == data and "loop" in one]
        if here:
            rows.append([data, *(spread([one[name] for one in here], 2) for name in names)])
    return markdown.table(["data", *names], rows)


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
