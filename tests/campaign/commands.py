"""The command lines of the campaign, and the names of what they leave."""

from dataclasses import dataclass
from pathlib import Path

from tests.campaign.processes import CHECKOUT

CONFIG = Path(__file__).with_name("config.py")
CLASSES = "road,building,sky"


@dataclass(frozen=True)
class Command:
    """A command line in a folder of its own, the place.

    Attributes:
      name: of the command.
      arguments: with {place}, {data}, {photos} and {run} for folders.
      leaves: the entry of the place that holds its output.
      begins_with: "run" if it works in a trained run, which is copied to the place.
    """

    name: str
    arguments: tuple[str, ...]
    leaves: str
    begins_with: str = ""

    def line(
        self,
        world,
        place: Path,
        *more: str,
        run: Path | None = None,
        data: Path | None = None,
        photos: Path | None = None,
    ) -> list[str]:
        folders = {
            "place": place,
            "data": data or world.data,
            "photos": photos or world.photos,
        }
        if any("{run}" in argument for argument in self.arguments):
            folders["run"] = run or world.run
        return [argument.format(**folders) for argument in self.arguments] + [*more]


def _main(*arguments: str) -> tuple[str, ...]:
    return ("-m", "arm_jax.main", f"--config={CONFIG}", "--config.data.root={data}", *arguments)


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(CHECKOUT / "scripts" / f"{name}.py"), *arguments)


_FOLDERS = ("folders", "--root={data}", f"--classes={CLASSES}")
COMMANDS = {
    command.name: command
    for command in (
        Command("train", _main("--workdir={place}/run"), "run"),
        Command("evaluate", _main("--workdir={place}/run", "--mode=evaluate"), "run", "run"),
        Command("report", _main("--workdir={place}/run", "--mode=report"), "run", "run"),
        Command(
            "predict",
            _main("--workdir={run}", "--mode=predict", "--input={photos}", "--output={place}/out"),
            "out",
        ),
        Command(
            "prepare",
            _script("prepare", "street_scenes", "--config=smoke", "--data_dir={place}/prepared"),
            "prepared",
        ),
        Command(
            "coarsen",
            _script("coarsen", *_FOLDERS, "--splits=train,val", "--preset=hard", "--out={place}/c"),
            "c",
        ),
        Command(
            "check",
            _script("check_dataset", *_FOLDERS, "--coarsen=medium", "--out={place}/sheets"),
            "sheets",
        ),
        Command(
            "export",
            _script(
                "export",
                f"--config={CONFIG}",
                "--config.data.root={data}",
                "--workdir={run}",
                "--output={place}/w.safetensors",
            ),
            "w.safetensors",
        ),
    )
}
