"""Train on a Ray cluster: Ray Train's JaxTrainer starts a process on each worker.

    python scripts/launch/ray_train.py --workers=4 --gpus=8 -- \
        --config=configs/cityscapes_coarse.py --workdir=gs://BUCKET/runs/arm

What stands behind -- goes to arm_jax. Ray decides where workers run and starts them again after a
failure; they go on from the last checkpoint. `pip install "ray[train]"` comes with the cluster.
Two CPU workers on one machine have trained to the end with Ray 2.60.0.
"""

import argparse
import os
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def work(settings: dict) -> None:
    """One process of the run, in a process of its own: JAX is not started twice in one.

    The first worker's host has the coordinator.
    """
    import ray.train
    from ray.train import collective

    context = ray.train.get_context()
    address = f"{ray.util.get_node_ip_address()}:{settings['port']}"
    address = collective.broadcast_from_rank_zero(address)
    group = [
        f"--coordinator={address}",
        f"--processes={context.get_world_size()}",
        f"--process={context.get_world_rank()}",
    ]
    command = [sys.executable, "-m", "arm_jax.main", *settings["arguments"]]
    if context.get_world_size() > 1:
        command += group
    subprocess.run(command, cwd=settings["folder"], check=True)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes of the run")
    parser.add_argument("--gpus", type=int, default=0, help="of each worker; 0 for CPUs")
    parser.add_argument("--cpus", type=int, default=1, help="of each worker")
    parser.add_argument("--port", type=int, default=8476, help="free on the first worker")
    parser.add_argument("--failures", type=int, default=3, help="after which Ray gives up")
    parser.add_argument("arguments", nargs="*", help="behind --: those of arm_jax")
    return parser.parse_args(argv)


def main() -> None:
    given = parse()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.jax import JaxTrainer

    per_worker = {"CPU": given.cpus, **({"GPU": given.gpus} if given.gpus else {})}
    settings = {"arguments": given.arguments, "port": given.port, "folder": REPOSITORY}
    trainer = JaxTrainer(
        work,
        train_loop_config=settings,
        scaling_config=ScalingConfig(
            num_workers=given.workers,
            use_gpu=given.gpus > 0,
            resources_per_worker=per_worker,
        ),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=given.failures)),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
