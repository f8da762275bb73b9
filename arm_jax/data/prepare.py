"""Prepare a data set of datasets/ once, so that no later run can take half of one for whole.

TensorFlow Datasets writes into a folder `incomplete...` and renames it when all is there. Here are
added a lock, so that processes that start together prepare once, the removal of what a killed run
left (and of nothing else), and errors in one line.
"""

import contextlib
import errno
import importlib
import io
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from arm_jax.data import prepared
from arm_jax.system import locks, names, outputs, processes, shipped
from arm_jax.system.errors import InputError

# How a data set's folder is known that was prepared before, and what a version's folder holds.
KNOWN_BY = ("*/dataset_info.json", "*/*/dataset_info.json")
_RECORDS = ("*.array_record*", "features.json", "metadata.json")
_HALVES = "incomplete.*"
DATASETS = shipped.folder("datasets")


def builder_names() -> list[str]:
    """The data sets that can be prepared."""
    return sorted(path.parent.name for path in DATASETS.glob("*/*_dataset_builder.py"))


def load_builder(name: str) -> Any:
    """The builder class of datasets/<name>, loaded by file: that folder is no installed package.

    Raises InputError for an unknown name.
    """
    file = DATASETS / name / f"{name}_dataset_builder.py"
    if not file.is_file():
        known = ", ".join(builder_names())
        raise InputError(f"data set {name!r} has no builder under {DATASETS}; there are: {known}")
    # On the path, so that worker processes find its functions, but not as a package `datasets`.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    return importlib.import_module(file.stem).Builder


def ensure(
    name: str,
    data_dir: str | Path,
    *,
    config: Any = "",
    source: str | Path = "",
    progress: bool = True,
) -> Path:
    """The folder of the prepared data set; prepared now if it is not there yet.

    The processes of a group share the making of the examples, the first one writes them, and every
    one must call this.

    Args:
      name: of a folder under datasets/.
      data_dir: prepared data sets lie in its subfolders.
      config: the name of one of the builder's configs, "" for its first, or a config itself.
      source: the folder of the official files, for the builders that read some.
      progress: whether to show bars on the terminal.

    Raises:
      InputError: for an unknown name or config, a folder that cannot be written, a full disk, and
        whatever is wrong with the files that the builder reads.
    """
    prepared.require_array_record(name)
    builder_class = load_builder(name)
    configs = [known.name for known in builder_class.BUILDER_CONFIGS]
    if isinstance(config, str) and config and config not in configs:
        raise InputError(f"{name} has no config {config!r}; choose from {', '.join(configs)}")
    if not str(data_dir):
        raise InputError("the data folder is not given; name one that prepared data may be put in")
    data_dir = names.local(data_dir, "the data folder").resolve()
    manual = str(names.local(source).resolve()) if str(source) else None
    try:
        builder = builder_class(
            config=config or None, data_dir=str(data_dir), file_format="array_record"
        )
        folder = Path(builder.data_dir)
        builder.progress = progress

        def prepared_already() -> bool:
            return (folder / "dataset_info.json").is_file()

        if not processes.from_first(prepared_already):
            processes.once(lambda: outputs.claim(data_dir / name, "prepare", known_by=KNOWN_BY))
            with processes.held_by_first(lambda: locks.held(data_dir / name, wait=math.inf)):
                if not processes.from_first(prepared_already):
                    processes.once(lambda: _remove_leftovers(folder))
                    if processes.is_first():
                        _write(builder, folder, manual)
                    else:
                        _help(builder, manual)
        else:
            processes.once(lambda: _remove_halves(folder, data_dir / name))
    except (OSError, RuntimeError) as error:
        reason = _system_reason(error)
        if reason is None:
            raise
        raise InputError(
            f"{name} cannot be prepared in {data_dir}: {reason}; free some space or choose another "
            "folder"
        ) from error
    return folder


def _write(builder: Any, folder: Path, manual: str | None) -> None:
    """Have the data set written; the other processes are in `_help` meanwhile."""
    import tensorflow_datasets as tfds

    # The builders show bars of their own, with the time left.
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_dir=str(folder.parent / "incomplete.downloads"),
            download_config=tfds.download.DownloadConfig(manual_dir=manual),
        )
    _remove_leftovers(folder)


def _help(builder: Any, manual: str | None) -> None:
    """Make this process's share of the examples, in the order in which they are written."""
    for examples in builder._split_generators(_Manual(manual)).values():
        for _ in examples:
            pass


class _Manual:
    """What the builders ask of a download manager: the folder of the official files."""

    def __init__(self, folder: str | None):
        self._folder = folder

    @property
    def manual_dir(self) -> str:
        """Raises AssertionError where there is none, as that of TensorFlow Datasets does."""
        if self._folder is None or not Path(self._folder).exists():
            raise AssertionError("no folder")
        return self._folder


def _remove_halves(folder: Path, locked: Path) -> None:
    """Of one that was killed when all was there; or another version's, being prepared."""
    if any(folder.parent.glob(_HALVES)):
        with contextlib.suppress(InputError), locks.held(locked):
            _remove_leftovers(folder)


def _system_reason(error: Exception) -> str | None:
    """What the system reported, also where the writer of records wraps it in a RuntimeError."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    known = (os.strerror(code) for code in errno.errorcode)
    return next((text for text in known if f" {text};" in str(error)), None)


def _remove_leftovers(folder: Path) -> None:
    """What an earlier, killed preparation of this version left, and a folder without its info.

    Raises InputError if that folder holds anything but files of a preparation.
    """
    if folder.parent.is_dir():
        for path in folder.parent.glob(_HALVES):
            shutil.rmtree(path)
    if folder.is_dir() and not (folder / "dataset_info.json").is_file():
        for path in sorted(folder.iterdir()):
            if not any(path.match(pattern) for pattern in _RECORDS) or path.is_dir():
                raise InputError(
                    f"{path} was not written by this program, and lies where the data set is to be"
                    " prepared; move it, or choose another data folder"
                )
        shutil.rmtree(folder)
