"""Where configs/, datasets/ and scripts/ are: beside the package in a checkout, else inside it."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder `name` of the checkout, or the copy of it that a wheel carries."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
