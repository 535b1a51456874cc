"""Pictures that are in two parts of a pack, equal or nearly so: an attacker who was trained on one remembers it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from oneway.data.description import Duplicates as Duplicates
from oneway.data.description import read_description, write_description
from oneway.data.packed import Pack
from oneway.data.splits import SPLITS
from oneway.progress import track

log = logging.getLogger("oneway.data")
MOST_BITS, LEAST_CORRELATION = 4, 0.985
"""How many of 64 bits the perceptual hashes of nearly equal pictures differ by, and how their greys correlate."""
_EXAMPLES = 3
_CHUNK = 1024
_WINDOW = 512  # pictures of a like hash that each is compared with, so that a film of one scene does not take for ever
_FLAT = 1.0  # grey levels of deviation, below which there is nothing to compare


def duplicates(pack: Pack, *, progress: bool = True) -> Duplicates:
    """Find the pictures that are in two parts, and keep in pack.json what was found.

    Equal are pictures whose pixels are, at the size of the pack. Nearly equal are those whose perceptual hashes (64
    bits: the signs of the lowest cosines of their greys, about the median) differ by at most `MOST_BITS` and whose
    greys at 16 x 16 correlate by at least `LEAST_CORRELATION`: the same photograph compressed, scaled, brightened or
    without its colours, and not mirrored or cut. It takes 600 bytes a picture, and time that grows like their number.

    Args:
        pack: opened; nothing is kept where its folder cannot be written.
        progress: show a bar.

    """
    description = read_description(pack.path)
    if description.duplicates is not None:
        return description.duplicates
    found = _search(pack, progress)
    try:
        write_description(pack.path, replace(description, duplicates=found))
    except OSError as error:
        log.warning("%s: which pictures are in two parts is not kept (%s)", pack.path, error.strerror)
    return found


def _search(pack: Pack, progress: bool) -> Duplicates:
    parts = np.repeat(np.arange(len(SPLITS)), [pack.counts[split] for split in SPLITS])
    digests, hashes, greys = _seen(pack, progress)
    doubled = np.zeros(len(parts), dtype=np.bool_)
    pairs: list[tuple[int, int]] = []
    # One of each part stands for all that are equal there, however many.
    _, equal = np.unique(digests, return_inverse=True)
    keys, first, standing = np.unique(equal * len(SPLITS) + parts, return_index=True, return_inverse=True)
    again = np.flatnonzero(np.diff(keys // len(SPLITS)) == 0)
    found = [(again, again + 1), *_alike(hashes[first], parts[first], greys[first])]
    for here, there in found:
        doubled[first[here]] = doubled[first[there]] = True
        pairs += zip(first[here[:_EXAMPLES]].tolist(), first[there[:_EXAMPLES]].tolist(), strict=True)
    pairs = [*dict.fromkeys((min(pair), max(pair)) for pair in pairs)][:_EXAMPLES]
    doubled = doubled[first][standing]
    counts = {split: int(doubled[parts == code].sum()) for code, split in enumerate(SPLITS)}
    names = pack.table.column("name")

    def told(row: int) -> str:
        return f"{names[row].as_py()} ({SPLITS[parts[row]]})"

    return Duplicates(counts, tuple((told(row), told(other)) for row, other in pairs))


def _seen(pack: Pack, progress: bool) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.float16]]:
    """Read every picture: digests of its pixels (n,), perceptual hashes (n,), greys of length 1 (n, 256)."""
    count = len(pack.pixels)
    digests, hashes = np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.uint64)
    greys = np.empty((count, 256), dtype=np.float16)
    cosines, means = _lowest(pack.size), _averaging(16, pack.size)
    with track("compare pictures", count, enabled=progress) as advance:
        for start in range(0, count, _CHUNK):
            rows = slice(start, min(start + _CHUNK, count))
            images = pack.read(rows)
            digests[rows] = [
                int.from_bytes(hashlib.blake2b(image, digest_size=8).digest(), "little") for image in images
            ]
            grey = images @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
            low = (cosines @ grey @ cosines.T).reshape(len(grey), -1)
            bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
            hashes[rows] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
            small = (means @ grey @ means.T).reshape(len(grey), -1)
            small -= small.mean(axis=1, keepdims=True)
            length = np.linalg.norm(small, axis=1, keepdims=True)
            greys[rows] = np.where(length > _FLAT * 16, small / np.maximum(length, 1e-6), 0)
            advance(len(images))
    return digests, hashes, greys


def _alike(
    hashes: NDArray[np.uint64], parts: NDArray[np.int64], greys: NDArray[np.float16]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Give places of pairs in two parts that are nearly equal, each once."""
    # Two hashes that differ by k bits are equal in one of k + 1 sets of bits at least.
    masks = [np.uint64(sum(1 << bit for bit in range(band, 64, MOST_BITS + 1))) for band in range(MOST_BITS + 1)]
    for band, mask in enumerate(masks):
        order = np.lexsort((hashes, hashes & mask))
        keys = (hashes & mask)[order]
        here = np.arange(len(order))
        for step in range(1, _WINDOW):
            here = here[here + step < len(order)]
            here = here[keys[here] == keys[here + step]]
            if not len(here):
                break
            one, other = order[here], order[here + step]
            differ = hashes[one] ^ hashes[other]
            near = (parts[one] != parts[other]) & (np.bitwise_count(differ) <= MOST_BITS)
            for earlier in masks[:band]:
                near &= differ & earlier != 0  # or the pair was there before
            one, other = one[near], other[near]
            correlation = np.einsum("kc,kc->k", greys[one], greys[other], dtype=np.float32)
            same = correlation >= LEAST_CORRELATION
            if same.any():
                yield one[same], other[same]


@cache
def _averaging(count: int, size: int) -> NDArray[np.float32]:
    """Give the matrix that averages `size` numbers to `count`, each over its share of the whole."""
    edges = np.arange(count + 1) * size / count
    places = np.arange(size)
    covered = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    weights: NDArray[np.float32] = (np.maximum(covered, 0) * count / size).astype(np.float32)
    return weights


@cache
def _lowest(size: int) -> NDArray[np.float32]:
    """Give the matrix of the 8 lowest cosines of `size` numbers that were averaged to 32."""
    cosines = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5)).astype(np.float32)
    return np.asarray(cosines @ _averaging(32, size), dtype=np.float32)
