"""Where ImageNet weights of a backbone are published, as its entry of `BACKBONES` has it."""

from arm_jax.system.errors import InputError

IMAGENET = "imagenet"


def source(setting: str, name: str, variant: str | None = None) -> str:
    """What `model.pretrained` stands for: itself, or the address that goes with "imagenet".

    Args:
        setting: "imagenet", a path, an address, or "" for none.
        name: a network, a key of `networks.ARCHITECTURES`.
        variant: of its backbone; the network's usual one by default.

    Returns:
        A source for `pretrained.load`, or "".

    Raises:
        InputError: "imagenet" is asked for and the network is not known, or no weights that fit
            its backbone are.
    """
    if setting != IMAGENET:
        return setting
    from arm_jax import networks  # JAX with it, which a mistake in a path is answered without

    row = networks.architecture(name, variant)
    known = networks.BACKBONES[row.backbone].published
    if row.variant not in known:
        choices = (
            f", only for {' and '.join(known)}; choose such a model.variant, or" if known else ";"
        )
        raise InputError(
            f"no ImageNet weights are known for {row.backbone} of variant {row.variant}{choices}"
            " set model.pretrained to a weight file, or to nothing to train from scratch"
        )
    return known[row.variant]
