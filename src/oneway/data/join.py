"""A pack with more public people: those of another pack, as an attacker would gather them elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from oneway.data.description import IMAGES, LABELS, Counts, read_description, write_description
from oneway.data.disk import write
from oneway.data.packed import Pack
from oneway.data.source import LANDMARKS, NAMING
from oneway.errors import InputError
from oneway.storage.atomic import clear, hold, new_array, unwritable


def join(pack: Pack, extra: Pack, out: Path) -> Pack:
    """Add all images of `extra` to the public people of `pack`; its other people stay as they are.

    Nobody is taken to be in both. The new pack knows which one it extends, so a run that was trained on that one can
    be attacked with this one. What `extra` does not label with the pack's attributes stays unlabelled.

    Args:
        pack: whose private, validation and test people there are.
        extra: more public people, of whatever split they are there.
        out: the new pack's folder; one that is there already is opened, if it was made of these two.

    Raises:
        InputError: if their images differ in size, or `out` is something else.

    """
    if pack.size != extra.size:
        raise InputError(
            f"{extra.path} has images of {extra.size} pixels and {pack.path} of {pack.size}; prepare it again with "
            f"--size {pack.size}"
        )
    origin = (pack.hash, extra.hash)
    if out.exists():
        found = Pack.open(out)
        if found.joined != origin:
            raise InputError(f"{out} is not {pack.path} joined with {extra.path}; delete it, or choose another --out")
        return found
    partial = out.with_name(out.name + ".partial")
    with hold(partial):
        clear(partial)
        try:
            _write(pack, extra, partial, origin)
            os.replace(partial, out)
        except OSError as error:
            raise unwritable(partial, error) from error
        finally:
            if partial.exists():
                clear(partial)
    return Pack.open(out)


def _write(pack: Pack, extra: Pack, folder: Path, origin: tuple[str, str]) -> None:
    """Write the files of the joined pack."""
    after = pack.public.rows.stop
    pieces = [(pack, slice(0, after)), (extra, slice(0, len(extra.pixels))), (pack, slice(after, len(pack.pixels)))]
    table = _table(pack, extra, after)
    labels = BytesIO()
    parquet.write_table(table, labels)
    _write_images(folder / IMAGES, pieces)
    write(folder / LABELS, labels.getvalue())
    said = read_description(pack.path)
    public = said.splits["public"]
    more = Counts(images=public.images + len(extra.pixels), people=public.people + len(np.unique(extra.people)))
    landmarks = said.landmarks
    if LANDMARKS in table.column_names:
        landmarks = LABELS
    elif pack.located or pack.landmarks != extra.landmarks:
        landmarks = None  # where the face is, is not known of all
    joined = replace(
        said,
        count=said.count + len(extra.pixels),
        splits=said.splits | {"public": more},
        landmarks=landmarks,
        hash=hashlib.sha256(json.dumps(["joined", *origin]).encode()).hexdigest(),
        joined=origin,
        linked=None,  # its images are copied
        duplicates=None,  # the added ones have not been looked at
    )
    write_description(folder, joined)


def _write_images(path: Path, pieces: list[tuple[Pack, slice]]) -> None:
    count = sum(rows.stop - rows.start for _, rows in pieces)
    written = new_array(path, np.uint8, (count, *pieces[0][0].pixels.shape[1:]))
    start = 0
    for pack, rows in pieces:
        for first in range(rows.start, rows.stop, 1024):
            part = pack.read(slice(first, min(first + 1024, rows.stop)))
            written[start : start + len(part)] = part
            start += len(part)
    written.flush()


def _table(pack: Pack, extra: Pack, after: int) -> pa.Table:
    """Put the rows of `extra` after the public ones; its names and people get a prefix, so that they are others."""
    count = len(extra.pixels)
    more = {
        "name": [f"extra/{name}" for name in extra.table.column("name").to_pylist()],
        "identity": [who and f"extra/{who}" for who in extra.table.column("identity").to_pylist()],
        "split": ["public"] * count,
    }
    columns = {name: pa.array(values) for name, values in more.items()}
    table, points = pack.table, _points(pack, extra)
    if pack.located:
        table = table.drop_columns([LANDMARKS])
    if points is not None:
        table, columns[LANDMARKS] = _with(table, points[0]), points[1]
    for attribute in pack.attributes:
        kind, held = table.schema.field(attribute).type, pa.nulls(count)
        if attribute in extra.attributes and extra.kind(attribute) == pack.kind(attribute):
            held = extra.table.column(attribute).combine_chunks()
        if attribute in pack.classes:  # one that the pack does not know is no label of its
            known = pc.is_in(held, value_set=pa.array(pack.classes[attribute], kind))
            held = pc.if_else(known, held, pa.scalar(None, kind))
        columns[attribute] = held.cast(kind)
    added = pa.table(columns).select(table.column_names).cast(table.schema)
    return pa.concat_tables([table.slice(0, after), added, table.slice(after)])


def _points(pack: Pack, extra: Pack) -> tuple[pa.Array, pa.Array] | None:
    """Give the landmarks of each image of both, where they are not the same in all."""
    if pack.points is None or extra.points is None or (pack.landmarks == extra.landmarks and not pack.located):
        return None
    first, second = (
        pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(each.points).ravel()), 10)
        for each in (pack, extra)
    )
    return first, second


def _with(table: pa.Table, points: pa.Array) -> pa.Table:
    """Put landmarks into a table, where a pack has them: after the columns that say which image it is."""
    return table.add_column(len(NAMING), LANDMARKS, points)
