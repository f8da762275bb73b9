"""Comparing runs in the bucket of tests with those on a disk."""

import re

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


def saved(method, path):
    """The step of the checkpoint whose arrays a request writes, if it does."""
    found = re.search(r"%2Fcheckpoints%2F(\d+)%2Fstate", path)
    return int(found[1]) if found and method == "POST" else None


class Denials:
    """Trouble of a bucket: from the first checkpoint on it denies everything, `number` times."""

    def __init__(self, number):
        self.left, self._begun = number, False

    def __call__(self, method, path):
        self._begun = self._begun or bool(saved(method, path))
        if not (self._begun and self.left):
            return None
        self.left -= 1
        return 403


def whole(bucket, name):
    """The steps of the whole checkpoints of a run, in order."""
    pattern = re.compile(re.escape(name) + r"/checkpoints/(\d+)/commit_success\.txt")
    return sorted(int(found[1]) for found in map(pattern.fullmatch, bucket.names) if found)
