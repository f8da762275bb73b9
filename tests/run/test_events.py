"""Event files hold what was logged; a full disk ends them, and nothing else."""

import os
import struct

import pytest
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from arm_jax.run.events import Events


def read(path) -> list[Event]:
    """The records of a file: length, its checksum, data, their checksum."""
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        found.append(Event.FromString(data[place + 12 : place + 12 + length]))
        place += 12 + length + 4
    return found


def test_a_file_holds_the_points_and_where_it_takes_over(tmp_path):
    events = Events(tmp_path, purge_step=7)
    events.write(7, {"loss": 0.5, "rate": 2.0})
    (path,) = tmp_path.glob("events.out.tfevents.*")
    written = read(path)  # before it is closed
    events.close()
    assert written == read(path)
    assert written[0].file_version == "brain.Event:2"
    assert (written[2].step, written[2].session_log.status) == (7, SessionLog.START)
    points = [(e.step, v.tag, v.simple_value) for e in written for v in e.summary.value]
    assert points == [(7, "loss", 0.5), (7, "rate", 2.0)]
    assert all(event.wall_time > 0 for event in written)


@pytest.mark.parametrize("moment", ["write_event", "flush", "close"])
def test_a_full_disk_ends_the_events_with_one_line(tmp_path, monkeypatch, capsys, moment):
    events = Events(tmp_path, purge_step=1)

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(EventsWriter, moment, full)
    for step in range(3):
        events.write(step, {"loss": 1.0})
    events.close()
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and "cannot be written (No space left on device)" in told
