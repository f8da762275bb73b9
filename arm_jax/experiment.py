"""From a config to the objects that train: the only translation between the two."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from arm_jax import losses, networks, optimizer, schedules, weightings
from arm_jax.consistency import checked
from arm_jax.data import features, pipeline, sources
from arm_jax.data.labels import Classes
from arm_jax.evaluation import evaluate as evaluation
from arm_jax.evaluation import protocol as protocols
from arm_jax.evaluation.blocks import Blocks
from arm_jax.reporting import scores
from arm_jax.system import sharding, terminal
from arm_jax.system.errors import InputError
from arm_jax.system.staging import stage
from arm_jax.training.objective import Method
from arm_jax.training.state import Players, TrainState
from arm_jax.training.step import create_state
from arm_jax.weights import pretrained, published, weight_files


@dataclass(frozen=True)
class Experiment:
    """The objects of one config, from `build`.

    Attributes:
      config: every setting, checked.
      classes: that the network predicts.
      protocol: how images are evaluated.
      schedule: the segmenter's learning rate by step.
      transformation: the optimiser, down for the segmenter and up for ARM.
    """

    config: FrozenConfigDict
    classes: Classes
    protocol: protocols.Protocol
    schedule: optax.Schedule
    transformation: optax.GradientTransformation

    @property
    def bands(self) -> networks.Bands:
        """Of the images."""
        data = self.config.data
        return networks.Bands.of(data.channels, data.mean, data.deviation)

    @property
    def blocks(self) -> Blocks:
        """How images that are larger than memory are cut."""
        chosen = self.config.evaluation
        return Blocks(chosen.block_above, tuple(chosen.block), chosen.block_margin)

    def batches(
        self, source: sources.Source, kept: features.Features | None = None
    ) -> pipeline.Batches:
        """The training batches of this process, without end; of `kept` features if given."""
        augment, reading = self.config.augment, self.config.input
        return pipeline.training_batches(
            source,
            crop=augment.crop,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            ratio=augment.ratio,
            base_size=augment.base_size or None,
            category_limit=augment.category_limit,
            flip=augment.flip,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            workers=reading.workers,
            threads=reading.threads,
            features=kept,
            pixel_bytes=self.bands.number * self.bands.dtype.itemsize,
        )

    # Players

    def create_players(self) -> Players:
        """Freshly initialised players, from the config's seed; pretrained weights not loaded."""
        model = self.config.model
        rngs = nnx.Rngs(self.config.seed)
        segmenter = networks.create(
            model.name,
            self.classes.number,
            output_stride=model.output_stride,
            variant=model.variant or None,
            dtype=jnp.dtype(model.dtype),
            remat=model.remat,
            bands=self.bands,
            extra_channels=len(losses.LOSSES[self.config.loss.kind].channels),
            rngs=rngs,
        )
        networks.freeze(segmenter.backbone, model.freeze)
        multiplier = self.config.optimizer.backbone_lr_multiplier
        if multiplier != 1 and not jax.tree.leaves(nnx.state(segmenter.backbone, nnx.Param)):
            raise InputError(
                f"optimizer.backbone_lr_multiplier = {multiplier} has no effect: model.freeze names"
                " all of the backbone; set it to 1"
            )
        return Players(segmenter, weightings.create(self.config.arm, rngs))

    def create_state(
        self, weights: str | Mapping[str, Any] = ""
    ) -> tuple[nnx.GraphDef, TrainState]:
        """The state before the first step; `weights` for the network, see `pretrained.load`.

        Raises InputError where they have not all of the parts that `model.freeze` names.
        """
        players = self.create_players()
        if weights:
            report = pretrained.load(players.segmenter, weights)
            terminal.say(str(report))
            lacking = sorted(set(self.config.model.freeze) & report.fresh_parts)
            if lacking:
                raise InputError(
                    f"model.freeze names {', '.join(lacking)}, which {report.source} does not have:"
                    " random weights would stay as they are; leave that out, or give other weights"
                )
        return self._create_state(players)

    def pretrained_source(self) -> str:
        """Path or address of the pretrained weights; "" to start from scratch."""
        model = self.config.model
        return published.source(model.pretrained, model.name, model.variant or None)

    def fetch_pretrained(self) -> str:
        """Have the file of pretrained weights on this machine, before anything takes long.

        Returns `pretrained_source`.
        """
        source = self.pretrained_source()
        try:
            if source:
                data = self.config.data
                cache = stage.Cache(data.staging_folder, data.staging_gib)
                weight_files.locate(source, cache)
        except InputError as error:
            raise InputError(f"{error}; {weight_files.REMEDY}") from error
        return source

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
        return create_state(
            players, self.transformation, config.model.dtype, config.seed, config.targets
        )

    def class_weights(self, pixels: Sequence[int]) -> tuple[float, ...]:
        """The factor on each class's loss, by `loss.class_weights`; () for none.

        Args:
          pixels: of each class in the training labels, which balanced weights need.
        """
        loss = self.config.loss
        if loss.class_weights == "balanced":
            return losses.balanced_weights(pixels, loss.balance)
        return tuple(loss.class_weights)

    def method(self, mesh: Mesh, pixels: Sequence[int] = ()) -> Method:
        """What a step is to do on the devices of a mesh; `pixels` as for `class_weights`."""
        return Method(self.config, self.classes.ignore, mesh.size, self.class_weights(pixels))

    # Results

    def evaluate(
        self,
        players: Players,
        source: sources.Source,
        mesh: Mesh,
        leave: Callable[[], int | None] | None = None,
    ) -> evaluation.Result:
        """The segmenter's scores on a labelled split; `leave` as for `evaluation.evaluate`."""
        return evaluation.evaluate(
            players.segmenter,
            source,
            batch_size=self.config.evaluation.batch_size,
            mesh=mesh,
            protocol=self.protocol,
            boundary_width=self.config.evaluation.boundary_width or None,
            leave=leave,
        )

    def write_report(self, folder: Path, result: evaluation.Result, step: int) -> None:
        """`eval.json` and its tables, with what it takes to know what was evaluated."""
        data = self.config.data
        extra = {
            "step": step,
            "network": self.config.model.name,
            "dataset": data.dataset,
            "split": data.eval_split,
            "labels": data.eval_labels,
        }
        scores.write_report(folder, result, self.classes, extra)


