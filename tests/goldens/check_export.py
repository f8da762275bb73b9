"""Loads networks exported by mmsegmentation's names there, strictly, and compares the logits.

In the project's environment, then in the one that mmsegmentation.py describes:

    python tests/goldens/check_export.py write FOLDER
    python tests/goldens/check_export.py judge FOLDER
"""

import sys
from pathlib import Path

import fill
import numpy as np

NAMES = {
    "deeplabv3plus_resnet18": 19,
    "deeplabv3plus_resnet101": 19,
    "deeplabv3plus_resnest101": 150,
    "ocr_resnet101": 19,
}
SIZE = (1, 65, 97)


def write(folder):
    import jax
    from flax import nnx

    from arm_jax import networks
    from arm_jax.weights import export

    for name, num_classes in NAMES.items():
        model = networks.create(name, num_classes, rngs=nnx.Rngs(0))
        randomise(model)
        graphdef, state = nnx.split(model)
        images = fill.images(*SIZE).transpose(0, 2, 3, 1)

        def evaluate(state, images, graphdef=graphdef):
            return nnx.merge(graphdef, state)(images, auxiliary=True)

        main, auxiliary = jax.jit(evaluate)(state, images)
        export.save_safetensors(model, folder / f"{name}.safetensors", "mmsegmentation")
        np.savez(folder / f"{name}.npz", main=main, auxiliary=auxiliary)


def randomise(model):
    """Fresh statistics and gammas hide mistakes: 0 and 1 everywhere."""
    from arm_jax.weights import weight_names

    for name, variable in weight_names.variables(model).items():
        if not name.endswith("kernel"):
            values = np.random.default_rng(len(name)).uniform(0.5, 1.5, variable.shape)
            variable.set_value(values.astype(np.float32) * (0.3 if "conv3" in name else 1))


def judge(folder):
    import mmsegmentation
    import safetensors.torch
    import torch

    for name in NAMES:
        model = mmsegmentation.build(name)
        state = safetensors.torch.load_file(folder / f"{name}.safetensors")
        model.load_state_dict(state, strict=True)
        with torch.no_grad():
            both = mmsegmentation.logits(model, torch.from_numpy(fill.images(*SIZE)))
        expected = np.load(folder / f"{name}.npz")
        for part, got in zip(("main", "auxiliary"), both, strict=True):
            ours = expected[part].transpose(0, 3, 1, 2)
            error = np.abs(got.numpy() - ours).max() / np.abs(ours).max()
            print(f"{name} {part}: relative difference {error:.1e}")
            assert error < 1e-4


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    {"write": write, "judge": judge}[sys.argv[1]](folder)
