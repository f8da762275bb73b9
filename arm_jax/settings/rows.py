"""The rows of the settings, each with its default, its valid values, what it decides, and help.

The defaults are the paper's (Sec. 4.2). Fractions of the run (warm-up, drops, the isolated phase)
follow `steps`.
"""

from dataclasses import dataclass
from typing import Any

from arm_jax.system.values import (
    Choice,
    Either,
    Flag,
    Kind,
    Mappings,
    Name,
    Real,
    Several,
    Text,
    Whole,
    WordOr,
)

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


# What convolutions are computed in, the most exact first.
DTYPES = ("float32", "bfloat16", "float16")
COUNT, NUMBER, FRACTION = Whole(1), Whole(0), Real(0, 1)
NAME = Name()  # `consistency.TABLES` has the tables
SIZE = Several(COUNT, 2, "height, width")
SIZE_OR_NONE = Several(COUNT, 2, "height, width", optional=True)
LABELS = Choice(("coarse", "fine"))
BYTE = Whole(0, 255)
COLORS = Several(Several(BYTE, 3, "red, green, blue"), optional=True)
NAMES = Several(Several(Text(), 2, "name in the labels, class name"), optional=True)
BACKBONE = ("stem", "stage1", "stage2", "stage3", "stage4")  # as `networks.parts.PARTS`
PARTS = Several(Choice(BACKBONE), optional=True)
PAIRS = Several(Several(BYTE, 2, "stored value, class index or data.ignore"), optional=True)

# fmt: off
GENERAL_ROWS = tuple(Setting(*row) for row in (
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
))

DATA_ROWS = tuple(Setting(*row) for row in (
    ("data.dataset", "folders", NAME, DATA,
     "Kind of source: folders, the official files of a benchmark, prepared, or generated scenes."),
    ("data.root", "", Text(), NOTHING,
     "Folder of the data, or its address: gs://, s3:// or https://."),
    ("data.eval_root", "", Text(), NOTHING,
     "Folder or address of the images to evaluate on, if it is another one."),
    ("data.staging_folder", "auto", Text(), NOTHING,
     "Folder that data and weights at an address are brought into: auto for the user's."),
    ("data.staging_gib", 100.0, Real(above=0), NOTHING,
     "Most GiB that this folder may hold; sets that were unused for longest are deleted."),
    ("data.classes", (), Several(Text(), optional=True), DATA,
     "Class names in the order of the label values, or one benchmark's name; () if known."),
    ("data.ignore", 255, BYTE, DATA,
     "Label value of pixels without a label."),
    ("data.image_folder", "images", Text(), DATA,
     "Folder of the images below the root, for folders."),
    ("data.label_folder", "labels", Text(), DATA,
     "Folder of the labels below the root, for folders; or one file that has them all."),
    ("data.label_values", (), PAIRS, DATA,
     "Pairs of stored label value and class index (or data.ignore); () if they are equal."),
    ("data.label_names", (), NAMES, DATA,
     "Pairs of a class's name in the labels and in data.classes; an empty one leaves it out."),
    ("data.colors", (), COLORS, DATA,
     "Colour of each class, in painted labels and in drawn images; () if not known."),
    ("data.unlabelled", "refuse", Choice(("refuse", "ignore")), DATA,
     "Images without a label file, for folders: refuse, or take as images that nobody labelled."),
    ("data.undrawn", "", Text(), DATA,
     "Class of what nobody drew, where labels are outlines or colours; empty to ignore it."),
    ("data.overlaps", "later", Choice(("later", "small")), DATA,
     "Which outline covers the other: the later one in the file, or the smaller one."),
    ("data.orientation", "exif", Choice(("exif", "stored")), DATA,
     "Turn images and labels as their EXIF orientation asks, or take them as they are stored."),
    ("data.channels", (), Either(Whole(1, 512), Several(Text(), optional=True)), NETWORK,
     "Bands of the images, names or their number, read as they are stored; () for RGB in bytes."),
    ("data.mean", (), Several(Real(), optional=True), NETWORK,
     "Mean of each band, in units of the stored values; () for ImageNet's."),
    ("data.deviation", (), Several(Real(above=0), optional=True), NETWORK,
     "Standard deviation of each band, likewise."),
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
    ("data.fold", (), Several(NUMBER, 2, "fold, number of folds", optional=True), TRAINING,
     "Train without one fold of the images, numbered from 0; () for all images."),
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
))

# What a source of a mixture may have for itself; it has the rest from the section `data`.
_SHARED = (
    "classes", "ignore", "eval_root", "eval_split", "eval_labels", "eval_images", "fold",
    "channels", "mean", "deviation",
)
_OWN: dict[str, Kind] = {
    "name": Text(), "share": Real(above=0, high=1), "weigh": Flag(),
    "correct": Flag(), "complete": Flag(), "labelled": Flag(),
}
_INHERITED: dict[str, Kind] = {
    name: row.kind for row in DATA_ROWS
    if (name := row.key.removeprefix("data.")) not in _SHARED
}
SOURCES = Mappings(
    _OWN | _INHERITED, ("share",),
    '({"root":"fine","share":0.25,"weigh":False},{"root":"coarse","share":0.75})',
)

