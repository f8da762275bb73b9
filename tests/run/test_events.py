"""Event files hold what was logged; a full disk ends them, and nothing else."""

import io
import os

import pytest
from events import read
from PIL import Image
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import SessionLog

from arm_jax.run.events import Events


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


def test_a_file_holds_images(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (5, 3), (1, 2, 3)).save(file, format="PNG")
    events = Events(tmp_path, purge_step=1)
    events.show(4, {"eval/contact_sheet": file.getvalue()})
    events.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    ((step, value),) = [(e.step, v) for e in read(path) for v in e.summary.value]
    assert (step, value.tag, value.image.width, value.image.height) == (
        4,
        "eval/contact_sheet",
        5,
        3,
    )
    assert Image.open(io.BytesIO(value.image.encoded_image_string)).getpixel((4, 2)) == (1, 2, 3)


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
