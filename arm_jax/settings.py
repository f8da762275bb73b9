"""Every setting once: its default, which values are valid, what it decides, one line of help.

`configs/base.py`, the check of a config, `--config.KEY=VALUE`, `--mode show`, docs/settings.md, and
whether a run may go on with another value all come from the rows of `SETTINGS`. The defaults are
the paper's (Sec. 4.2). Fractions of the run (warm-up, drops, the isolated phase) follow `steps`.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from arm_jax.system.errors import InputError
from arm_jax.system.values import Choice, Flag, Kind, Name, Real, Several, Text, Whole, literal

# What a setting decides.
NETWORK = "network"  # what the trained network computes: the same for as long as a run lives
TRAINING = "training"  # the weights: fixed once there is a checkpoint
DATA = "data"  # the images to train and to evaluate on: as TRAINING, and then free for evaluation
SCORES = "scores"  # how images are evaluated: likewise
NOTHING = "nothing"  # neither weights nor scores: free at every start


@dataclass(frozen=True)
class Setting:
    """One row: a dotted key, its default, the kind of its values, what it decides, and help."""

    key: str
    default: Any
    kind: Kind
    decides: str
    help: str


COUNT, NUMBER, FRACTION = Whole(1), Whole(0), Real(0, 1)
NAME = Name()  # `experiment.TABLES` has the tables
SIZE = Several(COUNT, 2, "height, width")
SIZE_OR_NONE = Several(COUNT, 2, "height, width", optional=True)
LABELS = Choice(("coarse", "fine"))
BYTE = Whole(0, 255)
PAIRS = Several(Several(BYTE, 2, "stored value, class index or data.ignore"), optional=True)

# fmt: off
SETTINGS = tuple(Setting(*row) for row in (
    ("seed", 0, Whole(0, 2**32 - 1), TRAINING,
     "Seed of the weights, the order of samples, augmentation and dropout."),
    ("steps", 40_000, COUNT, TRAINING,
     "T, the number of training steps; a run may go on with more of them."),
    ("batch_size", 16, COUNT, TRAINING,
     "Crops in a step, over all devices; a multiple of their number."),
    ("accumulate", 1, COUNT, TRAINING,
     "Parts of a batch that pass through the network in turn, on GPUs and TPUs."),
    ("compilation_cache", "auto", Text(), NOTHING,
     "Folder that keeps compiled programs for later starts: auto for the user's; empty for none."),

    ("data.dataset", "folders", NAME, DATA,
     "Kind of source: folders, the official files of a benchmark, prepared, or generated scenes."),
    ("data.root", "", Text(), NOTHING,
     "Folder of the data; prepared data sets are written there."),
    ("data.eval_root", "", Text(), NOTHING,
     "Folder of the images to evaluate on, if it is another one."),
    ("data.classes", (), Several(Text(), optional=True), DATA,
     "Class names in the order of the label values, or one benchmark's name; () if built in."),
    ("data.ignore", 255, BYTE, DATA,
     "Label value of pixels without a label."),
    ("data.image_folder", "images", Text(), DATA,
     "Folder of the images below the root, for folders."),
    ("data.label_folder", "labels", Text(), DATA,
     "Folder of the labels below the root, for folders."),
    ("data.label_values", (), PAIRS, DATA,
     "Pairs of stored label value and class index (or data.ignore); () if they are equal."),
    ("data.orientation", "exif", Choice(("exif", "stored")), DATA,
     "Turn images and labels as their EXIF orientation says, or take them as they are stored."),
    ("data.size", (128, 256), SIZE, DATA,
     "Size of scenes that are generated while training."),
    ("data.builder_config", "", Text(), DATA,
     "Builder config of a prepared data set; empty for the first."),
    ("data.train_split", "train", Text(), TRAINING,
     "Split or subfolder to train on; splits are joined by +."),
    ("data.train_labels", "coarse", LABELS, DATA,
     "Labels to train on, where a data set has both."),
    ("data.train_images", 0, NUMBER, TRAINING,
     "Train on the first images only; 0 for all."),
    ("data.eval_split", "val", Text(), DATA,
     "Split or subfolder to evaluate on."),
    ("data.eval_labels", "fine", LABELS, DATA,
     "Labels to evaluate on, where a data set has both."),
    ("data.eval_images", 0, NUMBER, DATA,
     "Evaluate on the first images only; 0 for all."),
    ("data.coarsen", "", NAME, DATA,
     "Preset that simulates coarse training labels from fine ones; empty for none."),
    ("data.wrong_share", 0.0, FRACTION, DATA,
     "Fraction of simulated coarse components that get a wrong class."),

    ("augment.crop", (512, 1024), SIZE, TRAINING,
     "Size of the training crops."),
    ("augment.ratio", (0.5, 2.0), Several(Real(above=0), 2, "smallest, largest"), TRAINING,
     "Range of the random resize."),
    ("augment.base_size", (), Several(COUNT, 2, "short side, long side", optional=True), TRAINING,
     "Size that an image is fitted to at ratio 1; () for the image's own."),
    ("augment.category_limit", 0.75, Real(above=0, high=1), TRAINING,
     "Largest fraction of one class in a crop; 1 for no limit."),
    ("augment.flip", True, Flag(), TRAINING,
     "Mirror half of the crops."),
    ("augment.jitter", True, Flag(), TRAINING,
     "Change brightness, contrast, saturation and hue, on the device."),

    ("input.workers", 0, NUMBER, NOTHING,
     "Processes that decode and augment; 0 for threads only."),
    ("input.threads", 4, COUNT, NOTHING,
     "Threads of each of these processes."),
    ("input.prefetch", 2, COUNT, NOTHING,
     "Batches kept ready on the devices."),

    ("model.name", "deeplabv3plus_resnet101", NAME, NETWORK,
     "Network: its head and its backbone."),
    ("model.variant", "", Text(), NETWORK,
     "Variant of the backbone, to fit published weights; empty for the usual one."),
    ("model.output_stride", 8, Whole(only=(8, 16, 32)), NETWORK,
     "Image pixels for each position of the backbone's last features."),
    ("model.dtype", "bfloat16", Choice(("float32", "bfloat16", "float16")), NETWORK,
     "Type that convolutions compute in; parameters stay float32."),
    ("model.remat", False, Flag(), NOTHING,
     "Compute activations again in the backward pass, on GPUs and TPUs, to save memory."),
    ("model.auxiliary_weight", 0.4, Real(0), TRAINING,
     "Weight of the auxiliary head's loss."),
    ("model.pretrained", "", Text(), TRAINING,
     "Start from: imagenet, a weight file, hf://owner/repository, or a run's folder."),

    ("arm.kind", "learned", NAME, TRAINING,
     "Weighting W: the paper's ARM is learned; none for the base model."),
    ("arm.input", "var", Choice(("var", "std", "log_var", "entropy", "s")), TRAINING,
     "Confidence that W maps to a weight; s is what the KL loss predicts."),
    ("arm.p", 2.0, Real(1), TRAINING,
     "Norm that is held at 1 while ARM climbs."),
    ("arm.scope", "global", Choice(("global", "image", "device")), TRAINING,
     "Norms over the global batch, each image, or the images of each device."),
    ("arm.signal", "loss", Choice(("loss", "gce", "trimmed")), TRAINING,
     "Loss that ARM climbs: as it is, bounded, or without its largest values."),
    ("arm.trimmed_share", 0.05, FRACTION, TRAINING,
     "Fraction of pixels whose loss is trimmed."),
    ("arm.detach", True, Flag(), TRAINING,
     "Stop the gradient from the weights into the segmenter."),
    ("arm.slope", -0.5, Real(), TRAINING,
     "k of Linear ARM, W(v) = k v + b; negative suppresses confident pixels."),
    ("arm.offset", 0.5, Real(), TRAINING,
     "b of Linear ARM."),
    ("arm.isolated", 0.05, FRACTION, TRAINING,
     "Fraction of T before the weights reach the segmenter."),
    ("arm.lr_multiplier", 1.0, Real(0), TRAINING,
     "ARM's learning rate over the segmenter's; 5 to 15 for runs under 5,000 steps."),
    ("arm.decay", "decay", Choice(("decay", "literal", "none")), TRAINING,
     "Weight decay of ARM; literal flips its sign too, and then ARM grows."),

    ("loss.kind", "ce", NAME, TRAINING,
     "Loss of each pixel."),
    ("loss.q", 0.1, Real(above=0, high=1), TRAINING,
     "q of gce."),
    ("loss.threshold", 0.7, FRACTION, TRAINING,
     "ohem leaves out pixels of a higher likelihood, but keeps at least kept_per_image."),
    ("loss.kept_per_image", 50_000, COUNT, TRAINING,
     "Pixels of an image that ohem keeps in any case."),
    ("loss.average_over", "valid", Choice(("valid", "all")), TRAINING,
     "Mean over labelled pixels, or over all as in mmsegmentation 0.x."),

    ("optimizer.learning_rate", 0.02, Real(above=0), TRAINING,
     "Learning rate of SGD between the warm-up and the first drop."),
    ("optimizer.momentum", 0.9, Real(0, 1), TRAINING,
     "Momentum of both players."),
    ("optimizer.weight_decay", 1e-4, Real(0), TRAINING,
     "Weight decay."),
    ("optimizer.warmup", 0.05, FRACTION, TRAINING,
     "Fraction of T in which the rate rises linearly from a hundredth."),
    ("optimizer.drops", (0.6, 0.9), Several(FRACTION, optional=True), TRAINING,
     "Fractions of T at which the rate falls to a tenth, in order."),

    ("evaluation.batch_size", 8, COUNT, NOTHING,
     "Images evaluated at once, over all devices."),
    ("evaluation.tta", "none", NAME, SCORES,
     "Test-time augmentation: none, ocr (the paper's) or mmsegmentation."),
    ("evaluation.size", (), Several(COUNT, 2, "short side, long side", optional=True), SCORES,
     "Size that an image is fitted to first; () for its own."),
    ("evaluation.crop", (), SIZE_OR_NONE, SCORES,
     "Size of sliding windows; () for the whole image."),
    ("evaluation.stride", (), Several(COUNT, 2, "rows, columns", optional=True), SCORES,
     "Distance of the windows; () for two thirds of their size."),
    ("evaluation.multiple", 0, NUMBER, SCORES,
     "Pad images of varied sizes to multiples of this; 0 for exact sizes."),
    ("evaluation.windows_at_once", 4, COUNT, NOTHING,
     "Windows of an image that pass through the network together."),
    ("evaluation.keep_logits_on", "device", Choice(("device", "host")), NOTHING,
     "Where the logits of many scales wait for each other."),
    ("evaluation.boundary_width", 0, NUMBER, SCORES,
     "Also score the pixels this near to a class boundary; 0 for not."),

    ("log_every", 50, COUNT, NOTHING, "Steps between two log lines."),
    ("eval_every", 4_000, COUNT, NOTHING, "Steps between two evaluations."),
    ("save_every", 1_000, COUNT, NOTHING, "Steps between two checkpoints."),
    ("keep", 3, COUNT, NOTHING, "Newest checkpoints that are kept, beside the best."),
))
# fmt: on
BY_KEY = {setting.key: setting for setting in SETTINGS}


def add(key: str, default: Any, kind: Kind, decides: str, help: str) -> None:
    """Add a setting of one's own, in a file that is imported before the config is made."""
    BY_KEY[key] = Setting(key, default, kind, decides, help)


