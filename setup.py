"""Which files the wheel carries; all else is in pyproject.toml.

configs/, datasets/ and scripts/ stay at the top for people to read, and lie inside the package when
it is installed: a top-level package `datasets` would shadow Hugging Face's.
"""

from pathlib import Path

from setuptools import find_packages, setup

TOPS = ("configs", "datasets", "scripts")
# Speed, experiments and the notebook are for a checkout.
LEFT_OUT = ("scripts/benchmarks", "scripts/experiments")

inside = {}
for top in TOPS:
    for folder in (Path(top), *(path for path in Path(top).rglob("*") if path.is_dir())):
        name = folder.as_posix()
        if any(folder.glob("*.py")) and not name.startswith(LEFT_OUT) and "__" not in name:
            inside[f"arm_jax.{name.replace('/', '.')}"] = name

setup(
    packages=[*find_packages(include=["arm_jax*"]), *inside],
    package_dir=inside,
    package_data={
        "arm_jax": ["py.typed"],
        "arm_jax.run": ["*.jinja"],
        "arm_jax.reporting.pages": ["*.html", "*.css", "*.js"],
    },
    include_package_data=False,  # or what MANIFEST.in grafts follows into the wheel
)