def build(config: ConfigDict, classes: Classes) -> Experiment:
    """From settings to objects.

    Args:
      config: as from `configs/`, or from `consistency.checked`.
      classes: of the source to train on, or those that a run was trained with.

    Raises:
      InputError: see `consistency.checked`; class weights for another number of classes.
    """
    config = checked(config)
    weights = config.loss.class_weights
    if weights and weights != "balanced" and len(weights) != classes.number:
        raise InputError(
            f"loss.class_weights = {weights!r} are {len(weights)} numbers for {classes.number}"
            f" classes; give balanced, or one for each of {', '.join(classes.names)}"
        )
    chosen = config.optimizer
    fall = {
        "kind": chosen.schedule,
        "drops": tuple((at, 0.1 ** (i + 1)) for i, at in enumerate(chosen.drops)),
        "power": chosen.power,
        "final": chosen.final,
    }
    schedule = schedules.learning_rate(
        config.steps, chosen.learning_rate, warmup=chosen.warmup, **fall
    )
    automatic = config.arm.lr_multiplier == "auto"
    transformation = optimizer.create(
        schedule,
        kind=chosen.kind,
        momentum=chosen.momentum,
        beta2=chosen.beta2,
        weight_decay=chosen.weight_decay,
        clip_norm=chosen.clip_norm,
        backbone_multiplier=chosen.backbone_lr_multiplier,
        arm_multiplier=1.0 if automatic else config.arm.lr_multiplier,
        arm_step_lengths=schedules.arm_step_lengths(config.steps, **fall) if automatic else None,
        arm_decay=config.arm.decay,
    )
    evaluated = config.evaluation
    protocol = protocols.create(
        evaluated.tta,
        size=evaluated.size or None,
        crop=evaluated.crop or None,
        stride=evaluated.stride or None,
        multiple=evaluated.multiple or None,
        windows_at_once=evaluated.windows_at_once,
        keep_logits_on=evaluated.keep_logits_on,
    )
    return Experiment(config, classes, protocol, schedule, transformation)
