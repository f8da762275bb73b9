"""TensorBoard's event files, written in the thread that logs."""

import contextlib
import io
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from arm_jax.system import terminal
from arm_jax.system.errors import first_line


class Events:
    """One event file of one start; a run has as many as it had starts.

    A disk that takes no more ends the events, with one line, and not the run: all of them but the
    rates are in metrics.jsonl too. (The usual writer of the library has a thread of its own; when
    that meets a full disk, whoever logs next waits for it for ever.)

    Args:
      folder: of the run.
      purge_step: TensorBoard hides what earlier files hold from this step on.
    """

    def __init__(self, folder: Path, *, purge_step: int):
        self._folder = folder
        self._writer: EventsWriter | None = None
        with self._guarded():
            # Two starts may come within a second, from which the name is made.
            self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
            start = SessionLog(status=SessionLog.START)
            self._add(Event(step=purge_step, file_version="brain.Event:2"))
            self._add(Event(step=purge_step, session_log=start))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to the curve of each value."""
        with self._guarded():
            for name, value in values.items():
                self._add(Event(step=step, summary=summary.scalar(name, value)))
            if self._writer is not None:
                self._writer.flush()

    def show(self, step: int, images: Mapping[str, bytes]) -> None:
        """Add images, each a PNG."""
        with self._guarded():
            for name, png in images.items():
                width, height = Image.open(io.BytesIO(png)).size
                image = Summary.Image(
                    height=height, width=width, colorspace=4, encoded_image_string=png
                )
                value = Summary.Value(tag=name, image=image)
                self._add(Event(step=step, summary=Summary(value=[value])))
            if self._writer is not None:
                self._writer.flush()

    def close(self, finished: bool = True) -> None:
        with self._guarded():
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _add(self, event: Event) -> None:
        if self._writer is not None:
            event.wall_time = time.time()
            self._writer.write_event(event)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            terminal.say(
                f"{self._folder}: events for TensorBoard cannot be written ({first_line(error)});"
                " the run goes on without them"
            )
