"""The features of a network's frozen parts on its training images, computed once and kept.

What is missing or damaged in the folder is computed before the first step; see `data.features` for
the files. Several processes share the work: those that see one folder, as those of a machine do,
compute a part of its entries each. A folder that one process alone sees is filled by that process.
"""

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import FrozenConfigDict

from arm_jax.data import features, records
from arm_jax.data.records import Source
from arm_jax.networks import Segmenter
from arm_jax.networks.input import RGB, normalize
from arm_jax.networks.parts import PARTS
from arm_jax.system import caches, parallel, processes, sharding, terminal
from arm_jax.system.caches import GIB
from arm_jax.system.errors import InputError
from arm_jax.weights import weight_names

AT_ONCE = 4  # images that pass through the network together
SIDE = 64  # a multiple of every stride


def prepare(model: Segmenter, source: Source, config: FrozenConfigDict) -> features.Features:
    """The kept features of all training images; computes those that are not there.

    Args:
      model: with its frozen parts.
      source: the training images.
      config: every setting of the run.

    Every process of a run must call this.

    Raises:
      InputError: the features of all images are more than `model.feature_gib`, an image cannot be
        read, or the folder cannot be written; in every process.
    """
    above = caches.folder(config.model.feature_folder, "features", "model.feature_folder")
    folder = above / weights_digest(model)
    maps = _maps(model)
    sizes = features.Sizes(
        base_size=config.augment.base_size or None,
        crop=config.augment.crop,
        grid=max(one.stride for one in maps.values()),
    )
    read = functools.partial(_entries, source, sizes, (False, True)[: 1 + config.augment.flip])
    found = list(parallel.shared_out(read, len(source)))
    entries = [tuple(folder / name for name in names) for names, _ in found]
    kept = features.Features(maps, sizes, entries, [canvas for _, canvas in found])

    bytes_ = {
        path: features.entry_bytes(maps, canvas)
        for paths, canvas in zip(kept.entries, kept.canvases, strict=True)
        for path in paths
    }
    needed, most = sum(bytes_.values()), int(config.model.feature_gib * GIB)
    if needed > most:
        raise InputError(
            f"the features of {len(source):,} images have {needed / GIB:,.1f} GiB, and"
            f" model.feature_gib = {config.model.feature_gib:g}; raise it, make augment.base_size"
            " or augment.crop smaller, or set model.feature_cache = False"
        )
    index = processes.place()[0]
    together = caches.sharers(folder, "model.feature_folder")
    rank, ranks = together.index(index), len(together)
    own = list(bytes_)[rank * len(bytes_) // ranks : (rank + 1) * len(bytes_) // ranks]
    whole = parallel.ordered(
        lambda path: features.is_whole(path, bytes_[path]), own, parallel.cores(), threads=True
    )
    missing = {path for path, is_whole in zip(own, whole, strict=True) if not is_whole}
    lacks = processes.gathered((len(missing), sum(bytes_[path] for path in missing)))
    absent, new = (sum(lacks[one][i] for one in together) for i in (0, 1))
    terminal.say(
        f"features     {len(bytes_):,} entries of {needed / GIB:,.2f} GiB in {folder},"
        f" {absent:,} of them to compute"
    )
    if any(each for each, _ in lacks):
        if absent and rank == 0:
            features.make_room(above, set(bytes_), new, most)
        processes.gathered(None)  # nobody writes before there is room
        error = None
        try:
            _compute(model, source, kept, missing)
        except InputError as mistake:
            error = mistake
        # One machine may take far longer than another.
        processes.wait(f"features {processes.moves}")
        processes.total(np.zeros(1, np.int64), error)
    return kept


def weights_digest(model: Segmenter) -> str:
    """A digest of all that decides what the frozen parts compute of an image."""
    backbone = model.backbone
    parts = PARTS[: backbone.frozen]
    # The head decides about the dilations of the last stage.
    head = model.head_name if "stage4" in parts else ""
    dtype = jax.tree.leaves(_shapes(model))[0].dtype
    made = (model.backbone_name, head, model.variant, model.output_stride, str(dtype), parts)
    stated: tuple[Any, ...] = (*made, model.align_corners)
    if model.bands != RGB:
        stated += (model.bands,)
    digest = hashlib.blake2b(repr(stated).encode(), digest_size=16)
    for part in parts:
        for name, variable in weight_names.variables(backbone.modules(part)).items():
            value = np.asarray(variable[...])
            digest.update(f"{part}.{name} {value.shape}".encode())
            digest.update(value.tobytes())
    return digest.hexdigest()


def _shapes(model: Segmenter) -> dict[str, jax.ShapeDtypeStruct]:
    """Of the features of an image of `SIDE` x `SIDE` pixels."""
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, model.bands.number), jnp.float32)
    return jax.eval_shape(lambda image: model.frozen_features(image), image)


def _maps(model: Segmenter) -> dict[str, features.Map]:
    return {
        name: features.Map(SIDE // x.shape[1], x.shape[3]) for name, x in _shapes(model).items()
    }


def _entries(
    source: Source, sizes: features.Sizes, mirrored: tuple[bool, ...], index: int
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """The names of the files of a record's features, and its canvas."""
    image = records.image(source, index)
    keys = (features.key(image, sizes, flip) for flip in mirrored)
    return tuple(f"{key}{features.SUFFIX}" for key in keys), sizes.canvas(image.shape[:2])


def _compute(model: Segmenter, source: Source, kept: features.Features, missing: set[Path]) -> None:
    """Write the missing entries, image by image, each once, on a device of this process."""
    if not missing:
        return
    graphdef, state = nnx.split(model)
    state = sharding.local_copy(sharding.one_device(), state)

    @jax.jit
    def compute(
        state: nnx.State, images: jax.Array, extents: jax.Array, mirrored: jax.Array
    ) -> dict[str, jax.Array]:
        x = normalize(images, extents, model.bands)
        x = jnp.where(mirrored[:, None, None, None], jnp.flip(x, 2), x)
        found = nnx.merge(graphdef, state).frozen_features(x)
        return jax.tree.map(lambda x: x.astype(jnp.float16), found)

    with terminal.bar("features", total=len(missing)) as bar:
        for batch in _batches(source, kept, missing):
            full = batch + [batch[-1]] * (AT_ONCE - len(batch))
            images = np.stack([view.image for _, view, _ in full])
            extents = np.array([view.extent for _, view, _ in full], np.int32)
            found = jax.device_get(
                compute(state, images, extents, np.array([flip for *_, flip in full]))
            )
            for number, (path, *_) in enumerate(batch):
                features.write(path, {name: x[number] for name, x in found.items()})
            bar.update(len(batch))


Work = list[tuple[Path, features.View, bool]]


def _batches(source: Source, kept: features.Features, missing: set[Path]) -> Iterator[Work]:
    """The missing entries with what to compute them of, in batches of one canvas."""
    missing = set(missing)
    indices = [i for i, paths in enumerate(kept.entries) if missing.intersection(paths)]

    def view(index: int) -> features.View:
        return kept.sizes.view(records.image(source, index))

    waiting: dict[tuple[int, int], Work] = {}
    views = parallel.ordered(view, indices, 2, threads=True)
    for index, seen in zip(indices, views, strict=True):
        same = waiting.setdefault(kept.canvases[index], [])
        for mirrored, path in enumerate(kept.entries[index]):
            if path in missing:  # equal images have one entry
                missing.remove(path)
                same.append((path, seen, bool(mirrored)))
        while len(same) >= AT_ONCE:
            yield same[:AT_ONCE]
            del same[:AT_ONCE]
    yield from filter(None, waiting.values())