def defaults() -> ConfigDict:
    """Every setting at its default, in a locked config."""
    config = ConfigDict()
    for setting in BY_KEY.values():
        section, _, name = setting.key.rpartition(".")
        if section and section not in config:
            config[section] = ConfigDict()
        (config[section] if section else config)[name] = setting.default
    return config.lock()


def flat(config: ConfigDict) -> dict[str, Any]:
    """Dotted key -> plain value."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= {f"{name}.{key}": inner for key, inner in flat(value).items()}
        else:
            found[name] = value
    return found


def frozen(config: ConfigDict, changes: Mapping[str, Any] | None = None) -> FrozenConfigDict:
    """A complete, checked and immutable config; a frozen one without changes is returned as it is.

    Args:
      config: as from `configs/`, or flat with dotted keys.
      changes: dotted key -> value, instead of the config's.

    Raises:
      InputError: an unknown or missing key, a value that is not valid, or two that contradict.
    """
    if isinstance(config, FrozenConfigDict) and not changes:
        return config
    given = flat(config) | dict(changes or {})
    for key in given:
        find(key)
    missing = [key for key in BY_KEY if key not in given]
    if missing:
        raise InputError(
            f"the config has no {missing[0]}; begin it with base.get_config(), as configs/ do"
        )
    values = {key: valid(key, given[key]) for key in BY_KEY}
    _refuse_contradictions(values)
    config = defaults().unlock()
    config.update_from_flattened_dict(values)
    return FrozenConfigDict(config)


def find(key: str) -> Setting:
    """The row of a key. Raises InputError for an unknown one, with the nearest."""
    if key not in BY_KEY:
        near = difflib.get_close_matches(key, BY_KEY, n=1)
        hint = f"did you mean {near[0]}?" if near else "--mode show lists them all"
        raise InputError(f"--config.{key}: the config has no such key; {hint}")
    return BY_KEY[key]


def valid(key: str, value: Any) -> Any:
    """The value in its one form. Raises InputError for one that is not valid."""
    kind = find(key).kind
    try:
        return kind.valid(value)
    except ValueError as error:
        raise refused(key, value) from error


def parsed(key: str, text: str) -> Any:
    """The value that a command line's text stands for. Raises InputError if it is not valid."""
    kind = find(key).kind
    try:
        return kind.parse(text)
    except ValueError as error:
        raise refused(key, _as_typed(text)) from error


