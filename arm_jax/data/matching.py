"""Images and labels that belong together, by name, where a layout defines how names are built."""

import unicodedata

from arm_jax.data import images
from arm_jax.data.trees import Tree
from arm_jax.system.errors import InputError


def match(
    image_tree: Tree,
    label_tree: Tree,
    *,
    image_ending: str = "",
    label_endings: tuple[str, ...] = images.SUFFIXES,
    without: tuple[str, ...] = (),
    only: tuple[str, ...] | None = None,
    skip_unlabelled: bool = False,
) -> list[tuple[str, str, str]]:
    """(id, image name, label name) of all images, sorted by id.

    Args:
      image_tree: where the images are.
      label_tree: where the labels are.
      image_ending: the end of an image's name before the suffix; other images are left alone.
      label_endings: how the label's name goes on after the id, the preferred one first.
      without: ids that are left out.
      only: the ids to take, if not all that are there.
      skip_unlabelled: leave images without a label alone.

    An id is the path without ending and suffix, in composed characters (NFC). Labels without an
    image are left alone. Raises InputError when there is no image, one of `only` is missing, an
    image has no label, or two images share an id.
    """
    image_names = _by_id(image_tree, tuple(image_ending + suffix for suffix in images.SUFFIXES))
    label_names = _by_id(label_tree, label_endings, prefer=True)
    for identity in without:
        image_names.pop(identity, None)
    for identity in only or ():
        if identity not in image_names:
            raise InputError(
                f"{image_tree.path(identity + image_ending)}: no such image, though the list of "
                "the split names it; add it or correct the list"
            )
    if only is not None:
        image_names = {identity: image_names[identity] for identity in only}
    if skip_unlabelled:
        image_names = {key: name for key, name in image_names.items() if key in label_names}
    if not image_names:
        raise InputError(
            f"{image_tree.path('')}: holds no images *{image_ending} "
            f"({', '.join(images.SUFFIXES)}); point at a folder that does"
        )
    missing = [identity for identity in image_names if identity not in label_names]
    if missing:
        expected = label_tree.path(missing[0] + label_endings[0])
        many = f" (nor have {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise InputError(
            f"{image_tree.path(image_names[missing[0]])}: has no label {expected}{many}; add it "
            "or remove the image"
        )
    return [(key, image_names[key], label_names[key]) for key in sorted(image_names)]


def _by_id(tree: Tree, endings: tuple[str, ...], prefer: bool = False) -> dict[str, str]:
    """Names of the files with one of the endings (in any case), by what is left without it.

    Two files of one id are an error, unless `prefer` takes the one with the earlier ending.
    """
    found: dict[str, tuple[int, str]] = {}
    for name in tree.names():
        lower = name.lower()
        for rank, ending in enumerate(endings):
            if lower.endswith(ending.lower()):
                identity = unicodedata.normalize("NFC", name[: len(name) - len(ending)])
                other = found.get(identity)
                if other and not prefer:
                    raise InputError(
                        f"{tree.path(name)}: has the same name as {tree.path(other[1])}; "
                        "rename one of them"
                    )
                if not other or rank < other[0]:
                    found[identity] = rank, name
                break
    return {identity: name for identity, (_, name) in found.items()}
