"""Every setting, with the paper's values (Sec. 4.2); an experiment overrides what it changes.

Fractions (warm-up, drops, the isolated phase) are fractions of `steps`, so they follow it.
Pass single values on the command line: `--config.batch_size=8 --config.arm.p=3`.
"""

from ml_collections import ConfigDict


def get_config(argument: str | None = None) -> ConfigDict:
    """The whole config, locked: an unknown key is an error. `argument`: see `apply_rows`."""
    config = ConfigDict()
    config.seed = 0  # Of the weights, the sample order, the augmentation and dropout.
    config.steps = 40_000  # T, training iterations.
    config.batch_size = 16  # Over all devices; a multiple of their number.
    config.accumulate = 1  # Parts of a batch that go through the network in turn, on GPUs and TPUs.
    config.compilation_cache = ""  # A folder that keeps compiled programs for later starts.

    # Data. `dataset` names the kind of source: folders, cityscapes, ade20k, camvid, voc (the
    # official files, in place), street_scenes, prepared (ArrayRecord), or scenes (drawn at once).
    config.data = ConfigDict()
    config.data.dataset = "folders"
    config.data.root = ""  # The folder of the data; prepared data sets are written there.
    config.data.image_folder = "images"  # Of `folders`, below the root.
    config.data.label_folder = "labels"
    config.data.eval_root = ""  # Of the images to evaluate on, where they lie in another folder.
    config.data.classes = ()  # Class names in the order of the label values; () if built in.
    config.data.ignore = 255  # Label value of the pixels without a label.
    config.data.label_values = ()  # Pairs of stored value and class index or ignore; () as stored.
    config.data.orientation = "exif"  # Turn images and labels as viewers do, or "stored".
    config.data.size = (128, 256)  # Height, width of scenes drawn while training.
    config.data.builder_config = ""  # Of a prepared data set; "" for the first.
    config.data.train_split = "train"
    config.data.train_labels = "coarse"  # coarse or fine, where a data set has both.
    config.data.train_images = 0  # Use only the first so many; 0 for all.
    config.data.eval_split = "val"
    config.data.eval_labels = "fine"
    config.data.eval_images = 0
    config.data.coarsen = ""  # Simulate coarse training labels: mild, medium, hard, cityscapes.
    config.data.wrong_share = 0.0  # Fraction of simulated coarse components with a wrong class.

    # Augmentation: resize, crop, flip on the host; colour jitter on the device.
    config.augment = ConfigDict()
    config.augment.crop = (512, 1024)  # Height, width in pixels.
    config.augment.ratio = (0.5, 2.0)  # Range of the random resize.
    config.augment.base_size = ()  # Short, long side that a ratio of 1 means; () for the image's.
    config.augment.category_limit = 0.75  # Largest share of one class in a crop; 1 for none.
    config.augment.flip = True  # Horizontally, half of the time.
    config.augment.jitter = True  # Brightness, contrast, saturation, hue.

    # Input pipeline.
    config.input = ConfigDict()
    config.input.workers = 0  # Processes that decode and augment; 0 for threads only.
    config.input.threads = 4  # Threads a process.
    config.input.prefetch = 2  # Batches kept ready on the devices.

    # Network.
    config.model = ConfigDict()
    config.model.name = "deeplabv3plus_resnet101"
    config.model.variant = ""  # Of the backbone, to fit published weights; "" for the usual.
    config.model.output_stride = 8  # 8 or 16.
    config.model.dtype = "bfloat16"  # Of the convolutions: float32, bfloat16 or float16.
    config.model.remat = False  # Activations again in the backward pass, on GPUs and TPUs.
    config.model.auxiliary_weight = 0.4  # Of the auxiliary head's loss.
    config.model.pretrained = ""  # imagenet, a weight file, hf://owner/repository; "" for none.

    # The reweighting (Sec. 3.3 to 3.5).
    config.arm = ConfigDict()
    config.arm.kind = "learned"  # learned, linear, monotone, closed_form or none (base model).
    config.arm.input = "var"  # Confidence by var, std, log_var, entropy; or s of the KL loss.
    config.arm.p = 2.0  # The norm that is held at 1 while ARM climbs.
    config.arm.scope = "global"  # Norms over the global batch, each image, or each device.
    config.arm.signal = "loss"  # What ARM climbs: loss, gce or trimmed.
    config.arm.trimmed_share = 0.05  # Of the pixels with the largest loss, for that signal.
    config.arm.detach = True  # No gradient from the weights into the segmenter.
    config.arm.slope = -0.5  # k of Linear ARM, W(v) = k v + b; negative suppresses confidence.
    config.arm.offset = 0.5  # b of Linear ARM.
    config.arm.isolated = 0.05  # Share of T before the weights reach the segmenter.
    config.arm.lr_multiplier = 1.0  # Use 5 to 15 for runs under 5,000 steps.
    config.arm.decay = "decay"  # Weight decay of ARM: decay, none, literal (it then grows).

    # Per-pixel loss.
    config.loss = ConfigDict()
    config.loss.kind = "ce"  # ce, gce, kl or ohem.
    config.loss.q = 0.1  # Of gce.
    config.loss.threshold = 0.7  # Of ohem: pixels of a higher likelihood are left out ...
    config.loss.kept_per_image = 50_000  # ... while so many are kept.
    config.loss.average_over = "valid"  # Or all pixels, as mmsegmentation does by default.

    # SGD and the learning rate of Sec. 4.2.
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 0.02
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.optimizer.warmup = 0.05  # Share of T, linearly from 1/100 of the rate.
    config.optimizer.drops = (0.6, 0.9)  # Shares of T at which the rate falls to a tenth.

    # Evaluation, by default on the whole image, once.
    config.evaluation = ConfigDict()
    config.evaluation.batch_size = 8  # Over all devices.
    config.evaluation.tta = "none"  # At test time: ocr (the paper's) or mmsegmentation.
    config.evaluation.size = ()  # Long, short side to resize to first; () for none.
    config.evaluation.crop = ()  # Height, width of sliding windows; () for the whole image.
    config.evaluation.stride = ()  # Between windows; () for two thirds of them.
    config.evaluation.multiple = 0  # Pad varied sizes to multiples of this; 0 for exact sizes.
    config.evaluation.windows_at_once = 4  # Of an image.
    config.evaluation.keep_logits_on = "device"  # Or host, where many scales do not fit.
    config.evaluation.boundary_width = 0  # Also score pixels so near a boundary; 0 for not.

    # How often, in steps.
    config.log_every = 50
    config.eval_every = 4_000
    config.save_every = 1_000
    config.keep = 3  # Newest checkpoints that stay; the best one stays too.
    return apply_rows(config.lock(), argument)


