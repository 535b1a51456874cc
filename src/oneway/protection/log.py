"""The log of a run: a CSV file and TensorBoard events, which go on where a resumed run goes on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from oneway.storage import unwritable, whole

FILE, EVENTS = "log.csv", "tensorboard"


class Log:
    """Writes a row of figures now and then.

    Args:
        folder: the run's.
        columns: the names of the figures.
        step: rows of later steps, which a killed run left behind, are dropped.

    """

    def __init__(self, folder: Path, columns: tuple[str, ...], *, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # its import takes a second

        self._path = path = folder / FILE
        rows: list[list[str]] = []
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.reader(file) if row and row[0].isdecimal() and int(row[0]) <= step]
        with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["step", *columns], *rows])
        self._file = path.open("a", encoding="utf-8", newline="")
        self._events: Any = SummaryWriter(str(folder / EVENTS), purge_step=step + 1)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Add the figures of `step`."""
        try:
            csv.writer(self._file).writerow([step, *(f"{value:.6g}" for value in figures.values())])
            self._file.flush()
        except OSError as error:
            raise unwritable(self._path, error) from error
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is still held back."""
        self._file.close()
        self._events.close()
