"""What commands left behind, as names and digests that can be compared."""

import hashlib
import json
import os
import stat
from pathlib import Path

# Clocks, random names, and what says when something was done.
UNLIKE = ("versions.jsonl", ".arm_jax.jsonl", ".arm_jax.lock", "checked_labels.json")
PAGES = ".html"  # tell folder, starts and dates
# What a killed process may leave only until the next one begins.
HALVES = (".arm_jax.part.*", "*.orbax-checkpoint-tmp*", "incomplete.*")


MOST = 1 << 25


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder by its whole path; links by their aim, pipes by their kind."""
    found = {}
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in names + links:
            path = Path(parent, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                found[str(path)] = "link to " + os.readlink(path)
            elif not stat.S_ISREG(status.st_mode):
                found[str(path)] = f"mode {stat.S_IFMT(status.st_mode):o}"
            else:
                with open(path, "rb") as file:  # of files of holes the beginning is enough
                    found[str(path)] = f"{status.st_size} {digest(file.read(MOST))}"
    return found


def outputs(path: Path) -> dict[str, str]:
    """The files of an output by name, but for those of UNLIKE."""
    if path.suffix == ".safetensors":
        return {path.name: digest(ordered(path.read_bytes()))}
    found = tree(path) if path.is_dir() else {str(path): digest(path.read_bytes())}
    return {
        os.path.relpath(name, path): content
        for name, content in found.items()
        if os.path.basename(name) not in UNLIKE and not name.endswith(PAGES)
    }


def ordered(data: bytes) -> bytes:
    """A safetensors file with its header in order: that of the metadata is random."""
    start = 8 + int.from_bytes(data[:8], "little")
    return json.dumps(json.loads(data[8:start]), sort_keys=True).encode() + data[start:]


def run(folder: Path) -> dict[str, str]:
    """The files of a run but for those of UNLIKE, and each array of its checkpoints."""
    names = outputs(folder)
    found = {
        name: content
        for name, content in names.items()
        if not name.startswith(("checkpoints/", "damaged/", "events.", "damaged_"))
    }
    return found | checkpoints(folder / "checkpoints")


def checkpoints(folder: Path) -> dict[str, str]:
    """Each array, score and input position of each checkpoint, by its content."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # Reading starts threads, which the campaign's own process must not have.
        try:
            os.close(reader)
            with open(writer, "w") as file:
                json.dump(_checkpoints(folder), file)
            os._exit(0)
        except BaseException as error:
            print(f"{folder}: {type(error).__name__}: {error}"[:500], flush=True)
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if status == 0 else {"checkpoints": "cannot be read"}


def _checkpoints(folder: Path) -> dict[str, str]:
    import jax
    import numpy as np
    import orbax.checkpoint as ocp
    from absl import logging

    logging.set_verbosity(logging.FATAL)

    found = {}
    reader = ocp.PyTreeCheckpointer()
    for step in sorted(p.name for p in folder.iterdir() if p.name.isdecimal()):
        state = (folder / step / "state").absolute()
        try:
            shapes = reader.metadata(state).item_metadata.tree
            numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
            restored = reader.restore(state, restore_args=numpy)
        except Exception as error:  # that one may have been damaged
            found[f"checkpoint {step} cannot be read"] = type(error).__name__
            continue
        arrays, _ = jax.tree_util.tree_flatten_with_path(restored)
        for path, array in arrays:
            data = np.asarray(array)
            name = f"checkpoint {step} {jax.tree_util.keystr(path)}"
            found[name] = digest(f"{data.dtype} {data.shape} ".encode() + data.tobytes())
        for name in ("input/metadata", "metrics/metrics"):
            if (folder / step / name).exists():
                found[f"checkpoint {step} {name}"] = digest((folder / step / name).read_bytes())
    return found


def halves(place: Path) -> list[str]:
    """Files and folders that are only there until what they will be is whole."""
    return [str(path) for pattern in HALVES for path in place.rglob(pattern)]


def differ(expected: dict[str, str], found: dict[str, str], *, all_steps: bool = True) -> str:
    """The first differences in a few words, "" if there are none.

    Without `all_steps`, checkpoints may be of other steps, but for the newest.
    """
    if not all_steps:
        steps = {name.split()[1] for name in expected if name.startswith("checkpoint ")}
        newest = max(steps, key=int, default="")
        there = {name for name in found if name.startswith("checkpoint ")}
        dropped = {
            name
            for name in expected.keys() | found.keys()
            if name.startswith("checkpoint ")
            and name.split()[1] != newest
            and (name not in there or name not in expected)
        }
        expected = {name: x for name, x in expected.items() if name not in dropped}
        found = {name: x for name, x in found.items() if name not in dropped}
    missing = sorted(expected.keys() - found.keys())
    more = sorted(found.keys() - expected.keys())
    changed = sorted(n for n in expected.keys() & found.keys() if expected[n] != found[n])
    parts = {"missing": missing, "more": more, "differ": changed}
    return "; ".join(
        f"{len(names)} {what}, first {', '.join(names[:3])}"
        for what, names in parts.items()
        if names
    )
