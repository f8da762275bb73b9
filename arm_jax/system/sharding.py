"""Where arrays live: the only file that knows about parallelism.

The batch is split over all devices of all processes along its first axis, and everything else is
replicated. Under `jax.jit` a sum over the batch is then a sum over the *global* batch, so
BatchNorm is synchronised and ARM's norms are global without a collective in any other file.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from arm_jax.system import terminal
from arm_jax.system.coordinator import Group
from arm_jax.system.errors import InputError

AXIS = "data"


def initialize(group: Group | None) -> None:
    """Join the other processes of a run, before anything else touches JAX.

    Raises:
      InputError: there is no cluster to find by "auto", or the others cannot be reached.
    """
    if group is None:
        return
    # It would take SIGTERM for itself; see `peers`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if group.cluster is not None:
            jax.distributed.initialize(
                cluster_detection_method=group.cluster.method,
                local_device_ids=group.cluster.devices,
            )
            devices = group.cluster.devices
            terminal.say(
                f"cluster      {group.cluster.title}: {jax.process_count()} processes"
                + ("" if devices is None else f", of {len(devices)} GPUs each")
            )
        else:
            jax.distributed.initialize(group.address, group.processes, group.process)
    # JAX raises ValueError without a cluster, and RuntimeError for what its service reports.
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        if group.cluster is not None:
            raise InputError(
                f"--coordinator=auto: {group.cluster.title} started this process, but it cannot"
                f" join the others ({reason}); see that all of them start, and that the first"
                " node's port is open, or name one by JAX_COORDINATOR_PORT"
            ) from error
        raise InputError(
            f"--coordinator={group.address}: process {group.process} of {group.processes} cannot"
            f" join ({reason}); start all of them, and see that the port is free and open"
        ) from error


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with one axis over `devices` (default: every device of every process)."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def one_device() -> Mesh:
    """A mesh of this process's first device."""
    return make_mesh(jax.local_devices()[:1])


def replicated(mesh: Mesh) -> NamedSharding:
    """The placement of the train state: a whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def by_batch(mesh: Mesh) -> NamedSharding:
    """The placement of a batch: its first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def local_batch_size(batch_size: int, mesh: Mesh, parts: int = 1) -> int:
    """This process's share of the global `batch_size`, which is worked on in `parts`.

    Raises InputError when devices and parts do not divide the batch: a remainder would give some
    pixels another weight in the loss.
    """
    if batch_size < 1 or batch_size % (mesh.size * parts):
        each = f" in {parts} parts (accumulate)" if parts > 1 else ""
        raise InputError(
            f"batch_size = {batch_size} cannot be split evenly over {mesh.size} devices{each}; "
            f"choose a multiple of {mesh.size * parts}"
        )
    return batch_size // mesh.size * len(mesh.local_devices)


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Put a whole copy of every (host or device) array of `tree` on each device of the mesh."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """Turn this process's numpy share of a batch into global arrays split over the mesh.

    The global order is process 0's examples, then process 1's, and so on. The copy to the devices
    is asynchronous.
    """
    sharding = by_batch(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def local_mesh(mesh: Mesh) -> Mesh:
    """The devices of this process alone."""
    return make_mesh(list(mesh.local_devices))


def local_copy(mesh: Mesh, tree: Any) -> Any:
    """A tree replicated over a local mesh.

    Its arrays are on the host, or whole on every device that they are on.
    """
    everywhere = replicated(mesh)

    def copy(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array):
            if not leaf.is_fully_replicated:
                raise ValueError(f"an array of shape {leaf.shape} is split over devices")
            leaf = leaf.addressable_data(0)
        return jax.device_put(leaf, everywhere)

    return jax.tree.map(copy, tree)
