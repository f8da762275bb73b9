"""A trained network at the Hugging Face Hub: written with a model card, and loaded from there.

A repository holds what a run's folder does, as far as it takes to predict:

    README.md          the model card, from model_card.md.jinja
    model.safetensors  the network, see `weights.export.metadata`
    config.json        every setting, without this machine's paths
    classes.json       names and colours

`model.safetensors` alone is enough: its metadata state the network, its classes and its bands.
"""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from arm_jax import experiment as experiments
from arm_jax import settings
from arm_jax.experiment import Experiment
from arm_jax.networks import Segmenter
from arm_jax.run import configs, model_card, repositories, restore, stated
from arm_jax.run import folder as run_folder
from arm_jax.run.predicting import Predicts
from arm_jax.settings.rows import NOTHING
from arm_jax.system import files
from arm_jax.system.errors import InputError
from arm_jax.weights import export, pretrained, weight_files
from arm_jax.weights.weight_files import HUB

WEIGHTS, CARD = "model.safetensors", "README.md"
FILES = (WEIGHTS, configs.FILE, run_folder.CLASSES, CARD)


@dataclasses.dataclass(frozen=True)
class Published(Predicts):
    """A network from the Hub, or from a folder of the same files. Made by `load`.

    Attributes:
      source: where it was loaded from.
      experiment: the run's settings, and what is made of them.
      segmenter: the network, in evaluation mode.
    """

    source: str
    experiment: Experiment
    segmenter: Segmenter

    @property
    def model(self) -> Segmenter:
        return self.segmenter


def load(
    source: str | Path, checkpoint: str | int = "latest", *, config: ConfigDict | None = None
) -> restore.Run | Published:
    """A trained network: of a run's folder, or one that was published.

    Args:
      source: a run's folder, see `restore.load`; `hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION`;
        a folder that `write` filled; or a `.safetensors` of scripts/export.py, which predicts as
        `stated.experiment` says.
      checkpoint, config: of a run's folder only, see `restore.load`.

    Raises:
      InputError: as `restore.load`; there is no such repository, it cannot be reached and is not in
        the cache, or it holds no network of this package, or none that states its classes.
    """
    address, path = str(source), Path(source).expanduser()
    is_file = path.suffix == ".safetensors" and not address.startswith(HUB) and not path.is_dir()
    is_published = address.startswith(HUB) or (
        (path / WEIGHTS).exists() and not (path / "checkpoints").exists()
    )
    if not is_published and not is_file:
        return restore.load(source, checkpoint, config=config)
    if checkpoint != "latest" or config is not None:
        raise InputError(f"{address} is one network with its settings; leave out the rest")
    folder = repositories.downloaded(address, FILES) if address.startswith(HUB) else path
    weights = weight_files.locate(path) if is_file else folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{address} has no {WEIGHTS}, and is no network of this package")
    if all((folder / name).is_file() for name in FILES[1:3]):
        values = _without_paths(configs.read(folder))
        experiment = experiments.build(settings.frozen(values), run_folder.read_classes(folder))
    else:
        experiment = stated.experiment(weights, address)
    segmenter = experiment.create_players().segmenter
    report = pretrained.load(segmenter, weights)
    if report.fresh:
        raise InputError(
            f"{address}: {weights.name} lacks {len(report.fresh)} tensors of {segmenter.name}:"
            f" {', '.join(report.fresh[:3])}"
        )
    return Published(address, experiment, segmenter)


def write(run: restore.Run, folder: Path, repository: str, license: str, data: str = "") -> None:
    """Write the files of a repository into a folder.

    Args:
      run: with the checkpoint to publish.
      folder: made where it does not exist.
      repository: its name at the Hub, OWNER/NAME, which the card shows how to load.
      license: an identifier that the Hub knows, such as apache-2.0.
      data: a sentence or more for the card on the training data and its license.

    Raises:
      InputError: the folder cannot be written, or a name or identifier is not valid.
    """
    repositories.check(repository, license)
    values = _without_paths(settings.flat(run.experiment.config))
    card = model_card.text(run, settings.frozen(values), repository, license, data)
    export.save_safetensors(run.model, folder / WEIGHTS, classes=run.classes)
    for name, text in {
        configs.FILE: json.dumps(values, indent=2) + "\n",
        run_folder.CLASSES: json.dumps(dataclasses.asdict(run.classes)) + "\n",
        CARD: card,
    }.items():
        files.write(folder / name, text, errors="backslashreplace")


def _without_paths(values: dict[str, Any]) -> dict[str, Any]:
    """Settings that reveal nothing of a machine: its paths, and what changes neither weights nor
    scores, have their defaults."""
    kept = {
        key: setting.default if setting.decides == NOTHING else values[key]
        for key, setting in settings.BY_KEY.items()
    }
    if not kept["model.pretrained"].startswith(HUB):
        kept["model.pretrained"] = Path(kept["model.pretrained"]).name
    kept["data.sources"] = tuple(
        {key: Path(value).name if key.endswith("root") else value for key, value in one.items()}
        for one in map(dict, kept["data.sources"])
    )
    return kept


def push(
    run: restore.Run, repository: str, license: str, data: str = "", private: bool = False
) -> str:
    """Publish a checkpoint; the repository is made where there is none.

    Args:
      run, repository, license, data: as for `write`.
      private: of a new repository.

    Returns:
      The address of the commit.

    Raises:
      InputError: there is no token, it may not write there, or the Hub cannot be reached.
    """
    api = repositories.reached(repository)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(run, folder, repository, license, data)
        with repositories.answered(repository):
            api.create_repo(repository, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                allow_patterns=list(FILES),
                commit_message=f"Step {run.step:,}, by arm_jax",
            )
    return str(done.commit_url)
