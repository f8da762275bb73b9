"""From a config to the objects that train: the only translation between the two."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from arm_jax import arm, networks, optimizer, schedules, weightings
from arm_jax.data import pipeline, sources
from arm_jax.data.labels import Classes
from arm_jax.evaluation import evaluate as evaluation
from arm_jax.evaluation import protocol as protocols
from arm_jax.system import sharding, terminal
from arm_jax.system.errors import InputError
from arm_jax.training.objective import INPUTS, LOSSES, SCOPES, SIGNALS, Method
from arm_jax.training.state import Players, TrainState, Weighting
from arm_jax.training.step import create_state
from arm_jax.weights import pretrained, published, weight_files

CHOICES = {
    "model.dtype": ("float32", "bfloat16", "float16"),
    "arm.kind": ("learned", "linear", "monotone", "closed_form", "none"),
    "arm.input": INPUTS,
    "arm.signal": SIGNALS,
    "arm.scope": SCOPES,
    "arm.decay": optimizer.ARM_DECAYS,
    "loss.kind": LOSSES,
    "loss.average_over": ("valid", "all"),
}
POSITIVE = (
    "steps",
    "batch_size",
    "accumulate",
    "evaluation.batch_size",
    "log_every",
    "eval_every",
    "save_every",
)
FRACTIONS = ("arm.isolated", "optimizer.warmup", "data.wrong_share")


class Experiment:
    """What one config describes.

    Raises:
      InputError: for a value out of its range; the message names the key and what it may be.
    """

    def __init__(self, config: ConfigDict):
        self.config = config
        flat = self.flat_config()
        for key, allowed in CHOICES.items():
            if flat[key] not in allowed:
                raise InputError(f"{key} = {flat[key]!r}; choose one of {', '.join(allowed)}")
        for key in POSITIVE:
            if flat[key] < 1:
                raise InputError(f"{key} = {flat[key]}; it must be at least 1")
        for key in FRACTIONS:
            if not 0 <= flat[key] <= 1:
                raise InputError(f"{key} = {flat[key]}; it is a share, between 0 and 1")
        if config.arm.p < 1:
            raise InputError(f"arm.p = {config.arm.p}; a norm needs p >= 1")
        if config.arm.input == "s" and config.loss.kind != "kl":
            raise InputError(
                f"arm.input = 's' is what the KL loss predicts, but loss.kind = "
                f"{config.loss.kind!r}; use loss.kind = 'kl' or another input"
            )
        if config.loss.kind == "ohem" and config.arm.kind != "none":
            raise InputError(
                f"loss.kind = 'ohem' chooses pixels itself, but arm.kind = {config.arm.kind!r};"
                " use arm.kind = 'none'"
            )
        if config.loss.kind != "ce" and config.arm.signal != "loss":
            raise InputError(
                f"arm.signal = {config.arm.signal!r} is made for loss.kind = 'ce', but that is"
                f" {config.loss.kind!r}; use arm.signal = 'loss'"
            )
        self.classes: Classes  # known once a source is open
        self.protocol()

    def flat_config(self) -> dict[str, Any]:
        """Dotted key -> plain value."""
        flat: dict[str, Any] = {}

        def walk(prefix: str, node: ConfigDict) -> None:
            for key, value in node.items():
                if isinstance(value, ConfigDict):
                    walk(f"{prefix}{key}.", value)
                else:
                    flat[prefix + key] = value

        walk("", self.config)
        return flat

    # Data

    def training_source(self) -> sources.Source:
        """The labelled images to train on."""
        data = self.config.data
        return self._open(
            root=data.root,
            split=data.train_split,
            labels=data.train_labels,
            images=data.train_images,
            coarsening=data.coarsen,
            wrong_share=data.wrong_share,
        )

    def evaluation_source(self, labelled_as: str = "evaluation") -> sources.Source:
        """The labelled images to evaluate on; `labelled_as` "training" to see such labels there."""
        data = self.config.data
        dataset = sources.DATASETS[data.dataset]
        empty = set(dataset.unlabelled) & set(data.eval_split.split("+"))
        if empty:
            raise InputError(
                f"data.eval_split = {data.eval_split!r}: the public labels of {dataset.title}'s"
                f" {', '.join(empty)} split are empty; evaluate on another one, and let --mode"
                " server write the file for the benchmark's server"
            )
        part = {
            "root": data.eval_root or data.root,
            "split": data.eval_split,
            "images": data.eval_images,
        }
        if labelled_as == "training":
            return self._open(
                labels=data.train_labels,
                coarsening=data.coarsen,
                wrong_share=data.wrong_share,
                **part,
            )
        return self._open(labels=data.eval_labels, **part)

    def _open(self, **part: Any) -> sources.Source:
        data = self.config.data
        source = sources.open_source(
            data.dataset,
            classes=tuple(data.classes),
            ignore=data.ignore,
            values=tuple(data.label_values),
            size=tuple(data.size),
            builder_config=data.builder_config,
            image_folder=data.image_folder,
            label_folder=data.label_folder,
            orientation=data.orientation,
            seed=self.config.seed,
            **part,
        )
        self.classes = source.classes
        return source

    def batches(self, source: sources.Source) -> pipeline.Batches:
        """The training batches of this process, without end."""
        augment, settings = self.config.augment, self.config.input
        return pipeline.training_batches(
            source,
            crop=tuple(augment.crop),
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            ratio=tuple(augment.ratio),
            base_size=tuple(augment.base_size) or None,
            category_limit=augment.category_limit,
            flip=augment.flip,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            workers=settings.workers,
            threads=settings.threads,
        )

    # Players

    def create_players(self) -> Players:
        """Freshly initialised players, from the config's seed; pretrained weights not loaded."""
        model, settings = self.config.model, self.config.arm
        rngs = nnx.Rngs(self.config.seed)
        segmenter = networks.create(
            model.name,
            self.classes.number,
            output_stride=model.output_stride,
            variant=model.variant or None,
            dtype=jnp.dtype(model.dtype),
            remat=model.remat,
            extra_channels=1 if self.config.loss.kind == "kl" else 0,  # log s
            rngs=rngs,
        )
        player: Weighting | None = None
        if settings.kind == "learned":
            player = arm.Arm(rngs=rngs)
        elif settings.kind == "linear":
            player = arm.LinearArm(settings.slope, settings.offset)
        elif settings.kind == "monotone":
            player = weightings.MonotoneArm(rngs=rngs)
        elif settings.kind == "closed_form":
            player = weightings.ClosedFormArm(settings.p)
        return Players(segmenter, player)

    def create_state(self) -> tuple[nnx.GraphDef, TrainState]:
        """The state before the first step, pretrained weights loaded."""
        players = self.create_players()
        source = self.pretrained_source()
        if source:
            terminal.say(str(pretrained.load(players.segmenter, source)))
        return self._create_state(players)

    def pretrained_source(self) -> str:
        """Path or address of the pretrained weights; "" to start from scratch."""
        model = self.config.model
        return published.source(model.pretrained, model.name, model.variant or None)

    def fetch_pretrained(self) -> None:
        """Have the file of pretrained weights on this machine, before anything takes long."""
        source = self.pretrained_source()
        try:
            if source:
                weight_files.locate(source)
        except InputError as error:
            raise InputError(
                f"{error}; give a file that is here by --config.model.pretrained=FILE, or train"
                " from scratch by --config.model.pretrained="
            ) from error

    def abstract_state(self, mesh: Mesh) -> tuple[nnx.GraphDef, TrainState]:
        """Shapes, types and placement of the state, without computing it: what restoring needs."""
        graphs = []

        def create() -> TrainState:
            graphdef, state = self._create_state(self.create_players())
            graphs.append(graphdef)
            return state

        everywhere = sharding.replicated(mesh)
        shapes = jax.eval_shape(create)
        state = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), shapes
        )
        return graphs[0], state

    def _create_state(self, players: Players) -> tuple[nnx.GraphDef, TrainState]:
        config = self.config
        return create_state(players, self.transformation(), config.model.dtype, config.seed)

    def schedule(self) -> optax.Schedule:
        """The segmenter's learning rate by step."""
        settings = self.config.optimizer
        return schedules.learning_rate(
            self.config.steps,
            settings.learning_rate,
            warmup=settings.warmup,
            drops=tuple((at, 0.1 ** (i + 1)) for i, at in enumerate(settings.drops)),
        )

    def transformation(self) -> optax.GradientTransformation:
        """SGD down for the segmenter, SGD up for ARM."""
        settings = self.config.optimizer
        return optimizer.create(
            self.schedule(),
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            arm_multiplier=self.config.arm.lr_multiplier,
            arm_decay=self.config.arm.decay,
        )

    def method(self, mesh: Mesh) -> Method:
        """The settings of one step."""
        config = self.config
        return Method(
            total_steps=config.steps,
            isolated=config.arm.isolated,
            confidence=config.arm.input,
            p=config.arm.p,
            scope=config.arm.scope,
            devices=mesh.size,
            detach=config.arm.detach,
            signal=config.arm.signal,
            trimmed_share=config.arm.trimmed_share,
            loss=config.loss.kind,
            q=config.loss.q,
            threshold=config.loss.threshold,
            kept_per_image=config.loss.kept_per_image,
            average_over=config.loss.average_over,
            auxiliary_weight=config.model.auxiliary_weight,
            jitter=config.augment.jitter,
            ignore=self.classes.ignore,
            parts=config.accumulate,
            log_every=config.log_every,
        )

    # Results

    def evaluate(self, players: Players, source: sources.Source, mesh: Mesh) -> evaluation.Result:
        """The segmenter's scores on a labelled split."""
        return evaluation.evaluate(
            players.segmenter,
            source,
            batch_size=self.config.evaluation.batch_size,
            mesh=mesh,
            protocol=self.protocol(),
            boundary_width=self.config.evaluation.boundary_width or None,
        )

    def protocol(self) -> protocols.Protocol:
        """How images are looked at when they are tested."""
        settings = self.config.evaluation
        return protocols.create(
            settings.tta,
            size=tuple(settings.size) or None,
            crop=tuple(settings.crop) or None,
            stride=tuple(settings.stride) or None,
            multiple=settings.multiple or None,
            windows_at_once=settings.windows_at_once,
            keep_logits_on=settings.keep_logits_on,
        )

    def write_report(self, folder: Path, result: evaluation.Result, step: int) -> None:
        """`eval.json`, with what it takes to know what was evaluated."""
        data = self.config.data
        extra = {
            "step": step,
            "network": self.config.model.name,
            "dataset": data.dataset,
            "split": data.eval_split,
            "labels": data.eval_labels,
        }
        # Training needs no matplotlib until here, and it takes a second to import.
        from arm_jax.reporting import scores

        scores.write_report(folder, result, self.classes, extra)
