"""Several kinds of labels in one run: a few fine ones, many coarse ones, and images without any.

    ROOT/fine/images/   ROOT/fine/labels/       100 images, labelled to the pixel
    ROOT/coarse/images/ ROOT/coarse/labels/     2,900 images, polygons drawn in a minute each
    ROOT/photos/images/                         all that nobody has labelled yet
    ROOT/images/val/    ROOT/labels/val/        to evaluate on

    python -m arm_jax.main --config configs/mixed.py --workdir runs/mixed \
        --config.data.root=ROOT --config.data.classes='("road","building","sky")'

What a source sets holds for it alone; everything else comes from `config.data`. Of
a batch of 8, two crops come from fine/, five from coarse/ and one from photos/: by number of images
alone, a fine one would be in every thirtieth crop of the labelled. ARM weighs the coarse labels,
which it is made for; the fine ones keep the weight 1. What the unlabelled ones teach is the class
that a teacher, an average of the network, is sure of. docs/data.md has more.
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, custom

SOURCES = (
    {"root": "fine", "share": 0.25, "weigh": False},
    {"root": "coarse", "share": 0.625},
    {"root": "photos", "share": 0.125, "labelled": False},
)

# The same three kinds of labels on scenes that are drawn while training.
SMOKE = {
    **base.SMOKE,
    "data.sources": (
        {"name": "fine", "share": 0.25, "weigh": False, "train_labels": "fine", "train_images": 4},
        {"name": "coarse", "share": 0.625, "train_images": 16},
        {"name": "photos", "share": 0.125, "labelled": False, "train_images": 8},
    ),
}


def get_config(argument: str | None = None) -> ConfigDict:
    config = custom.get_config()
    config.data.train_split = ""  # all that is in the folders of a source
    config.data.sources = SOURCES
    config.targets.average = 0.05
    config.targets.complete = "class"
    return base.apply_rows(config, argument, {"smoke": SMOKE})
