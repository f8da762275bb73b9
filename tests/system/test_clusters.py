"""What launchers set, what is found by it, and two processes that meet by it."""

import os
import socket
import subprocess
import sys

import pytest

from arm_jax.system import clusters, coordinator
from arm_jax.system.errors import InputError

SLURM = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_NODELIST": "node[001-002]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}


@pytest.fixture(autouse=True)
def no_devices(monkeypatch):
    """A machine without GPUs and TPUs, whatever this one has."""
    monkeypatch.setattr(clusters.glob, "glob", lambda pattern: [])


def eight_gpus(pattern):
    return [f"/dev/nvidia{i}" for i in range(8)] if "nvidia" in pattern else []


@pytest.mark.parametrize(
    ("environ", "title", "method"),
    [
        (SLURM, "SLURM (job 1234)", "slurm"),
        (OPEN_MPI, "Open MPI (OMPI_MCA_orte_hnp_uri)", "ompi"),
        ({**SLURM, **OPEN_MPI}, "Open MPI (OMPI_MCA_orte_hnp_uri)", "ompi"),  # as JAX decides
    ],
)
def test_what_launchers_set_is_named(environ, title, method):
    assert clusters.find(environ) == clusters.Cluster(title, method, None)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "no cluster started this process; looked for Open MPI .*SLURM.*TPU.*Kubernetes"),
        ({"SLURM_JOB_ID": "7"}, "SLURM's job 7, but no task of it .*SLURM_PROCID.*by srun"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "Open MPI 5 .*mpi4py, which is not installed"),
        ({"KUBERNETES_SERVICE_HOST": "x"}, "Kubernetes .*gke_gpu_jobset.yaml"),
    ],
)
def test_what_was_looked_for_is_told(environ, words, monkeypatch):
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=words) as caught:
        clusters.find(environ)
    assert "\n" not in str(caught.value) and "--coordinator=auto: " in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "title"),
    [
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "a TPU of GKE (TPU_WORKER_HOSTNAMES)"),
        ({"KUBERNETES_SERVICE_HOST": "x", "TPU_WORKER_HOSTNAMES": "a"}, "a TPU of GKE"),
        ({}, "a Cloud TPU"),
    ],
)
def test_a_tpu_is_named(environ, title, monkeypatch):
    monkeypatch.setattr(clusters.glob, "glob", lambda p: ["/dev/vfio/0"] if "vfio" in p else [])
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: object())
    assert clusters.find(environ).title.startswith(title)


@pytest.mark.parametrize(
    ("changes", "devices"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, (1,)),  # a task for each GPU
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_LOCALID": "0"}, tuple(range(8))),
        ({"SLURM_STEP_TASKS_PER_NODE": "3,4"}, (2, 3)),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "0"}, (0,)),  # bound
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x2)", "JAX_LOCAL_DEVICE_IDS": "1"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x2)", "CUDA_VISIBLE_DEVICES": "NoDevFiles"}, None),
        ({}, None),
    ],
)
def test_a_task_has_its_part_of_the_gpus_of_a_node(changes, devices, monkeypatch):
    monkeypatch.setattr(clusters.glob, "glob", eight_gpus)
    assert clusters.find({**SLURM, **changes}).devices == devices


def test_a_rank_of_open_mpi_has_its_part(monkeypatch):
    monkeypatch.setattr(clusters.glob, "glob", eight_gpus)
    assert clusters.find(OPEN_MPI).devices == (2, 3)


def test_auto_asks_for_a_cluster_and_takes_no_numbers(monkeypatch):
    for name in (*SLURM, *OPEN_MPI, "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="no cluster started this process"):
        coordinator.group("auto", None, None)
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert coordinator.group("auto", None, None).cluster.method == "slurm"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["slurm", "ompi"])
def test_two_processes_meet_by_what_their_launcher_set(launcher):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    code = (
        "from arm_jax.system import coordinator, sharding, processes\n"
        "sharding.initialize(coordinator.group('auto', None, None))\n"
        "print(processes.place(), processes.gathered(processes.place()[0]), flush=True)\n"
    )
    started = []
    for rank in map(str, range(2)):
        if launcher == "slurm":
            own = {**SLURM, "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "2"}
            own |= {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": "0"}
        else:
            own = {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": rank}
            own["OMPI_MCA_orte_hnp_uri"] = "1531576320.0;tcp://127.0.0.1:34911"
            own["OMPI_COMM_WORLD_LOCAL_RANK"] = rank
        environ = {**os.environ, **own, "JAX_COORDINATOR_PORT": port, "JAX_NUM_CPU_DEVICES": "1"}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True
            )
        )
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    for rank, output in enumerate(outputs):
        assert f"({rank}, 2) [0, 1]" in output
    name = {"slurm": "SLURM (job 1234)", "ompi": "Open MPI"}[launcher]
    assert f"cluster      {name}" in outputs[0] and ": 2 processes" in outputs[0]
    assert "cluster" not in outputs[1]
