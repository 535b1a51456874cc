"""Packs with more public people: the same everywhere else, so that a run can be attacked with them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

import oneway
from oneway.data.join import join
from oneway.data.prepare import prepare
from oneway.data.splits import SPLITS
from oneway.storage.atomic import hold
from trees import noise_source

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> oneway.Pack:
    path = tmp_path_factory.mktemp("join") / "pack"
    return prepare(noise_source(200), path, size=16, jobs=1, progress=False)


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> oneway.Pack:
    from dataclasses import replace

    path = tmp_path_factory.mktemp("extra") / "pack"
    source = noise_source(90)
    labels = np.zeros((90, 0), dtype=np.bool_)
    return prepare(replace(source, attributes=(), labels=labels), path, size=16, jobs=1, progress=False)


def test_only_the_public_people_are_more(base: oneway.Pack, extra: oneway.Pack, tmp_path: Path) -> None:
    joined = join(base, extra, tmp_path / "joined")
    for split in SPLITS:
        ours, theirs = getattr(joined, split), getattr(base, split)
        kept = slice(0, len(theirs))
        np.testing.assert_array_equal(ours.images(kept), theirs.images(slice(None)))
        assert ours.names[: len(theirs)] == theirs.names
        assert len(ours) - len(theirs) == (len(extra.pixels) if split == "public" else 0)
        assert ours.num_people - theirs.num_people == (len(np.unique(extra.people)) if split == "public" else 0)
        if split != "public":
            np.testing.assert_array_equal(ours.labels(), theirs.labels())
    np.testing.assert_array_equal(joined.public.images(slice(len(base.public), None)), extra.pixels)
    everyone = [set(getattr(joined, split).identities.tolist()) for split in SPLITS]
    assert sum(map(len, everyone)) == len(set.union(*everyone))
    assert joined.hash not in (base.hash, extra.hash)
    assert joined.joined == (base.hash, extra.hash)


def test_images_without_labels_say_so(base: oneway.Pack, extra: oneway.Pack, tmp_path: Path) -> None:
    joined = join(base, extra, tmp_path / "joined")
    with pytest.raises(oneway.InputError, match="90 public images have no label of attribute0"):
        joined.public.labels()
    again = join(base, base, tmp_path / "twice")
    np.testing.assert_array_equal(again.public.labels()[len(base.public) :, 1], _column(base, "attribute1"))


def _column(pack: oneway.Pack, name: str) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(pack.table.column(name).to_pylist())


def test_a_joined_pack_is_made_once_and_never_of_others(
    base: oneway.Pack, extra: oneway.Pack, other_pack: oneway.Pack, people: oneway.Pack, tmp_path: Path
) -> None:
    first = join(base, extra, tmp_path / "joined")
    before = (first.path / "pack.json").read_bytes()
    join(base, extra, tmp_path / "joined")
    assert (first.path / "pack.json").read_bytes() == before
    with pytest.raises(oneway.InputError, match=r"is not .* joined with"):
        join(base, other_pack, tmp_path / "joined")
    with pytest.raises(oneway.InputError, match=r"images of 32 pixels .* --size 16"):
        join(base, people, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_run_is_opened_with_the_pack_that_extends_its_own_and_no_other(
    protected: oneway.Run, people: oneway.Pack, tmp_path: Path
) -> None:
    own = protected.pack
    assert len(oneway.Run.open(protected.path, join(own, people, tmp_path / "joined")).pack.public) > len(own.public)
    with pytest.raises(oneway.InputError, match="not the one that"):
        oneway.Run.open(protected.path, join(people, own, tmp_path / "other"))


def test_a_full_disk_is_an_error_and_leaves_nothing(
    base: oneway.Pack, extra: oneway.Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(oneway.InputError, match=r"images\.npy: it needs 222,848 bytes and [\d,]+ are free"):
            join(base, extra, tmp_path / "deep" / "joined")
    assert list(tmp_path.iterdir()) == []
    with (
        hold(tmp_path / "joined.partial"),
        pytest.raises(oneway.InputError, match=r"joined\.partial is being written by another process"),
    ):
        join(base, extra, tmp_path / "joined")
    (tmp_path / "joined.partial").mkdir()
    (tmp_path / "joined.partial" / "images.npy").write_bytes(b"half, of a killed one")
    assert len(join(base, extra, tmp_path / "joined").pixels) == 290
    assert [path.name for path in tmp_path.iterdir()] == ["joined"]
