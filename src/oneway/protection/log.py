"""The log of a run: a CSV file and TensorBoard events, which go on where a resumed run goes on."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from oneway.storage.atomic import unwritable, whole

FILE, EVENTS = "log.csv", "tensorboard"


class Log:
    """Writes a row of figures now and then.

    Args:
        folder: the run's.
        columns: the names of the figures.
        step: rows of later steps, which a killed run left behind, are dropped.

    """

    def __init__(self, folder: Path, columns: tuple[str, ...], *, step: int) -> None:
        self._path = path = folder / FILE
        rows: list[list[str]] = []
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.reader(file) if row and row[0].isdecimal() and int(row[0]) <= step]
        with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["step", *columns], *rows])
        self._file = path.open("a", encoding="utf-8", newline="")
        self._events = _Events(folder / EVENTS, step=step)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Add the figures of `step`."""
        try:
            csv.writer(self._file).writerow([step, *(f"{value:.6g}" for value in figures.values())])
            self._file.flush()
            self._events.write(step, figures)
        except OSError as error:
            raise unwritable(self._path, error) from error

    def close(self) -> None:
        """Write out what is still held back."""
        self._file.close()
        self._events.close()


class _Events:
    """A file of TensorBoard's events, named by the time alone: torch's own writer puts the machine's name into it."""

    def __init__(self, folder: Path, *, step: int) -> None:
        # Their import takes a second.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        folder.mkdir(exist_ok=True)
        self._file: Any = RecordWriter((folder / f"events.out.tfevents.{time.time_ns()}").open("wb"))
        self._add(file_version="brain.Event:2")
        # TensorBoard drops later steps, which a killed run left behind.
        self._add(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, figures: dict[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._add(step=step, summary=self._summary(value=values))

    def close(self) -> None:
        self._file.close()

    def _add(self, **content: Any) -> None:
        self._file.write(self._event(wall_time=time.time(), **content).SerializeToString())
        self._file.flush()