SETTINGS = (*GENERAL_ROWS, *DATA_ROWS, *(Setting(*row) for row in (
    ("data.sources", (), SOURCES, DATA,
     "Several sources to train on, each with its share of the batch; () for one."),

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
    ("model.dtype", "bfloat16", Choice(DTYPES), NETWORK,
     "Type that convolutions compute in; parameters stay float32."),
    ("model.remat", False, Flag(), NOTHING,
     "Compute activations again in the backward pass, on GPUs and TPUs, to save memory."),
    ("model.auxiliary_weight", 0.4, Real(0), TRAINING,
     "Weight of the auxiliary head's loss."),
    ("model.pretrained", "", Text(), TRAINING,
     "Start from: imagenet, a weight file or its address, hf://owner/repository, a run's folder."),

    ("model.freeze", (), PARTS, TRAINING,
     "First parts of the backbone that are not trained, in their order; () to train all."),
    ("model.feature_cache", False, Flag(), TRAINING,
     "Compute what the frozen parts make of each image once, keep it, and train on that."),
    ("model.feature_folder", "auto", Text(), NOTHING,
     "Folder of the kept features: auto for the user's."),
    ("model.feature_gib", 20.0, Real(above=0), NOTHING,
     "Most GiB that the folder of features may hold; what was unused for longest is deleted."),

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
    ("arm.lr_multiplier", 1.0, WordOr("auto", Real(0)), TRAINING,
     "ARM's learning rate over the segmenter's (the paper's: 1); auto for steps that fit T."),
    ("arm.decay", "decay", Choice(("decay", "literal", "none")), TRAINING,
     "Weight decay of ARM; literal flips its sign too, and then ARM grows."),

    ("arm.match_loss", False, Flag(), TRAINING,
     "Scale the segmenter's weighted loss to the plain one, so that steps keep their length."),

    ("targets.average", 0.0, FRACTION, TRAINING,
     "Fraction of T that the teacher, an average of the weights, spans; 0 for no teacher."),
    ("targets.correct", "none", Choice(("none", "drop", "class", "soft", "posterior")), TRAINING,
     "Drop labels that the teacher contradicts; or learn its class, likelihoods, or a posterior."),
    ("targets.correct_above", 0.6, Real(0), TRAINING,
     "How sure the teacher must be to correct a label away from edges; above 1 for never."),
    ("targets.correct_above_near", 0.85, Real(0), TRAINING,
     "How sure it must be near the edge of what was drawn, where near_rule is fixed."),
    ("targets.near_rule", "fixed", Choice(("fixed", "contradictions")), TRAINING,
     "Take that, or all thresholds and edge weights by where the teacher contradicts the labels."),
    ("targets.known_above", 0.5, FRACTION, TRAINING,
     "Share of a class's labels that the teacher must find to correct it and to complete with it."),
    ("targets.adjust", 0.0, FRACTION, TRAINING,
     "Exponent a: likelihoods divided by (share of the class)^a correct labels; 0 for none."),
    ("targets.near", 6.0, Real(0), TRAINING,
     "Pixels from an edge that are near it, in the resized image."),
    ("targets.complete", "none", Choice(("none", "class", "soft", "posterior")), TRAINING,
     "Train on unlabelled pixels too: on the teacher's class, its likelihoods, or a posterior."),
    ("targets.complete_above", 0.9, Real(0), TRAINING,
     "How sure the teacher must be of an unlabelled pixel; above 1 for never."),
    ("targets.complete_weight", 1.0, Real(0), TRAINING,
     "Weight of the loss of unlabelled pixels."),
    ("targets.sharpness", 1.0, Real(above=0), TRAINING,
     "Power of the teacher's likelihoods in the posterior of a label; above 1 corrects more."),
    ("targets.edge_weight", 0.0, Real(0), TRAINING,
     "a of the weights 1 + a exp(-d/b) at distance d from the drawn edge; 0 for none."),
    ("targets.edges", "all", Choice(("all", "margins")), TRAINING,
     "All drawn edges, or those to what nobody labelled, by no more weight than is missing."),
    ("targets.edge_decay", 8.0, Real(above=0), TRAINING,
     "b of these weights, in pixels of the resized image."),
    ("targets.start", 0.2, FRACTION, TRAINING,
     "Fraction of T before the teacher corrects and completes."),
    ("targets.start_rule", "fraction", Choice(("fraction", "agreement")), TRAINING,
     "Start at that fraction, or before it when the agreement with the labels has flattened."),
    ("targets.renew", 0.0, FRACTION, TRAINING,
     "Fraction of T for which the teacher that corrects is held, from the start on; 0 to move it."),

    ("loss.kind", "ce", NAME, TRAINING,
     "Loss of each pixel."),
    ("loss.q", 0.1, Real(above=0, high=1), TRAINING,
     "q of gce."),
    ("loss.threshold", 0.7, FRACTION, TRAINING,
     "ohem leaves out pixels of a higher likelihood, but keeps at least kept_per_image."),
    ("loss.kept_per_image", 50_000, COUNT, TRAINING,
     "Pixels of an image that ohem keeps in any case."),
    ("loss.class_weights", (), WordOr("balanced", Several(Real(0), optional=True)), TRAINING,
     "Factor on the loss of each class's pixels; balanced by how rare it is; () for none."),
    ("loss.balance", 0.5, Real(above=0, high=1), TRAINING,
     "Exponent of balanced class weights: 1 lets all classes count alike."),
    ("loss.average_over", "valid", Choice(("valid", "all")), TRAINING,
     "Mean over labelled pixels, or over all as in mmsegmentation 0.x."),

    ("optimizer.kind", "sgd", Choice(("sgd", "adamw")), TRAINING,
     "Optimiser of the segmenter, and of ARM if arm.lr_multiplier is a number."),
    ("optimizer.learning_rate", 0.02, Real(above=0), TRAINING,
     "Learning rate after the warm-up, before it falls; about 0.001 for adamw."),
    ("optimizer.backbone_lr_multiplier", 1.0, Real(above=0), TRAINING,
     "Learning rate of the backbone over the rest's, such as 0.1 where it alone is pretrained."),
    ("optimizer.momentum", 0.9, Real(0, 1), TRAINING,
     "Momentum of both players; beta 1 of adamw."),
    ("optimizer.beta2", 0.999, FRACTION, TRAINING,
     "How long adamw remembers squared gradients."),
    ("optimizer.weight_decay", 1e-4, Real(0), TRAINING,
     "Weight decay; beside the learning rate's step with adamw, in the gradient with sgd."),
    ("optimizer.clip_norm", 0.0, Real(0), TRAINING,
     "Largest norm of a player's gradient, each player's for itself; 0 for no limit."),
    ("optimizer.schedule", "steps", Choice(("steps", "poly", "cosine")), TRAINING,
     "How the learning rate falls after the warm-up: by drops, by a power, by a cosine."),
    ("optimizer.warmup", 0.05, FRACTION, TRAINING,
     "Fraction of T in which the rate rises linearly from a hundredth."),
    ("optimizer.drops", (0.6, 0.9), Several(FRACTION, optional=True), TRAINING,
     "Fractions of T at which schedule steps lets the rate fall to a tenth, in order."),
    ("optimizer.power", 0.9, Real(above=0), TRAINING,
     "Exponent of schedule poly; 1 for a straight line."),
    ("optimizer.final", 0.0, FRACTION, TRAINING,
     "What schedules poly and cosine leave of the rate at step T, as a factor."),

    ("evaluation.weights", "student", Choice(("student", "teacher")), SCORES,
     "Weights to evaluate, predict with and export: those trained, or the teacher's average."),
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
    ("evaluation.block_above", 1 << 28, COUNT, NOTHING,
     "Pixels above which --mode predict labels a TIFF in blocks."),
    ("evaluation.block", (1024, 1024), SIZE, NOTHING,
     "Size of these blocks."),
    ("evaluation.block_margin", 256, NUMBER, NOTHING,
     "Pixels around a block that are read with it, unless there are sliding windows."),
    ("evaluation.boundary_width", 0, NUMBER, SCORES,
     "Also score the pixels this near to a class boundary; 0 for not."),

    ("review.regions", 2_000, COUNT, NOTHING,
     "Regions that --mode review lists, by score."),
    ("review.folds", 0, NUMBER, NOTHING,
     "Review and relabel each image by one of this many runs, trained without it; 0 for none."),
    ("review.fold_steps", 0, NUMBER, NOTHING,
     "Steps of each of these runs; 0 for the run's own, divided by their number."),

    ("tracker", (), Several(Choice(("wandb", "mlflow")), optional=True), NOTHING,
     "Services that also get what TensorBoard gets: wandb, mlflow, or both; () for none."),
    ("log_images", True, Flag(), NOTHING,
     "Draw a contact sheet and W(v) for TensorBoard and trackers at each evaluation."),
    ("patience", 0, NUMBER, TRAINING,
     "Stop after this number of evaluations without a better mIoU; 0 for never."),
    ("log_every", 50, COUNT, NOTHING, "Steps between two log lines."),
    ("eval_every", 4_000, COUNT, NOTHING, "Steps between two evaluations."),
    ("save_every", 1_000, COUNT, NOTHING, "Steps between two checkpoints."),
    ("keep", 3, COUNT, NOTHING, "Newest checkpoints that are kept, beside the best."),
)))
# fmt: on
