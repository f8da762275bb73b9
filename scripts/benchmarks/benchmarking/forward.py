"""Inference: the network alone, its parts, and labels of whole images as evaluation makes them."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from arm_jax.experiment import Experiment
from arm_jax.system import sharding
from benchmarking import hardware, parts, peer, programs, timing
from benchmarking.peer import Peer


def measure(
    experiment: Experiment, mesh: Mesh, peers: Sequence[Peer], repeat: int
) -> dict[str, Any]:
    """The figures of inference, as they go into the JSON file; seconds and bytes.

    The whole is from bytes on the devices to scores at the network's stride, "evaluation" from
    bytes on the host to labels of every pixel, by the config's protocol. Peers make labels too,
    from bytes that lie on the device.

    Raises:
        InputError: see `peer.check`.
    """
    config = experiment.config
    segmenter = experiment.create_players().segmenter
    numpy_batch = programs.random_batch(experiment)
    batch = sharding.shard_batch(mesh, numpy_batch)
    network = programs.Network(segmenter, batch["image"], batch["extent"])
    jax.block_until_ready([network() for _ in range(2)])
    evaluation = programs.Evaluation(experiment, segmenter, mesh, numpy_batch["image"])
    jax.block_until_ready([evaluation() for _ in range(2)])
    peak = hardware.peak_bytes()
    parameters = programs.parameters(segmenter)
    peer.check(peers, config.model.name, parameters)

    pieces = parts.inference(segmenter, batch["image"], batch["extent"])
    turns = {"network": timing.prepared(network), "evaluation": timing.prepared(evaluation)}
    turns |= {f"part {name}": timing.prepared(work) for name, work in pieces.items()}
    turns |= {f"peer {one.name}": one.turn for one in peers}
    found = timing.by_turns(turns, repeat)

    size = config.batch_size
    counted = {
        name: size * count
        for name, count in programs.multiply_adds(experiment).items()
        if name in pieces  # not the auxiliary head
    }
    each = programs.with_operations(
        {name: timing.Timing.of(found[f"part {name}"]) for name in pieces}, counted
    )
    labelled = timing.Timing.of(found["evaluation"])
    return {
        "kind": "inference",
        "setting": programs.setting(experiment, mesh) | {"parameters": parameters},
        "whole": programs.figures(
            timing.Timing.of(found["network"]), network, each, counted, size, peak
        ),
        "parts": each,
        "evaluation": labelled._asdict() | {"images_per_second": size / labelled.median},
        "peers": peer.figures(peers, found, "evaluation"),
    }
