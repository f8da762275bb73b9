"""Comparing runs in the bucket of tests with those on a disk."""

import jax
import numpy as np

import arm_jax
from arm_jax.run import mirror

FILES = ("metrics.jsonl", "eval.json", "confusion.csv", "images.csv", "classes.json", "config.json")


def assert_same_run(local, bucket, name, files=FILES):
    for file in files:
        assert bucket.read(f"{name}/{file}") == (local / file).read_bytes(), file
    forget()
    one, other = arm_jax.load(local), arm_jax.load(f"gs://runs-here/{name}")
    assert one.step == other.step and one.scores == other.scores
    expected, found = jax.tree.leaves(one.state), jax.tree.leaves(other.state)
    assert len(expected) == len(found) > 50
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def forget():
    """As a new process finds it."""
    mirror._mirrors.clear()
