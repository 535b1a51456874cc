"""Reading of a source's images into the file of a pack, in chunks, by several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oneway.data.disk import ImageFile
from oneway.data.journal import Bad
from oneway.data.picture import CorruptImage
from oneway.data.source import Reader, read_picture
from oneway.workers import serve

CHUNK = 256
"""Images that are read, written and noted as finished together."""


@dataclass(frozen=True)
class Work:
    """Reads chunks of images and writes each to its place in the file, in several processes at once."""

    layout: str
    reader: Reader
    order: NDArray[np.int64]
    file: ImageFile

    def __call__(self, chunk: int) -> Bad:
        """Write the rows of `chunk`; return those that cannot be decoded (left black), with the reasons."""
        start = chunk * CHUNK
        sources = self.order[start : start + CHUNK]
        size = self.file.size
        block = np.zeros((len(sources), size, size, 3), dtype=np.uint8)
        bad = []
        for place, index in enumerate(sources):
            try:
                block[place] = read_picture(self.layout, self.reader, int(index), size)
            except CorruptImage as error:
                bad.append((start + place, str(error)))
        # On the disk before the journal says so, or a power cut could leave a hole that nobody sees.
        self.file.write(start, block)
        return bad

    @property
    def num_chunks(self) -> int:
        """Number of chunks, the last of which may be shorter."""
        return -(-len(self.order) // CHUNK)


def read_chunks(work: Work, chunks: list[int], jobs: int | None) -> Iterator[tuple[int, Bad]]:
    """Give each chunk, in any order, with what is bad in it, when it is written; by default a process for each core."""
    jobs = min(jobs or os.cpu_count() or 1, len(chunks))
    if jobs <= 1:
        yield from ((chunk, work(chunk)) for chunk in chunks)
        return
    # Spawned, since a fork of a process with running threads (torch, rich) may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_enter, initargs=(work,))
    try:
        futures = {pool.submit(_work_on, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_work: Work


def _enter(work: Work) -> None:
    global _work
    _work = work
    serve()


def _work_on(chunk: int) -> Bad:
    return _work(chunk)