def refused(key: str, value: Any, allowed: Iterable[str] = ()) -> InputError:
    """The error for a value that is not valid.

    Args:
      key: of a setting.
      value: as it was given.
      allowed: the names that are, where a table has them.
    """
    kind = BY_KEY[key].kind
    words = Choice(tuple(allowed)).describe() if allowed else kind.describe()
    shown = f", as in {kind.example}" if isinstance(kind, Several) else ""
    if allowed:
        shown = ", or what a file adds that --config names"
    return InputError(f"{key} = {value!r}; it must be {words}{shown}")


def overridden(config: ConfigDict, arguments: Sequence[str]) -> FrozenConfigDict:
    """The config with what the command line changes, checked.

    Args:
      config: as for `frozen`.
      arguments: of the form `--config.KEY=VALUE`. A later one counts, but a tuple that is given
        twice must be the same one.

    Raises:
      InputError: as `frozen`.
    """
    changes: dict[str, Any] = {}
    for argument in arguments:
        key, _, text = argument.lstrip("-").removeprefix("config.").partition("=")
        value = parsed(key, text)
        if isinstance(find(key).kind, Several) and changes.get(key, value) != value:
            raise InputError(
                f"--config.{key} is given twice, as {changes[key]} and as {value}; leave one out"
            )
        changes[key] = value
    return frozen(config, changes)


def _as_typed(text: str) -> Any:
    """What a message shows: 64 for a number, 'many' in quotes for what is none."""
    try:
        return literal(text)
    except ValueError:
        return text


def _refuse_contradictions(values: Mapping[str, Any]) -> None:
    """Raise InputError for numbers that are valid alone, but not together."""

    def refuse(key: str, reason: str) -> None:
        raise InputError(f"{key} = {values[key]!r} {reason}")

    low, high = values["augment.ratio"]
    if low > high:
        refuse("augment.ratio", "begins with the larger number; swap the two")
    if list(values["optimizer.drops"]) != sorted(values["optimizer.drops"]):
        refuse("optimizer.drops", "is not in order; sort it")
    size, crop, stride = (values[f"evaluation.{name}"] for name in ("size", "crop", "stride"))
    if size and size[0] > size[1]:
        refuse("evaluation.size", "must be (short side, long side); swap the two numbers")
    if stride and not crop:
        refuse("evaluation.stride", "has no effect without evaluation.crop; set that too")
    if stride and any(step > side for step, side in zip(stride, crop, strict=True)):
        refuse(
            "evaluation.stride",
            f"is larger than evaluation.crop = {crop} and leaves gaps; choose a smaller one",
        )
