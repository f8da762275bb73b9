"""What trials begin with, made once for a campaign: data, photos, a trained run, reference ends."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tests.campaign import city, ends
from tests.campaign.commands import COMMANDS, Command
from tests.campaign.processes import CHECKOUT, Ended, Process

SIZE = (32, 48)
REMEMBERED = ("given", "ends", "timelines", "changes", "seconds")
GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
SPLITS = {"train": 6, "val": 4}


class World:
    """The folders that all trials share, and how each command ends undisturbed.

    Args:
      folder: of the campaign.
    """

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.photos = self.folder / "photos"
        self.reference = self.folder / "reference"
        self.run = self.reference / "train" / "run"
        self.city, self.city_zips = self.folder / "city", self.folder / "city_zips"
        self.weights = self.reference / "export" / "w.safetensors"
        self.torch_weights = sorted(GOLDENS.glob("pretrained_*.pth"))
        self.given: dict[str, str] = {}
        self.ends: dict[str, dict[str, str]] = {}
        self.timelines: dict[str, list[float]] = {}
        self.changes: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def make(self) -> None:
        """Everything anew, unless the same program has made it; compiled programs are kept."""
        file, program = self.folder / "world.json", program_stamp()
        try:
            known = json.loads(file.read_text())
        except (OSError, ValueError):
            known = {}
        if known.pop("program", None) != program:
            file.unlink(missing_ok=True)
            self._make()
            known = {name: getattr(self, name) for name in REMEMBERED}
            file.write_text(json.dumps({"program": program, **known}))
        for name, value in known.items():
            setattr(self, name, value)

    def _make(self) -> None:
        for path in (self.data, self.photos, self.city, self.city_zips, self.reference):
            shutil.rmtree(path, ignore_errors=True)
        make_data(self.data)
        make_photos(self.photos)
        city.make(self.city)
        city.zipped(self.city, self.city_zips)
        self.given = ends.tree(self.data) | ends.tree(self.photos)
        for command in COMMANDS.values():
            self._undisturbed(command)
        self.given |= ends.tree(self.run)

    def _undisturbed(self, command: Command) -> None:
        place = self.reference / command.name
        self.prepare(place, command)
        process = self.start(command, place, end_at=0)
        times: list[float] = []
        while process.running():
            if (number := process.lines()) > len(times):
                times += [process.since()] * (number - len(times))
            process.sleep(0.005)
        ended = process.end()
        if ended.status != 0:
            raise SystemExit(f"{command.name} fails undisturbed: {ended.brief()}\n{ended.err}")
        print(
            f"{command.name}: {ended.cpu_seconds:.1f} s of processor time of {ended.seconds:.1f} s,"
            f" {ended.megabytes:,.0f} MB, {len(times)} lines",
            flush=True,
        )
        self.timelines[command.name] = [0.0, *times, ended.seconds]
        self.changes[command.name] = int(process.changes_file.read_text())
        self.seconds[command.name] = ended.seconds
        self.ends[command.name] = self.end_of(command, place)

    def prepare(self, place: Path, command: Command) -> None:
        """A place for a trial of this command."""
        place.mkdir(parents=True, exist_ok=True)
        if command.begins_with == "run":
            shutil.copytree(self.run, place / "run")

    def start(
        self,
        command: Command,
        place: Path,
        *more: str,
        run: Path | None = None,
        data: Path | None = None,
        photos: Path | None = None,
        **options,
    ) -> Process:
        """Start the command; on another run, data set or photos than those of all trials."""
        line = command.line(self, place, *more, run=run, data=data, photos=photos)
        return Process(line, place, **options)

    def finish(self, command: Command, place: Path, *more: str, **options) -> Ended:
        return self.start(command, place, *more, **options).end()

    def end_of(self, command: Command, place: Path) -> dict[str, str]:
        """What the command left in its place, by name."""
        path = place / command.leaves
        return ends.run(path) if command.leaves == "run" else ends.outputs(path)


def make_data(folder: Path, seed: int = 0) -> None:
    """Two splits of small images, PNG and JPEG, and labels of three classes."""
    rng = np.random.default_rng(seed)
    for split, number in SPLITS.items():
        for index in range(number):
            label = rng.integers(0, 3, (4, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
            image = rng.integers(0, 90, (*SIZE, 3)) + 70 * label[..., None]
            label[:2] = 255
            name = f"{split}_{index}"
            ending = "jpg" if index % 3 == 2 else "png"
            for kind, pixels, suffix in (("images", image, ending), ("labels", label, "png")):
                path = folder / kind / split / f"{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_photos(folder: Path) -> None:
    """Images to label, some in a folder below."""
    rng = np.random.default_rng(1)
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "c.bmp", "more/a.png", "more/d.webp", "more/e.tif"):
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(folder / name)


def program_stamp() -> str:
    """Of all that decides what the undisturbed commands do."""
    folders = ("arm_jax", "scripts", "datasets", "configs", "tests/campaign")
    paths = [path for name in folders for path in sorted((CHECKOUT / name).rglob("*.py"))]
    return ends.digest(b"".join(path.read_bytes() for path in paths))


def numbered(seed: int, kind: str, number: int) -> random.Random:
    """What decides all that is chosen in a trial."""
    return random.Random(f"{seed} {kind} {number}")
