"""Run scripts/explore.ipynb by Jupyter and keep its outputs in it, with small images.

In an environment that has arm_jax, ipykernel and nbclient: python docs/site/run_notebook.py
"""

import base64
import io
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "scripts" / "explore.ipynb"


def small(png: str) -> str:
    """The same PNG, base64, in 256 colours."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    found = io.BytesIO()
    image.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(found, "png", optimize=True)
    return base64.b64encode(found.getvalue()).decode()


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    metadata = dict(notebook.metadata)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, resources=resources, coalesce_streams=True).execute()
    notebook.metadata = metadata
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of this run
        for output in cell.get("outputs", []):
            if "image/png" in (data := output.get("data", {})):
                output["data"] = {"image/png": small(data["image/png"])}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
