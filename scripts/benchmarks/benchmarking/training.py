"""The training step: time, operations, memory, its parts, ARM's share, and PyTorch's step."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from arm_jax.experiment import Experiment
from arm_jax.system import sharding
from benchmarking import hardware, parts, peer, programs, timing
from benchmarking.peer import Peer


def measure(
    experiment: Experiment,
    mesh: Mesh,
    peers: Sequence[Peer],
    repeat: int,
    *,
    alone: bool = False,
) -> dict[str, Any]:
    """The figures of a training step, as they go into the JSON file; seconds and bytes.

    `alone`: neither its parts nor the base model beside it, which saves compiling them.

    Raises:
        InputError: see `peer.check`.
    """
    config = experiment.config
    batch = sharding.shard_batch(mesh, programs.random_batch(experiment))
    # The base model first: the device's account of its peak memory only rises, and ARM adds to it.
    base = base_peak = None
    if config.arm.kind != "none" and not alone:
        base = programs.Training(programs.base_model(experiment), mesh, batch)
        jax.block_until_ready([base() for _ in range(2)])
        base_peak = hardware.peak_bytes()
        base.leave()
    step = programs.Training(experiment, mesh, batch)
    jax.block_until_ready([step() for _ in range(2)])
    peak = hardware.peak_bytes()
    players = step.players()
    parameters = programs.parameters(players.segmenter)
    peer.check(peers, config.model.name, parameters)

    pieces = {}
    if not alone:
        pieces = parts.training(players, batch, step.method, step.transformation)
    turns = {"step": timing.prepared(step)}
    if base is not None:
        base.come_back()
        turns["base"] = timing.prepared(base)
    turns |= {f"part {name}": timing.prepared(work) for name, work in pieces.items()}
    turns |= {f"peer {one.name}": one.turn for one in peers}
    found = timing.by_turns(turns, repeat)

    size = config.batch_size
    counted = {name: 3 * size * x for name, x in programs.multiply_adds(experiment).items()}
    each = programs.with_operations(
        {name: timing.Timing.of(found[f"part {name}"]) for name in pieces}, counted
    )
    figures = {
        "kind": "training",
        "setting": programs.setting(experiment, mesh) | {"parameters": parameters},
        "whole": programs.figures(timing.Timing.of(found["step"]), step, each, counted, size, peak),
        "parts": each,
        "peers": peer.figures(peers, found, "step"),
    }
    if base is not None:
        base_bytes = hardware.program_bytes(base.program)
        figures["base"] = timing.Timing.of(found["base"])._asdict() | {
            "program_bytes": base_bytes,
            "peak_bytes": base_peak,
            "step_over_base": timing.ratio(found["step"], found["base"]),
            "bytes_over_base": hardware.program_bytes(step.program) / base_bytes,
        }
    return figures
