"""A campaign of faults: what docs/reliability.md promises, tried many times from a seed.

    python -m tests.campaign --minutes 5 --seed 0 --folder runs/campaign

Each trial runs real commands in processes of their own, does something to them or to their files,
and compares what they answer with the rule (`rule`) and what they leave with the end of the same
commands undisturbed (`ends`). Trials are numbered within their kind, and number and seed decide all
that is chosen: `--trial kills/17` repeats one. The file trials.jsonl in the folder holds one line
for each; a campaign that was stopped goes on after the last of them.

__main__   the flags, the order of the trials, what is printed
world      data, photos, trained runs: what the trials begin with
commands   the command lines, and what they leave
processes  to start one, in a fork of this process that has imported everything, or anew
moments    a random moment in the life of a command
rule       what a command may answer
ends       what it left, to be compared bit by bit
kills, stops, disks, vanishing, damage, inputs, crossings   the kinds of trials
"""

import os
import sys
from pathlib import Path

# For the modules that tests share, such as `mutations`.
sys.path.append(str(Path(__file__).parents[1]))
# What the processes are started with; JAX reads it when it is imported. Compiling takes most of the
# time, and what is compiled need not be fast.
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if "jax" not in sys.modules:
    os.environ.update(JAX_PLATFORMS="cpu", XLA_FLAGS=QUICKLY, OPENBLAS_NUM_THREADS="1")
