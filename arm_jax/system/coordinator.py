"""How the processes of a run find each other: what the flags ask for, checked before JAX starts."""

import os
import re
from dataclasses import dataclass

from arm_jax.system import clusters
from arm_jax.system.errors import InputError

AUTO = "auto"


@dataclass(frozen=True)
class Group:
    """The processes of a run; without an address, those that a cluster started."""

    address: str | None = None
    processes: int | None = None
    process: int | None = None
    cluster: clusters.Cluster | None = None


def group(coordinator: str | None, processes: int | None, process: int | None) -> Group | None:
    """The group that a process is to join; None for a single process.

    Args:
      coordinator: None; "auto" where the launcher defines it, see `clusters`; otherwise "host:port"
        of process 0.
      processes, process: how many there are, and which of them this is; with "host:port" only.

    Raises:
      InputError: they do not go together, or no cluster is found; the message names the flag and
        what it must be.
    """
    if coordinator is None:
        if processes is not None or process is not None:
            raise InputError("--processes and --process need --coordinator=host:port as well")
        return None
    if coordinator == AUTO:
        if processes is not None or process is not None:
            raise InputError("--coordinator=auto finds --processes and --process; leave them out")
        return Group(cluster=clusters.find(os.environ))
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})", coordinator)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise InputError(
            f"--coordinator={coordinator} must be host:port of the first process, such as"
            " 10.0.0.1:8476, with a port that is free there; or 'auto' on a cluster"
        )
    if processes is None or process is None or not 0 <= process < processes:
        raise InputError(
            f"--coordinator={coordinator} needs --processes and --process, from 0 to processes - 1;"
            f" they are {processes} and {process}"
        )
    return Group(coordinator, processes, process)
