"""Semantic segmentation on coarse or noisy labels, with learned per-pixel reweighting.

The method, on plain arrays:

    arm          confidence, the 53-parameter module, the two norms, the objective of both players
    losses       of single pixels: CE, GCE, KL; which pixels OHEM keeps
    variants     other W: monotone, closed-form, tabulated
    diagnostics  the theorem, measured: L(v), W(v), the Hoelder ratio
    optimizer    SGD down for the segmenter and up for ARM; schedules is its learning rate

What trains with it, an arrow pointing only to what stands above:

    networks     DeepLabv3+ and OCR on ResNets and ResNeSts, by name
    weights      pretrained weights in, trained ones out
    data         labelled images to batches
    evaluation   a network on whole images: inference, metrics, files for the servers
    training     the step, the loop, checkpoints; sharding is where arrays live
    experiment   a config to all of these; modes is what `python -m arm_jax.main` does with them
    reporting    pictures and tables of finished runs

`from arm_jax import arm, networks, pretrained, inference` is what a notebook needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arm_jax.evaluation import inference, metrics
    from arm_jax.weights import export, pretrained

__all__ = ["export", "inference", "metrics", "pretrained"]

# Modules of the packages that people reach for by name. They are imported when first used: a
# mistyped flag is answered before JAX has started.
_SHORT_NAMES = {
    "export": "arm_jax.weights.export",
    "inference": "arm_jax.evaluation.inference",
    "metrics": "arm_jax.evaluation.metrics",
    "pretrained": "arm_jax.weights.pretrained",
}


def __getattr__(name: str) -> Any:
    if name in _SHORT_NAMES:
        return importlib.import_module(_SHORT_NAMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
