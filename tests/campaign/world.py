"""What trials begin with, made once for a campaign: data, photos, a trained run, reference ends."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from tests.campaign import city, ends, rule
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
        self.city, self.city_zips = self.folder / "city", self.folder / "city_zips"
        self.torch_weights = sorted(GOLDENS.glob("pretrained_*.pth"))
        self._program = ""
        self.given: dict[str, str] = {}
        self.ends: dict[str, dict[str, str]] = {}
        self.timelines: dict[str, list[float]] = {}
        self.changes: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def make(self) -> None:
        """Data and photos anew, unless the same program has made them; compiled programs stay.

        What a command does undisturbed is found out when it is first needed.
        """
        self._program = program_stamp()
        try:
            known = json.loads((self.folder / "world.json").read_text())
        except (OSError, ValueError):
            known = {}
        if known.pop("program", None) != self._program:
            for path in (self.data, self.photos, self.city, self.city_zips, self.reference):
                shutil.rmtree(path, ignore_errors=True)
            make_data(self.data)
            make_photos(self.photos)
            city.make(self.city)
            city.zipped(self.city, self.city_zips)
            known = {"given": ends.tree(self.data) | ends.tree(self.photos)}
        for name, value in known.items():
            setattr(self, name, value)

    @property
    def run(self) -> Path:
        """A trained run."""
        self.undisturbed("train")
        return self.reference / "train" / "run"

    @property
    def weights(self) -> Path:
        """The weight file of that run."""
        self.undisturbed("export")
        return self.reference / "export" / "w.safetensors"

    def intact(self) -> str:
        """Which of the files that all trials share are not as they were; "" if they are."""
        trained = [self.run] if "train" in self.ends else []
        return rule.untouched(self.given, self.data, self.photos, *trained)

    def undisturbed(self, name: str) -> dict[str, str]:
        """What the command of this name leaves when nothing is done to it."""
        if name in self.ends:
            return self.ends[name]
        command = COMMANDS[name]
        place = self.reference / name
        shutil.rmtree(place, ignore_errors=True)
        self.prepare(place, command)
        process = self.start(command, place, end_at=0)
        times: list[float] = []
        while process.running():
            if (number := process.lines()) > len(times):
                times += [process.since()] * (number - len(times))
            process.sleep(0.005)
        ended = process.end()
        if ended.status != 0:
            raise SystemExit(f"{name} fails undisturbed: {ended.brief()}\n{ended.err}")
        print(
            f"{name} undisturbed: {ended.cpu_seconds:.1f} s of processor time,"
            f" {ended.seconds:.1f} s, {ended.megabytes:,.0f} MB",
            flush=True,
        )
        self.timelines[name] = [0.0, *times, ended.seconds]
        self.changes[name] = int(process.changes_file.read_text())
        self.seconds[name] = ended.seconds
        self.ends[name] = self.end_of(command, place)
        if name == "train":
            self.given |= ends.tree(self.run)
        known = {name: getattr(self, name) for name in REMEMBERED}
        (self.folder / "world.json").write_text(json.dumps({"program": self._program, **known}))
        return self.ends[name]

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
