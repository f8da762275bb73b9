"""Which cluster started this process, by the variables that its launcher sets.

JAX finds the same ones, in the same order, when it is asked to join; it does not report which, and
gives a task of SLURM or Open MPI the one GPU of its number on the node, also where it has all of
them, or sees one alone. Nothing here needs JAX.
"""

import glob
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass

from arm_jax.system.errors import InputError

_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)
_OPEN_MPI = "OMPI_MCA_orte_hnp_uri"
_TPU_WORKERS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
_KUBERNETES = "KUBERNETES_SERVICE_HOST"
_OTHERWISE = "or give --coordinator=host:port, --processes and --process"
_SEARCHED = (
    f"Open MPI ({_OPEN_MPI}), SLURM (SLURM_PROCID and others, by srun), a TPU of GKE"
    " (TPU_WORKER_HOSTNAMES), a Cloud TPU (libtpu and its devices), Kubernetes"
    f" ({_KUBERNETES})"
)


@dataclass(frozen=True)
class Cluster:
    """What a process was started by.

    Attributes:
      title: as messages name it, with the variable that shows it.
      method: JAX's name of it; None where JAX has to look for itself.
      devices: the GPUs of this process, by their place among those that it sees; None for JAX's
        choice.
    """

    title: str
    method: str | None
    devices: tuple[int, ...] | None = None


def find(environ: Mapping[str, str]) -> Cluster:
    """The cluster that started this process.

    Raises:
      InputError: there is none; the message lists what was looked for.
    """
    if _OPEN_MPI in environ:
        devices = _gpus(environ, "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
        return Cluster(f"Open MPI ({_OPEN_MPI})", "ompi", devices)
    if all(name in environ for name in _SLURM):
        here = _slurm_tasks_here(environ)
        devices = _gpus({**environ, "tasks": str(here)}, "SLURM_LOCALID", "tasks")
        return Cluster(f"SLURM (job {environ['SLURM_JOB_ID']})", "slurm", devices)
    if "OMPI_COMM_WORLD_SIZE" in environ:
        if importlib.util.find_spec("mpi4py") is None:
            raise InputError(
                "--coordinator=auto: Open MPI 5 started this process, and JAX finds the others"
                f" by the package mpi4py, which is not installed; pip install mpi4py, {_OTHERWISE}"
            )
        devices = _gpus(environ, "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")
        return Cluster("Open MPI (OMPI_COMM_WORLD_SIZE, by mpi4py)", "mpi4py", devices)
    if _has_tpu():
        name = next((name for name in _TPU_WORKERS if name in environ), None)
        if name is not None:
            return Cluster(f"a TPU of GKE ({name})", None)
        return Cluster("a Cloud TPU (its metadata)", None)
    if _KUBERNETES in environ:
        if importlib.util.find_spec("kubernetes") is None:
            raise InputError(
                f"--coordinator=auto: Kubernetes ({_KUBERNETES}) started this process, and JAX"
                " finds the others by the package kubernetes, which is not installed; pip install"
                f" kubernetes, {_OTHERWISE}, as scripts/launch/gke_gpu_jobset.yaml does"
            )
        return Cluster(f"Kubernetes ({_KUBERNETES})", None)
    if "SLURM_JOB_ID" in environ:
        lacking = ", ".join(name for name in _SLURM if name not in environ)
        raise InputError(
            f"--coordinator=auto: this is SLURM's job {environ['SLURM_JOB_ID']}, but no task of it"
            f" ({lacking} not set); start it by srun, as scripts/launch/slurm_gpus.sbatch does"
        )
    raise InputError(
        f"--coordinator=auto: no cluster started this process; looked for {_SEARCHED}; start it by"
        f" one of these (scripts/launch has a file for each), {_OTHERWISE}"
    )


def _has_tpu() -> bool:
    devices = glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")
    return bool(devices) and importlib.util.find_spec("libtpu") is not None


def _slurm_tasks_here(environ: Mapping[str, str]) -> int:
    """Tasks of the step on this node, such as 4 of "4(x2),3"; 0 where SLURM does not state it."""
    text = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE", "")
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            return 0
        numbers += [int(match[1])] * int(match[2] or 1)
    node = environ.get("SLURM_NODEID", "0")
    return numbers[int(node)] if node.isdecimal() and int(node) < len(numbers) else 0


def _gpus(environ: Mapping[str, str], rank: str, size: str) -> tuple[int, ...] | None:
    """An equal part of the GPUs that this process sees, by its number among those of the node."""
    if "JAX_LOCAL_DEVICE_IDS" in environ:
        return None
    mine, processes = (environ.get(name, "") for name in (rank, size))
    seen = _visible_gpus(environ)
    if not (mine.isdecimal() and processes.isdecimal()) or int(processes) < 1 or not seen:
        return None
    if seen < int(processes):  # it sees those that are its own
        return tuple(range(seen))
    each = seen // int(processes)
    return tuple(range(int(mine) * each, (int(mine) + 1) * each))


def _visible_gpus(environ: Mapping[str, str]) -> int:
    named = environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return len(glob.glob("/dev/nvidia[0-9]*"))
    return 0 if named in ("-1", "NoDevFiles") else len([one for one in named.split(",") if one])
