#!/bin/bash
# A TPU VM or a pod of them, by its own ssh: the same command on every worker.
#   scripts/launch/tpu_vm.sh NAME ZONE --config configs/cityscapes_coarse.py \
#     --workdir gs://BUCKET/runs/arm --config.data.root=gs://BUCKET/cityscapes
# The checkout is in ~/arm_jax of each worker, with its environment:
#   gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all --command='git clone URL arm_jax &&
#     cd arm_jax && python3 -m venv .venv && .venv/bin/pip install -e ".[tpu,gcs]"'
# The run ends with the ssh connection. For a long one, begin the command behind `cd` with
# `nohup setsid`, and give the file a log. After a preemption, create the TPU again and repeat this.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: $0 NAME ZONE ARGUMENTS of arm_jax" >&2
  exit 2
fi
name=$1 zone=$2
shift 2
printf -v arguments ' %q' "$@"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd arm_jax && .venv/bin/python -m arm_jax.main --coordinator=auto$arguments"
