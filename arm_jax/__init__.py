"""Semantic segmentation on coarse or noisy labels, with learned per-pixel reweighting.

The rooms of the package. A room uses the rooms above it, and none below it; tests/test_arrows.py
reads this list.

    version      of the package
    system       files, devices, processes, the terminal; nothing about segmentation
    configs      the configs that come with the package
    settings     every setting: default, valid values, what it decides, help
    softmax      of scores, in few passes over them
    losses       of single pixels: CE, GCE, KL; which pixels OHEM keeps
    arm          confidence, the 53-parameter module, the two norms, the objective of both players
    theorem      the theorem, measured: L(v), W(v), the Hölder ratio
    weightings   the table of W(v); monotone and closed-form W
    targets      labels corrected, completed, and weighed at their edges
    contradictions  how sure a teacher must be, by where it contradicts what was drawn
    noise        which label is reported for which class, estimated
    schedules    the learning rate of Sec. 4.2
    optimizer    SGD down for the segmenter and up for ARM
    networks     DeepLabv3+ and OCR on ResNets and ResNeSts, by name
    data         labelled images to batches
    weights      pretrained weights in, trained ones out
    training     one step: what it minimises and maximises, and its state
    evaluation   a network on whole images: inference, metrics, files for the servers
    review       which labels are wrong, ranked, and their correction
    reporting    figures and tables, drawn from what they are given
    consistency  names among the settings, and settings that go together
    experiment   a config to all of these
    run          the folder of a run: the loop, checkpoints, restoring, many runs
    modes        what `python -m arm_jax.main` does
    main         its flags
    commands     `arm-jax COMMAND`: the modes and the scripts
    __main__     the same as `python -m arm_jax`

`from arm_jax import arm, networks, pretrained, inference` is what a notebook needs, and
`arm_jax.load("runs/mine")`, or `"hf://owner/name"`, a trained network.
"""

import importlib
from typing import TYPE_CHECKING, Any

from arm_jax.version import __version__

if TYPE_CHECKING:
    from arm_jax.evaluation import inference, metrics
    from arm_jax.run.hub import load
    from arm_jax.weights import export, pretrained

__all__ = ["__version__", "export", "inference", "load", "metrics", "pretrained"]

# Modules of the packages that people reach for by name. They are imported when first used: a
# mistyped flag is answered before JAX has started.
_SHORT_NAMES = {
    "export": "arm_jax.weights.export",
    "inference": "arm_jax.evaluation.inference",
    "metrics": "arm_jax.evaluation.metrics",
    "pretrained": "arm_jax.weights.pretrained",
}


def __getattr__(name: str) -> Any:
    if name == "load":
        return importlib.import_module("arm_jax.run.hub").load
    if name in _SHORT_NAMES:
        return importlib.import_module(_SHORT_NAMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