def apply_rows(config: ConfigDict, argument: str | None, rows: dict | None = None) -> ConfigDict:
    """Apply the comma-separated rows named after the config file's colon.

    Args:
      config: a complete config; changed in place.
      argument: e.g. None, "smoke", "linear" or "linear,smoke".
      rows: name -> {dotted key: value}, what each row of a table changes.

    Raises:
      ValueError: for an unknown row; it lists those there are.
    """
    rows = {**ROWS, **(rows or {}), "smoke": SMOKE}
    for name in filter(None, (argument or "").split(",")):
        if name not in rows:
            raise ValueError(f"no row {name!r} in this config; there are {', '.join(rows)}")
        config.update_from_flattened_dict(rows[name])
    return config


# What the rows of the paper's tables change, and rows past the paper. They may be combined.
ROWS = {
    "base": {"arm.kind": "none"},
    "arm": {"arm.kind": "learned"},
    # Table 1
    "linear": {"arm.kind": "linear"},
    "linear_focusing": {"arm.kind": "linear", "arm.slope": 0.5},
    "linear_no_detach": {"arm.kind": "linear", "arm.detach": False},
    # Table 2
    "norm1": {"arm.p": 1.0},
    "norm2": {"arm.p": 2.0},
    "norm3": {"arm.p": 3.0},
    "var": {"arm.input": "var"},
    "std": {"arm.input": "std"},
    "log_var": {"arm.input": "log_var"},
    "entropy": {"arm.input": "entropy"},
    # Table 3
    "resnet50": {"model.name": "deeplabv3plus_resnet50"},
    "resnet101": {"model.name": "deeplabv3plus_resnet101"},
    "ocr": {"model.name": "ocr_resnet101"},
    # Table 4
    "kl": {"loss.kind": "kl", "arm.kind": "none"},
    "kl_arm": {"loss.kind": "kl", "arm.input": "s"},
    "gce": {"loss.kind": "gce", "arm.kind": "none"},
    "gce_arm": {"loss.kind": "gce"},
    # Table 5
    "ohem": {"loss.kind": "ohem", "arm.kind": "none"},
    # Table 6: the test-time augmentation of the paper's [35]
    "tta": {"evaluation.tta": "ocr"},
    # Past the paper
    "arm_no_detach": {"arm.detach": False},
    "closed_form": {"arm.kind": "closed_form"},
    "monotone": {"arm.kind": "monotone"},
    "trimmed_signal": {"arm.signal": "trimmed"},
    "gce_signal": {"arm.signal": "gce"},
    "image_norms": {"arm.scope": "image"},
    "device_norms": {"arm.scope": "device"},
}

# The whole job in seconds on a CPU: two steps of a small network on scenes drawn while training.
SMOKE = {
    "steps": 2,
    "batch_size": 8,
    "data.dataset": "scenes",
    "data.root": "",
    "data.eval_root": "",
    "data.classes": (),
    "data.label_values": (),
    "data.size": (64, 128),
    "data.train_split": "train",
    "data.train_images": 16,
    "data.eval_split": "val",
    "data.eval_images": 8,
    "data.coarsen": "",
    "augment.crop": (64, 64),
    "augment.base_size": (),
    "input.workers": 0,
    "model.name": "deeplabv3plus_resnet18",
    "model.variant": "",
    "model.output_stride": 16,
    "model.dtype": "float32",
    "model.pretrained": "",
    "evaluation.size": (),
    "evaluation.crop": (),
    "evaluation.multiple": 0,
    "log_every": 1,
    "eval_every": 2,
    "save_every": 1,
}
