"""Event files, read without TensorBoard."""

import collections
import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def read(path: Path) -> list[Event]:
    """The records of a file: length, its checksum, data, their checksum."""
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        found.append(Event.FromString(data[place + 12 : place + 12 + length]))
        place += 12 + length + 4
    return found


def drawn(folder: Path) -> dict[str, set[int]]:
    """The steps at which a run's files have a value or an image, by its name."""
    found = collections.defaultdict(set)
    for path in folder.glob("events.out.tfevents.*"):
        for event in read(path):
            for value in event.summary.value:
                found[value.tag].add(event.step)
    return found
