"""A weight file or its address -> its tensors by name, as numpy arrays in the file's own layout."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arm_jax.system.errors import InputError
from arm_jax.weights import torch_files

HUB = "hf://"
# What a repository on the Hub calls its weights.
_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")
# What training frameworks call the state dict in a checkpoint, in order of preference.
_STATE_DICTS = ("state_dict", "model_state_dict", "model")


def read(source: str | Path | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a source.

    Args:
        source: the path of a `.safetensors` file or of a PyTorch file (`.pth`, `.pt`, `.bin`;
            also a checkpoint with the state dict inside), `hf://owner/repository` or
            `hf://owner/repository/file`, or a mapping from names to arrays.

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
    tensors = {
        str(key): np.asarray(value)
        for key, value in _state_dict(contents).items()
        if hasattr(value, "shape") and not str(key).endswith("num_batches_tracked")
    }
    if not tensors:
        raise InputError(f"{name(source)}: holds no tensors")
    # DistributedDataParallel puts this before every name.
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def locate(source: str | Path) -> Path:
    """The file of a source on this machine, downloaded if it is an address and not in the cache.

    Raises:
        InputError: no such file, or no network.
    """
    path = _download(str(source)) if str(source).startswith(HUB) else Path(source).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: no such file of pretrained weights")
    return path


def name(source: str | Path | Mapping[str, Any]) -> str:
    """What messages call the source."""
    return "the given mapping" if isinstance(source, Mapping) else str(source)


def _is_safetensors(path: Path) -> bool:
    return path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    # The numpy reader knows bfloat16 once this package has registered it.
    import ml_dtypes  # noqa: F401
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None


def _state_dict(contents: Any) -> Mapping[str, Any]:
    if not isinstance(contents, Mapping):
        return {}
    for key in _STATE_DICTS:
        if isinstance(contents.get(key), Mapping):
            return contents[key]
    return contents


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
                with _without_warnings():
                    return Path(hf_hub_download(repository, candidate, local_files_only=in_cache))
            except LocalEntryNotFoundError:
                if not in_cache:
                    raise InputError(
                        f"{address}: not in the cache, and the Hub cannot be reached"
                    ) from None
            except EntryNotFoundError:
                continue
            # The client raises errors of its own, of its HTTP library and of the system.
            except Exception as error:
                reason = " ".join(str(error).split()).partition(". ")[0]
                raise InputError(f"{address}: cannot be downloaded ({reason})") from None
    raise InputError(f"{address}: the repository has no {' and no '.join(candidates)}")


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Without a network the client says so a dozen times before it gives up."""
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
