"""From a config to the objects that train: the only translation between the two."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from clu import parameter_overview
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from arm_jax import (
    arm,
    files,
    networks,
    optimizer,
    schedules,
    sharding,
    workdir,
)
from arm_jax import evaluate as evaluation
from arm_jax.data import pipeline, sources
from arm_jax.data.labels import Classes
from arm_jax.errors import InputError
from arm_jax.state import Players, TrainState
from arm_jax.step import Method, create_state

CHOICES = {
    "model.dtype": ("float32", "bfloat16", "float16"),
    "arm.kind": ("learned", "linear", "none"),
    "arm.input": arm.KINDS,
    "arm.decay": optimizer.ARM_DECAYS,
    "loss.kind": ("ce",),
}
POSITIVE = ("steps", "batch_size", "evaluation.batch_size", "log_every", "eval_every", "save_every")
FRACTIONS = ("arm.isolated", "optimizer.warmup", "data.flip")


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
        self.classes: Classes  # known once a source is open

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
            split=data.train_split,
            labels=data.train_labels,
            images=data.train_images,
            coarsening=data.coarsen,
            flip=data.flip,
        )

    def evaluation_source(self, labelled_as: str = "evaluation") -> sources.Source:
        """The labelled images to evaluate on; `labelled_as` "training" to see such labels there."""
        data = self.config.data
        part = {"split": data.eval_split, "images": data.eval_images}
        if labelled_as == "training":
            return self._open(
                labels=data.train_labels, coarsening=data.coarsen, flip=data.flip, **part
            )
        return self._open(labels=data.eval_labels, **part)

    def _open(self, **part: Any) -> sources.Source:
        data = self.config.data
        source = sources.open_source(
            data.dataset,
            root=data.root,
            classes=tuple(data.classes),
            ignore=data.ignore,
            size=tuple(data.size),
            config=data.variant,
            seed=self.config.seed,
            **part,
        )
        self.classes = source.classes
        return source

    def describe(self, training: sources.Source, evaluation: sources.Source, mesh: Mesh) -> str:
        """What is about to happen, in plain words."""
        config, data = self.config, self.config.data
        kind = f"coarse ({data.coarsen})" if data.coarsen else data.train_labels
        player = {
            "none": "plain loss, no reweighting",
            "linear": f"Linear ARM, W(v) = {config.arm.slope:g} v + {config.arm.offset:g}",
            "learned": f"ARM on {config.arm.input}, p = {config.arm.p:g}",
        }[config.arm.kind]
        crop = "x".join(map(str, config.augment.crop))
        return "\n".join(
            [
                f"train on     {len(training):,} images of {data.dataset} {data.train_split},"
                f" {kind} labels, {self.classes.number} classes",
                f"evaluate on  {len(evaluation):,} images of {data.eval_split},"
                f" {data.eval_labels} labels",
                f"network      {config.model.name}, output stride {config.model.output_stride},"
                f" {config.model.dtype}",
                f"method       {player}",
                f"schedule     {config.steps:,} steps of {config.batch_size} crops of {crop},"
                f" about {config.steps * config.batch_size / len(training):,.1f} epochs",
                f"devices      {mesh.size} x {mesh.devices.flat[0].device_kind},"
                f" {jax.process_count()} process(es)",
            ]
        )

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
            dtype=jnp.dtype(model.dtype),
            rngs=rngs,
        )
        player: nnx.Module | None = None
        if settings.kind == "learned":
            player = arm.Arm(rngs=rngs)
        elif settings.kind == "linear":
            player = arm.LinearArm(settings.slope, settings.offset)
        return Players(segmenter, player)

    def create_state(self) -> tuple[nnx.GraphDef, TrainState]:
        """The state before the first step, pretrained weights loaded."""
        players = self.create_players()
        if self.config.model.pretrained:
            from arm_jax import pretrained

            report = pretrained.load(players.segmenter, self.config.model.pretrained)
            workdir.say(str(report))
        return create_state(players, self.transformation(), self.config.model.dtype)

    def abstract_state(self, mesh: Mesh) -> tuple[nnx.GraphDef, TrainState]:
        """Shapes, types and placement of the state, without computing it: what restoring needs."""
        graphs = []

        def create() -> TrainState:
            graphdef, state = create_state(
                self.create_players(), self.transformation(), self.config.model.dtype
            )
            graphs.append(graphdef)
            return state

        everywhere = sharding.replicated(mesh)
        shapes = jax.eval_shape(create)
        state = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), shapes
        )
        return graphs[0], state

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

    def method(self) -> Method:
        """The settings of one step."""
        config = self.config
        return Method(
            total_steps=config.steps,
            isolated=config.arm.isolated,
            confidence=config.arm.input,
            p=config.arm.p,
            detach=config.arm.detach,
            auxiliary_weight=config.model.auxiliary_weight,
            jitter=config.augment.jitter,
            ignore=self.classes.ignore,
            seed=config.seed,
            log_every=config.log_every,
        )

    # Results

    def evaluate(self, players: Players, source: sources.Source, mesh: Mesh) -> evaluation.Result:
        """The segmenter's scores on a labelled split."""
        batch_size = self.config.evaluation.batch_size
        return evaluation.evaluate(players.segmenter, source, batch_size=batch_size, mesh=mesh)

    def overview(self, state: TrainState, folder: Path) -> str:
        """How many parameters there are, and where; the whole table goes to parameters.txt."""
        params = nnx.to_pure_dict(state.params)
        with files.whole(folder / "parameters.txt") as temporary:
            temporary.write_text(parameter_overview.get_parameter_overview(params) + "\n")
        parts = {f"segmenter.{name}": tree for name, tree in params["segmenter"].items()}
        if "arm" in params:
            parts["arm"] = params["arm"]
        counts = {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in parts.items()}
        lines = [f"  {name:<26}{count:>12,}" for name, count in counts.items()]
        total = f"  {'total':<26}{sum(counts.values()):>12,}"
        return "\n".join(["parameters (each tensor in parameters.txt)", *lines, total])

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
        evaluation.write_report(folder, result, self.classes, extra)
