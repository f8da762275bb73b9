"""A weight file or its address -> its tensors by name, as numpy arrays in the file's own layout."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.system import addresses
from arm_jax.system.errors import InputError
from arm_jax.system.staging import stage
from arm_jax.weights import torch_files

HUB = "hf://"
REMEDY = (
    "give a file that is here by --config.model.pretrained=FILE, or train from scratch by"
    " --config.model.pretrained="
)
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pkl")
# What a repository on the Hub calls its weights.
_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")
# What training frameworks call the state dict in a checkpoint, in order of preference.
_STATE_DICTS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "params_ema",
    "params",
    "net",
    "network",
    "module",
    "weights",
)
# What wrappers put before every name: DistributedDataParallel, Lightning, and networks that hold
# the backbone as a part.
_PREFIXES = ("module.", "model.", "net.", "network.", "encoder.")
_COMPILED = "_orig_mod."  # also within names, where a part of the network was compiled


def read(source: str | Path | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a source.

    Args:
        source: the path or address of a `.safetensors` file or of a PyTorch file (`.pth`, `.pt`,
            `.bin`; also a checkpoint with the state dict inside), `hf://owner/repository` or
            `hf://owner/repository/file`, or a mapping from names to arrays.

    A checkpoint is searched one level deep for its state dict, and a prefix that all names share
    is left out of them.

    Returns:
        Arrays by name, without BatchNorm's counters of batches and without what is not a tensor.

    Raises:
        InputError: no such file, no network, a damaged file, or one without tensors.
    """
    if isinstance(source, Mapping):
        contents: Any = source
    else:
        path = locate(source)
        contents = _read_safetensors(path) if _is_safetensors(path) else torch_files.read(path)
    tensors = _without_prefix(_tensors(_state_dict(contents)))
    if not tensors:
        raise InputError(f"{name(source)}: holds no tensors{_objects(contents)}")
    return tensors


def metadata(source: str | Path | Mapping[str, Any]) -> dict[str, str]:
    """What a `.safetensors` file states of its tensors; {} for other sources.

    Raises:
        InputError: as `read`.
    """
    if isinstance(source, Mapping):
        return {}
    path = locate(source)
    if not _is_safetensors(path):
        return {}
    from safetensors import safe_open

    with _readable(path), safe_open(path, "numpy") as file:
        return dict(file.metadata() or {})


def locate(source: str | Path, cache: stage.Cache | None = None) -> Path:
    """The file of a source on this machine, downloaded if it is an address and not in the cache.

    Args:
        source: as for `read`.
        cache: where files of gs://, s3:// and https:// are kept; None for the user's cache.

    Raises:
        InputError: no such file, or no network.
    """
    if str(source).startswith(HUB):
        path = _download(str(source))
    elif addresses.is_address(source):
        path = stage.local(source, "model.pretrained", cache, single=True)
    else:
        path = Path(source).expanduser()
    if not path.is_file():
        # As a repository of the Hub is called.
        hub = f" ({HUB}{source} names that of the Hub)" if str(source).count("/") == 1 else ""
        raise InputError(f"{path}: no such file of pretrained weights{hub}")
    return path


def is_staged(source: str | Path) -> bool:
    """Whether a source is the address of a weight file, which is brought to this machine first.

    One of a bucket that does not end as such files do is a run's folder.
    """
    text = str(source)
    if not addresses.is_address(text) or text.startswith(HUB):
        return False
    return not text.startswith(("gs://", "s3://")) or Path(text).suffix in SUFFIXES


def name(source: str | Path | Mapping[str, Any]) -> str:
    """What messages call the source."""
    return "the given mapping" if isinstance(source, Mapping) else str(source)


def _is_safetensors(path: Path) -> bool:
    return path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    # The numpy reader knows bfloat16 once this package has registered it.
    import ml_dtypes  # noqa: F401
    from safetensors.numpy import load_file

    with _readable(path):
        return load_file(path)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    # The library raises its own errors, the system's, and KeyError for types of numbers that
    # NumPy lacks.
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if file.read(256).lstrip().startswith(b"<"):
                reason = "it is a web page: the server asks for a login, or the address is of one"
        raise InputError(f"{path}: not a readable safetensors file ({reason[:200]})") from None


def _state_dict(contents: Any) -> Mapping[str, Any]:
    """The contents themselves where they hold tensors, or the part of them that does."""
    if not isinstance(contents, Mapping):
        return {}
    parts = {
        key: value
        for key, value in contents.items()
        if isinstance(value, Mapping) and any(map(_is_tensor, value.items()))
    }
    for key in _STATE_DICTS:
        if key in parts:
            return parts[key]
    if len(parts) == 1 and not any(map(_is_tensor, contents.items())):
        return next(iter(parts.values()))
    return contents


def _tensors(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in state.items() if _is_tensor((key, value))}


def _is_tensor(item: tuple[Any, Any]) -> bool:
    key, value = item
    is_counter = isinstance(key, str) and key.endswith("num_batches_tracked")
    return isinstance(key, str) and hasattr(value, "shape") and not is_counter


def _without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    tensors = {key.replace(_COMPILED, ""): value for key, value in tensors.items()}
    while tensors:
        shared = [p for p in _PREFIXES if all(key.startswith(p) for key in tensors)]
        if not shared:
            break
        tensors = {key.removeprefix(shared[0]): value for key, value in tensors.items()}
    return tensors


def _objects(contents: Any) -> str:
    """Names of the classes that a PyTorch file holds instead of tensors, as part of a sentence."""
    parts = contents.values() if isinstance(contents, Mapping) else [contents]
    names = sorted({part.name for part in parts if isinstance(part, torch_files.Foreign)})
    if not names:
        return ""
    return f", but objects of {', '.join(names[:3])}; save the state dict alone"


def _download(address: str) -> Path:
    """The cached file if there is one: what was published under a name does not change."""
    parts = address.removeprefix(HUB).split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise InputError(f"{address}: write {HUB}owner/repository or {HUB}owner/repository/file")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, candidates = "/".join(parts[:2]), parts[2:] or _HUB_NAMES
    for in_cache in (True, False):
        for candidate in candidates:
            try:
                with quiet_client():
                    return Path(hf_hub_download(repository, candidate, local_files_only=in_cache))
            except LocalEntryNotFoundError:
                if not in_cache:
                    raise InputError(
                        f"{address}: not in the cache, and the Hub cannot be reached"
                    ) from None
            except EntryNotFoundError:
                continue
            # The client raises its own errors, its HTTP library's and the system's.
            except Exception as error:
                reason = " ".join(str(error).split()).partition(". ")[0]
                raise InputError(f"{address}: cannot be downloaded ({reason})") from None
    raise InputError(f"{address}: the repository has no {' and no '.join(candidates)}")


@contextlib.contextmanager
def quiet_client() -> Iterator[None]:
    """The Hub's client without the dozen retries that it logs where there is no network, and
    without bars where there is no terminal."""
    from huggingface_hub import utils
    from huggingface_hub.utils import logging

    level, hidden = logging.get_verbosity(), utils.are_progress_bars_disabled()
    logging.set_verbosity_error()
    hides = not (hidden or sys.stderr.isatty())
    if hides:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if hides:
            utils.enable_progress_bars()
