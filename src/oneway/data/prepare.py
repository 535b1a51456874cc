"""Packing of a source at one image size: in parallel, resumable, never half-written."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.config import from_dict, record, to_dict
from oneway.data.byterange import root_of
from oneway.data.description import DESCRIPTION, FORMAT, IMAGES, LABELS, Wanted, describe, fingerprint
from oneway.data.disk import ImageFile, explained, write
from oneway.data.duplicates import duplicates
from oneway.data.identities import identified, warn_of_unknown
from oneway.data.journal import Bad, journalled, line
from oneway.data.linked import SPANS, Link, write_spans
from oneway.data.packed import Pack
from oneway.data.picture import Fit
from oneway.data.readers.dataset import Dataset, from_dataset
from oneway.data.reading import CHUNK, Work, read_chunks
from oneway.data.source import Files, Source, fitted
from oneway.data.splits import Division, assign, check
from oneway.errors import InputError
from oneway.progress import track
from oneway.storage.atomic import clear, hold
from oneway.storage.inputs import read_object

SETTINGS, JOURNAL, KEPT = "settings.json", "journal.jsonl", "kept.npy"
OWN = {IMAGES, LABELS, DESCRIPTION, SETTINGS, JOURNAL, KEPT}
log = logging.getLogger("oneway.data")


@record
@dataclass(frozen=True, kw_only=True)
class Begun(Wanted):
    """What decides a pack, and so whether an interrupted preparation of it may go on.

    Attributes:
        format: of packs.
        source: all that the source says of its images, as a hash.

    """

    format: int
    source: str


def prepare(
    source: Source | Dataset,
    out: Path,
    *,
    size: int,
    fit: Fit = "crop",
    groups: Sequence[object] | None = None,
    split: Sequence[str] | None = None,
    public: float = 0.5,
    seed: int = 0,
    division: Division = "shuffle",
    jobs: int | None = None,
    skip_bad: bool = False,
    resume: bool = False,
    linked: bool = False,
    progress: bool = True,
) -> Pack:
    """Pack all images of `source` into the new folder `out` at `size` x `size` pixels.

    Of a picture that is not square, `fit` takes the middle ("crop"), the whole with its edges repeated around it
    ("pad"), or the whole without keeping its proportions ("stretch").
    A `source` may be any Dataset of torch's kind, and `groups` says of each item whom or what it is of, where that
    is known: no group is in two parts;
    `split` is its part, if it has one already (see `readers.dataset`; then `jobs` is 1 by default). `public` is the
    fraction of the training people who become public; `seed` fixes the division, and `division` says how it is made
    (see `splits.assign`); `jobs` is the number of processes (default: one a core). The pack grows in `OUT.partial`
    and gets its name when it is complete; after an interruption `resume` goes on where it was and gives the same
    bytes. Images that cannot be decoded are refused, or with `skip_bad` left out and listed in pack.json. With
    `linked` they stay where they are and are decoded whenever they are used; nothing is read yet. What may make an
    audit's figures wrong is warned of: pictures that do not say whom they show (see `data.identities`), and those
    that are in two parts (see `data.duplicates`). Raise `InputError` for anything that cannot be used, and when the
    disk is full.
    """
    out = Path(out)
    if not isinstance(source, Source):
        source, jobs = from_dataset(source, groups, split), jobs or 1
    elif groups is not None:
        raise InputError("groups: are of a Dataset, and a source has identities of its own; leave them out")
    elif split is not None:
        raise InputError("split: is of a Dataset, and a source has a partition of its own; leave it out")
    source = fitted(source, fit)
    if size < 16:
        raise InputError(f"size: must be at least 16 pixels, got {size}")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs: must be at least 1, got {jobs}")
    if not source.names:
        raise InputError(f"the {source.layout} source holds no images; nothing to prepare")
    if source.identities is not None:
        source = replace(source, identities=identified(source.identities))
    warn_of_unknown(source.identities, len(source.names))
    splits = assign(
        source.identities,
        source.partition,
        count=len(source.names),
        public=public,
        seed=seed,
        division=division,
        names=source.names,
    )
    check(source.identities, splits, source.names)
    settings = Begun(format=FORMAT, size=size, public=public, seed=seed, division=division, source=fingerprint(source))
    partial = out.with_name(out.name + ".partial")
    # Each split is one run of rows, so that a part of the pack is one piece of the file.
    order = np.argsort(splits, kind="stable")
    with explained(partial), hold(partial):
        _check_free(out, partial, resume=resume)
        if linked:
            return _link(source, out, partial, settings, splits, order, fit, skip_bad=skip_bad)
        work = Work(source.layout, source.reader, order, ImageFile(partial / IMAGES, len(order), size))
        done = _start(work, out, settings)
        try:
            _read_all(work, done, jobs, skip_bad=skip_bad, progress=progress)
        except BaseException:
            if not done:
                clear(partial)
            raise
        bad = sorted(entry for entries in done.values() for entry in entries)
        kept = np.setdiff1d(np.arange(len(order)), [row for row, _ in bad])
        # Into a second file, so that the first stays whole for a run that resumes.
        images = work.file.copy(partial / KEPT, kept) if bad else work.file
        skipped = [(order[row], why) for row, why in bad]
        describe(source, images.path, settings, splits, order[kept], skipped)
        os.replace(images.path, work.file.path)
        os.rename(partial, out)
        for name in (SETTINGS, JOURNAL, KEPT):
            (out / name).unlink(missing_ok=True)
    if bad:
        log.warning("%d images cannot be decoded and were left out: %s", len(bad), _some([why for _, why in bad]))
    made = Pack.open(out)
    doubled = duplicates(made, progress=progress)
    if doubled.examples:
        log.warning("%s", doubled.said(named=True))
    return made


def _link(
    source: Source,
    out: Path,
    partial: Path,
    settings: Begun,
    splits: NDArray[np.int8],
    order: NDArray[np.int64],
    fit: Fit,
    *,
    skip_bad: bool,
) -> Pack:
    """Make a pack that says where its images lie."""
    reader = source.reader
    if not isinstance(reader, Files):
        raise InputError(f"linked: the images of the {source.layout} layout are no files; leave out linked")
    if skip_bad:
        raise InputError("skip_bad: a linked pack looks at no image before it is used; leave one of the two out")
    _check_partial(partial, settings, {SPANS, LABELS, DESCRIPTION})
    spans = reader.spans
    write_spans(partial / SPANS, [spans[index] for index in order])
    linked = Link(frame=reader.frame, box=reader.box, root=root_of(span.file for span in spans), fit=fit)
    describe(source, partial / SPANS, settings, splits, order, [], linked)
    os.rename(partial, out)
    return Pack.open(out)


def _start(work: Work, out: Path, settings: Begun) -> dict[int, Bad]:
    """Begin in the partial folder, or take up what is there; return its finished chunks, in which nothing is bad.

    Those with images that could not be decoded are read again, since the files may have been repaired.
    """
    partial, count = work.file.path.parent, work.file.count
    _check_partial(partial, settings, OWN)
    done: dict[int, Bad] = {}
    # The settings are written when the file of images is there, so without both nothing was begun.
    if (partial / SETTINGS).exists() and work.file.exists():
        done = {chunk: bad for chunk, bad in journalled(partial / JOURNAL, work.num_chunks) if not bad}
    needed, free = (count - len(done) * CHUNK) * work.file.row_bytes, shutil.disk_usage(out.parent).free
    if needed > free:
        raise InputError(
            f"{out}: {count} images at {work.file.size} pixels need {needed / 1e6:,.1f} MB more, "
            f"{free / 1e6:,.1f} MB are free; free some space, or give another --out or a smaller --size"
        )
    if not done:
        work.file.create()
        write(partial / SETTINGS, json.dumps(to_dict(settings)).encode())
    write(partial / JOURNAL, b"".join(line(chunk, bad) for chunk, bad in done.items()))
    return done


def _check_free(out: Path, partial: Path, *, resume: bool) -> None:
    if out.exists():
        raise InputError(f"{out}: exists already; give another --out, or delete it first")
    if any(partial.iterdir()) and not resume:
        raise InputError(f"{partial}: left by an interrupted run; go on with --resume, or delete it")


def _check_partial(partial: Path, settings: Begun, own: set[str]) -> None:
    foreign = sorted({path.name.removesuffix(".new") for path in partial.glob("*")} - own)
    if foreign:
        raise InputError(f"{partial}: holds {foreign[0]!r}, so it was not left by an interrupted run; move it away")
    if not (partial / SETTINGS).exists():
        return
    remedy = f"delete {partial} to begin anew"
    begun = from_dict(Begun, read_object(partial / SETTINGS, remedy), f"{partial / SETTINGS}: ", remedy)
    recorded = to_dict(begun)
    for name, value in to_dict(settings).items():
        if recorded[name] != value:
            was = "other images or labels" if name == "source" else f"{name} {recorded[name]}, now {name} is {value}"
            raise InputError(f"{partial}: was begun with {was}; resume with the same settings, or delete it")


def _read_all(work: Work, done: dict[int, Bad], jobs: int | None, *, skip_bad: bool, progress: bool) -> None:
    """Read the chunks that are not `done`, adding them to it and to the journal."""
    missing = [chunk for chunk in range(work.num_chunks) if chunk not in done]
    count = work.file.count
    before = min(count, len(done) * CHUNK)
    with (
        open(work.file.path.parent / JOURNAL, "ab") as journal,
        track("preparing", count, enabled=progress, before=before) as advance,
    ):
        for chunk, bad in read_chunks(work, missing, jobs):
            if bad and not skip_bad:
                raise InputError(
                    f"{_some([why for _, why in bad])}; repair the files and rerun with --resume, or "
                    f"leave them out with --resume --skip-bad"
                )
            done[chunk] = bad
            journal.write(line(chunk, bad))
            journal.flush()
            advance(min(CHUNK, count - chunk * CHUNK))


def _some(items: list[str]) -> str:
    return "; ".join(items[:5]) + (f"; and {len(items) - 5} more" if len(items) > 5 else "")
