"""What the page of a grid shows, gathered from the folders of its runs."""

import os
from collections.abc import Sequence
from pathlib import Path

from jax.sharding import Mesh

from arm_jax.reporting import compare_page, layers, scores
from arm_jax.reporting.compare_page import Run
from arm_jax.run import folder as run_folder
from arm_jax.run import metrics_log, page, restore
from arm_jax.run.grid import Cell, Outcome
from arm_jax.system import sharding
from arm_jax.system.errors import InputError

FILE = "compare.html"


def write(
    folder: Path,
    cells: Sequence[Cell],
    outcomes: Sequence[Outcome],
    made: Sequence[tuple[str, str]],
    mesh: Mesh | None = None,
) -> Path:
    """Write the page of runs that were made, all of those planned.

    Args:
      folder: of the grid.
      cells, outcomes: the runs, in one order.
      made: how the numbers came about, pairs of a word and a text.
      mesh: the devices that draw the images (default: all of them).

    Raises:
      InputError: the folder cannot be written.
    """
    rows: dict[str, list[Run]] = {}
    for cell, outcome in zip(cells, outcomes, strict=True):
        rows.setdefault(cell.row, []).append(_run(folder, cell, outcome))
    planned = {row: len(several) for row, several in rows.items()}
    notes: list[str] = []
    chosen = compare_page.chosen(rows)
    seen = {}
    for row in rows if chosen else ():
        drawn = _first_run(row, cells, outcomes)
        if drawn is not None:
            try:
                seen[row] = _images(drawn, [index for _, index in chosen], mesh)
            except InputError as error:
                notes.append(f"No images of {row}: {error}.")
    images = [
        (heading, [several[number] for several, _ in seen.values()])
        for number, (heading, _) in enumerate(chosen)
        if seen
    ]
    eye = next((eye for _, eye in seen.values()), None)
    return compare_page.write(
        folder / FILE,
        rows,
        planned,
        images=images,
        classes=None if eye is None else eye.classes,
        width=page.BOUNDARY_WIDTH if eye is None else eye.width,
        notes=notes,
        made=made,
    )


def _run(folder: Path, cell: Cell, outcome: Outcome) -> Run:
    """What a run left; what is missing or damaged is left out."""
    by_image = None
    try:
        evaluated = scores.read(cell.folder, run_folder.read_classes(cell.folder))
        if evaluated is not None and evaluated.by_image is not None:
            by_image = evaluated.by_image.mIoU
    except InputError:
        pass
    own = cell.folder / page.FILE
    link = Path(os.path.relpath(own, folder)).as_posix() if own.exists() else ""
    records = metrics_log.read(cell.folder)
    return Run(cell.seed, outcome.values, outcome.diverged, by_image, records, link)


def _first_run(row: str, cells: Sequence[Cell], outcomes: Sequence[Outcome]) -> Cell | None:
    """The first run of a row that has an outcome."""
    pairs = zip(cells, outcomes, strict=True)
    return next((cell for cell, outcome in pairs if cell.row == row and outcome.values), None)


def _images(
    cell: Cell, chosen: Sequence[int], mesh: Mesh | None
) -> tuple[list[layers.Shown], page.Page]:
    """What a run makes of the chosen images of the split."""
    run = restore.load(cell.folder, config=cell.config)
    drawing = page.Page(page.of(run), sharding.make_mesh() if mesh is None else mesh)
    words = f"{cell.row}, seed {cell.seed}"
    return [layers.Shown(sample, words) for sample in drawing.draw(chosen)], drawing
