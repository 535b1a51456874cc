"""Packing of a source at one image size: in parallel, resumable, never half-written."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import platform
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from oneway.data.packed import DESCRIPTION, FORMAT, IMAGES, LABELS, Pack
from oneway.data.source import CorruptImage, Reader, Source
from oneway.data.splits import SPLITS, assign, check, people
from oneway.errors import InputError

CHUNK = 256
SETTINGS, JOURNAL, KEPT = "settings.json", "journal.jsonl", "kept.npy"
OWN = {IMAGES, LABELS, DESCRIPTION, SETTINGS, JOURNAL, KEPT}
log = logging.getLogger("oneway.data")
Bad = list[tuple[int, str]]


def prepare(
    source: Source,
    out: Path,
    *,
    size: int,
    public: float = 0.5,
    seed: int = 0,
    jobs: int | None = None,
    skip_bad: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> Pack:
    """Pack all images of `source` into the new folder `out` at `size` x `size` pixels.

    `public` is the fraction of the training people who become public, `seed` fixes the division, `jobs` is
    the number of processes (default: one a core). The pack grows in `OUT.partial` and gets its name when it
    is complete; after an interruption `resume` goes on where it was and gives the same bytes. Images that
    cannot be decoded are refused, or with `skip_bad` left out and listed in pack.json. Raise `InputError`
    for anything that cannot be used, and when the disk is full.
    """
    out = Path(out)
    if size < 16:
        raise InputError(f"size: must be at least 16 pixels, got {size}")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs: must be at least 1, got {jobs}")
    if not source.names:
        raise InputError(f"the {source.layout} source holds no images; nothing to prepare")
    splits = assign(source.identities, source.partition, count=len(source.names), public=public, seed=seed)
    check(source.identities, splits, source.names)
    settings = {
        "format": FORMAT,
        "size": size,
        "public": public,
        "seed": seed,
        "source": _fingerprint(source),
    }
    partial = out.with_name(out.name + ".partial")
    # Each split is one run of rows, so that a part of the pack is one piece of the file.
    work = Work(source.reader, np.argsort(splits, kind="stable"), partial / IMAGES, size)
    with _explained(partial):
        done = _start(work, out, settings, resume=resume, skip_bad=skip_bad)
        try:
            _read_all(work, done, jobs, skip_bad=skip_bad, progress=progress)
        except BaseException:
            if not done:
                shutil.rmtree(partial)
            raise
        bad = sorted(entry for entries in done.values() for entry in entries)
        kept = np.setdiff1d(np.arange(len(work.order)), [row for row, _ in bad])
        images = _without_bad(work, kept) if bad else work.path
        _describe(
            source, images, settings, splits, work.order[kept], [(work.order[row], why) for row, why in bad]
        )
        os.replace(images, work.path)
        os.rename(partial, out)
        for name in (SETTINGS, JOURNAL, KEPT):
            (out / name).unlink(missing_ok=True)
    if bad:
        log.warning(
            "%d images cannot be decoded and were left out: %s", len(bad), _some([why for _, why in bad])
        )
    return Pack.open(out)


@dataclass(frozen=True)
class Work:
    """Reads chunks of images and writes each to its place in the file, in several processes at once."""

    reader: Reader
    order: NDArray[np.int64]
    path: Path
    size: int

    def __call__(self, chunk: int) -> Bad:
        """Write the rows of `chunk`; return those that cannot be decoded (left black), with the reasons."""
        start = chunk * CHUNK
        sources = self.order[start : start + CHUNK]
        block = np.zeros((len(sources), self.size, self.size, 3), dtype=np.uint8)
        bad = []
        for place, index in enumerate(sources):
            try:
                block[place] = self.reader(int(index), self.size)
            except CorruptImage as error:
                bad.append((start + place, str(error)))
        # Not through a memory map: on a full disk that would end in SIGBUS instead of an error.
        with open(self.path, "r+b") as file:
            file.seek(len(self.header(len(self.order))) + start * self.row_bytes)
            file.write(block.data)
            # On the disk before the journal says so, or a power cut could leave a hole that nobody sees.
            file.flush()
            os.fsync(file.fileno())
        return bad

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        return self.size * self.size * 3

    @property
    def num_chunks(self) -> int:
        """Number of chunks, the last of which may be shorter."""
        return -(-len(self.order) // CHUNK)

    def header(self, count: int) -> bytes:
        """Return the head of an .npy file of `count` images."""
        head = BytesIO()
        shape = (count, self.size, self.size, 3)
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return head.getvalue()

    def file_bytes(self, count: int) -> int:
        """Bytes of an .npy file of `count` images."""
        return len(self.header(count)) + count * self.row_bytes


def _start(
    work: Work, out: Path, settings: dict[str, Any], *, resume: bool, skip_bad: bool
) -> dict[int, Bad]:
    """Make the partial folder, or take up the one that is there; return its finished chunks."""
    partial, count = work.path.parent, len(work.order)
    if out.exists():
        raise InputError(f"{out}: exists already; give another --out, or delete it first")
    if partial.exists() and not resume:
        raise InputError(f"{partial}: left by an interrupted run; go on with --resume, or delete it")
    _check_partial(partial, settings)
    done: dict[int, Bad] = {}
    # The settings are written when the file of images is there, so without both nothing was begun.
    begun = (partial / SETTINGS).exists() and work.path.exists()
    if begun and work.path.stat().st_size == work.file_bytes(count):
        done = {chunk: bad for chunk, bad in _journalled(partial / JOURNAL) if skip_bad or not bad}
    out.parent.mkdir(parents=True, exist_ok=True)
    needed, free = (count - len(done) * CHUNK) * work.row_bytes, shutil.disk_usage(out.parent).free
    if needed > free:
        raise InputError(
            f"{out}: {count} images at {work.size} pixels need {needed / 1e6:,.1f} MB more, "
            f"{free / 1e6:,.1f} MB are free; free some space, or give another --out or a smaller --size"
        )
    if not done:
        partial.mkdir(exist_ok=True)
        with open(work.path, "wb") as file:
            file.write(work.header(count))
            file.truncate(work.file_bytes(count))
        _write(partial / SETTINGS, json.dumps(settings).encode())
    _write(partial / JOURNAL, b"".join(_line(chunk, bad) for chunk, bad in done.items()))
    return done


def _check_partial(partial: Path, settings: dict[str, Any]) -> None:
    foreign = sorted({path.name.removesuffix(".new") for path in partial.glob("*")} - OWN)
    if foreign:
        raise InputError(
            f"{partial}: holds {foreign[0]!r}, so it was not left by an interrupted run; move it away"
        )
    if not (partial / SETTINGS).exists():
        return
    recorded = json.loads((partial / SETTINGS).read_text(encoding="utf-8"))
    for name, value in settings.items():
        if recorded.get(name) != value:
            was = (
                "other images or labels"
                if name == "source"
                else f"{name} {recorded.get(name)}, now {name} is {value}"
            )
            raise InputError(f"{partial}: was begun with {was}; resume with the same settings, or delete it")


def _journalled(path: Path) -> Iterator[tuple[int, Bad]]:
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        # A line without its end was being written when the run was killed.
        if line.endswith(b"\n"):
            chunk, bad = json.loads(line)
            yield chunk, [(row, why) for row, why in bad]


def _line(chunk: int, bad: Bad) -> bytes:
    return json.dumps([chunk, bad]).encode() + b"\n"


def _read_all(work: Work, done: dict[int, Bad], jobs: int | None, *, skip_bad: bool, progress: bool) -> None:
    """Read the chunks that are not `done`, adding them to it and to the journal."""
    columns = (TextColumn("preparing"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    missing = [chunk for chunk in range(work.num_chunks) if chunk not in done]
    count = len(work.order)
    with (
        open(work.path.parent / JOURNAL, "ab") as journal,
        Progress(*columns, console=Console(stderr=True), disable=not progress) as bar,
    ):
        task = bar.add_task("preparing", total=count, completed=min(count, len(done) * CHUNK))
        for chunk, bad in _results(work, missing, jobs):
            if bad and not skip_bad:
                raise InputError(
                    f"{_some([why for _, why in bad])}; repair the files and rerun with --resume, or "
                    f"leave them out with --resume --skip-bad"
                )
            done[chunk] = bad
            journal.write(_line(chunk, bad))
            journal.flush()
            bar.advance(task, min(CHUNK, count - chunk * CHUNK))


def _results(work: Work, chunks: list[int], jobs: int | None) -> Iterator[tuple[int, Bad]]:
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
    # An interrupt reaches every process of the terminal; the parent alone answers it.
    signal(SIGINT, SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # Without this the workers of a killed parent would wait for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work_on(chunk: int) -> Bad:
    return _work(chunk)


def _without_bad(work: Work, kept: NDArray[np.int64]) -> Path:
    """Copy the `kept` rows into a second file; the first stays whole for a run that resumes."""
    path = work.path.with_name(KEPT)
    pixels = np.load(work.path, mmap_mode="r")
    with open(path, "wb") as file:
        file.write(work.header(len(kept)))
        for start in range(0, len(kept), CHUNK):
            file.write(pixels[kept[start : start + CHUNK]].data)
    return path


def _describe(
    source: Source,
    images: Path,
    settings: dict[str, Any],
    splits: NDArray[np.int8],
    order: NDArray[np.int64],
    skipped: list[tuple[np.int64, str]],
) -> None:
    """Write labels.parquet and then pack.json, for the images `order` of the source in the file `images`."""
    persons = people(source.identities, len(source.names))[order]
    codes = splits[order]
    counts = {}
    for code, split in enumerate(SPLITS):
        members = persons[codes == code]
        counts[split] = {"images": len(members), "people": len(np.unique(members))}
        if not len(members):
            raise InputError(f"no image of the {split} split can be decoded; repair the source")
    names = [source.names[index] for index in order]
    identities = [source.identities[index] if source.identities else "" for index in order]
    named = [SPLITS[code] for code in codes]
    labels = source.labels[order]
    columns: dict[str, Any] = {"name": names, "identity": identities, "split": named}
    columns |= {attribute: labels[:, place] for place, attribute in enumerate(source.attributes)}
    table = BytesIO()
    parquet.write_table(pa.table(columns), table)
    _write(images.with_name(LABELS), table.getvalue())
    with open(images, "r+b") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps([names, identities, named, source.attributes]).encode())
    digest.update(np.ascontiguousarray(labels).data)
    description = {
        "format": FORMAT,
        "layout": source.layout,
        "size": settings["size"],
        "count": len(order),
        "splits": counts,
        "public": settings["public"],
        "seed": settings["seed"],
        "attributes": source.attributes,
        "landmarks": source.landmarks,
        "crop": source.crop,
        "hash": digest.hexdigest(),
        "skipped": [{"name": source.names[index], "reason": why} for index, why in skipped],
        "versions": {name: version(name) for name in ("oneway", "numpy", "pillow", "pyarrow")}
        | {"python": platform.python_version()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write(images.with_name(DESCRIPTION), json.dumps(description, indent=1).encode())


def _fingerprint(source: Source) -> str:
    fields = [
        source.layout,
        source.names,
        source.attributes,
        source.identities,
        source.partition,
        source.crop,
    ]
    digest = hashlib.sha256(json.dumps([*fields, source.landmarks]).encode())
    digest.update(np.ascontiguousarray(source.labels).data)
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write a small file so that it is there in full or not at all."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _some(items: list[str]) -> str:
    return "; ".join(items[:5]) + (f"; and {len(items) - 5} more" if len(items) > 5 else "")


@contextmanager
def _explained(partial: Path) -> Iterator[None]:
    """Rewrite what the system says about the disk and the processes."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{partial}: the disk is full; what is done is kept, free some space and rerun with --resume"
            ) from error
        raise InputError(
            f"{error.filename or partial}: cannot be written ({error.strerror or error})"
        ) from error
    except BrokenProcessPool as error:
        raise InputError(
            f"{partial}: a process that reads images died, for lack of memory, or because the script "
            f"that calls prepare lacks `if __name__ == '__main__':`; rerun with --resume and fewer --jobs"
        ) from error


class Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """Return the speed of the last seconds."""
        return Text(f"{task.speed or 0:,.0f} images/s")
