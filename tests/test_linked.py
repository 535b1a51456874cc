"""Packs that are linked to their images: the same pictures as a packed one's, the same training, nothing copied."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oneway
from oneway.data.byterange import ByteRange, root_of
from oneway.data.join import join
from oneway.data.linked import write_spans
from oneway.data.picture import CorruptImage
from oneway.data.readers import celeba, folder, webdataset
from oneway.data.source import Source, synthetic_source
from oneway.storage.runs import read_tensors
from test_webdataset import people, shard
from trees import celeba_tree, photograph, truncate

pytestmark = pytest.mark.whole


@pytest.fixture(params=["celeba", "folder", "webdataset", "remote webdataset"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "celeba":
        return celeba.read(celeba_tree(tmp_path))
    if request.param == "folder":
        for place in range(24):
            photograph(tmp_path / "loose" / f"{place}.png", 40 + place, 30, place)
        return folder.read(tmp_path / "loose")
    shard(tmp_path / "a.tar", people(0, 14))
    shard(tmp_path / "b.tar", people(14, 10))
    return webdataset.read(f"{'file://' if 'remote' in request.param else ''}{tmp_path}/*.tar")


def both(source: Source, tmp_path: Path) -> tuple[oneway.Pack, oneway.Pack]:
    given: dict[str, Any] = {"size": 16, "jobs": 1, "progress": False}
    return (
        oneway.prepare(source, tmp_path / "packed", **given),
        oneway.prepare(source, tmp_path / "linked", linked=True, **given),
    )


def test_a_linked_pack_has_the_pictures_of_a_packed_one(source: Source, tmp_path: Path) -> None:
    packed, linked = both(source, tmp_path)
    assert not (linked.path / "images.npy").exists()
    assert linked.counts == packed.counts
    assert linked.table.equals(packed.table)
    for ours, theirs in ((linked.private, packed.private), (linked.test, packed.test)):
        np.testing.assert_array_equal(ours.images(slice(None)), theirs.images(slice(None)))
        index = np.array([1, 0, 1])
        np.testing.assert_array_equal(ours.images(index), theirs.images(index))
        with pytest.raises(IndexError, match="index must lie in"):
            ours.images(np.array([len(ours)]))


def test_training_on_shards_where_they_lie_is_training_on_the_pack(
    tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    shard(tmp_path / "a.tar", people(0, 60))
    packs = both(webdataset.read(str(tmp_path / "a.tar")), tmp_path)
    one, two = (
        oneway.protect(pack, tmp_path / f"run {number}", tiny({"steps": 4, "batch_size": 8}), progress=False)
        for number, pack in enumerate(packs)
    )
    ours, theirs = (read_tensors(run.path / "protector.safetensors")[0] for run in (one, two))
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours)


def test_a_linked_pack_joined_with_another_is_a_packed_one(tmp_path: Path) -> None:
    packed, linked = both(celeba.read(celeba_tree(tmp_path / "tree")), tmp_path)
    ours, theirs = join(linked, packed, tmp_path / "one"), join(packed, packed, tmp_path / "two")
    np.testing.assert_array_equal(np.asarray(ours.pixels), np.asarray(theirs.pixels))
    assert oneway.Pack.open(tmp_path / "one").counts == theirs.counts


def test_its_hash_tells_where_the_images_lie_and_what_they_are_called(tmp_path: Path) -> None:
    made = []
    for name, labels in (("a", people(0, 24)), ("b", people(0, 24)), ("c", people(2, 24))):
        shard(tmp_path / name / "x.tar", labels)
        source = webdataset.read(str(tmp_path / name / "x.tar"))
        made.append(oneway.prepare(source, tmp_path / name / "pack", size=16, linked=True, progress=False))
    larger = oneway.prepare(source, tmp_path / "larger", size=32, linked=True, progress=False)
    assert len({pack.hash for pack in (*made, larger)}) == 4
    again = oneway.prepare(source, tmp_path / "again", size=16, linked=True, progress=False)
    assert again.hash == made[-1].hash


def test_what_cannot_be_linked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(oneway.InputError, match="the images of the synthetic layout are no files; leave out linked"):
        oneway.prepare(synthetic_source(8, 1, 0), tmp_path / "out", size=16, linked=True)
    source = celeba.read(celeba_tree(tmp_path / "tree"))
    with pytest.raises(oneway.InputError, match="skip_bad: a linked pack looks at no image"):
        oneway.prepare(source, tmp_path / "out", size=16, linked=True, skip_bad=True)
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "spans.parquet").touch()
    with pytest.raises(oneway.InputError, match=r"out.partial: left by an interrupted run; go on with --resume"):
        oneway.prepare(source, tmp_path / "out", size=16, linked=True)
    oneway.prepare(source, tmp_path / "out", size=16, linked=True, resume=True, progress=False)
    with pytest.raises(oneway.InputError, match="exists already"):
        oneway.prepare(source, tmp_path / "out", size=16, linked=True, progress=False)


def test_an_image_that_is_gone_or_damaged_is_named_when_it_is_used(tmp_path: Path) -> None:
    source = celeba.read(celeba_tree(tmp_path / "tree"))
    pack = oneway.prepare(source, tmp_path / "pack", size=16, linked=True, progress=False)
    images = tmp_path / "tree" / "img_align_celeba"
    truncate(images / pack.test.names[0])
    with pytest.raises(CorruptImage, match=f"{pack.test.names[0]} at 0: cannot be decoded"):
        pack.test.images(slice(0, 1))
    (images / pack.test.names[1]).unlink()
    with pytest.raises(oneway.InputError, match=f"{pack.test.names[1]}: cannot be read"):
        pack.test.images(slice(1, 2))
    (pack.path / "spans.parquet").write_bytes(b"no")
    with pytest.raises(oneway.InputError, match=r"spans.parquet: cannot be read"):
        oneway.Pack.open(pack.path)


def relinked(pack: oneway.Pack, file: str, **more: Any) -> oneway.Pack:
    """The same pack, as a stranger may send it: all its images in one file of his choice."""
    spans = [ByteRange(file)] * len(pack.table)
    write_spans(pack.path / "spans.parquet", spans)
    description = json.loads((pack.path / "pack.json").read_text())
    description["linked"] |= more
    (pack.path / "pack.json").write_text(json.dumps(description))
    return oneway.Pack.open(pack.path)


@pytest.fixture
def received(tmp_path: Path) -> oneway.Pack:
    for place in range(24):
        photograph(tmp_path / "root" / "own" / f"{place}.png", 40, 30, place)
    photograph(tmp_path / "root" / "other.png", 40, 30)
    photograph(tmp_path / "rooted.png", 40, 30)
    (tmp_path / "root" / "own" / "link.png").symlink_to(tmp_path / "rooted.png")
    source = folder.read(tmp_path / "root")
    names = tuple(name for name in source.names if name.startswith("own/") and "link" not in name)
    reader = dataclasses.replace(source.reader, names=names)  # type: ignore[type-var]
    labels = np.zeros((len(names), 0), dtype=np.bool_)
    return oneway.prepare(
        dataclasses.replace(source, names=names, labels=labels, reader=reader),
        tmp_path / "pack",
        size=16,
        linked=True,
        progress=False,
    )


def test_a_linked_pack_says_below_which_folder_its_images_lie(received: oneway.Pack, tmp_path: Path) -> None:
    own = tmp_path / "root" / "own"
    assert json.loads((received.path / "pack.json").read_text())["linked"]["root"] == str(own.resolve())
    assert relinked(received, str(own / ".." / "own" / "1.png")).test.images(slice(0, 1)).shape == (1, 16, 16, 3)
    for file in ("../other.png", "../../rooted.png", "link.png", "../own.png"):
        for start in ("", "file://"):
            pack = relinked(received, f"{start}{own}/{file}")
            with pytest.raises(oneway.InputError, match=r"does not lie below .*own, the root of this pack"):
                pack.test.images(slice(0, 1))
    description = json.loads((received.path / "pack.json").read_text())
    del description["linked"]["root"]
    (received.path / "pack.json").write_text(json.dumps(description))
    with pytest.raises(oneway.InputError, match=r"linked\.root is missing; prepare the pack again"):
        oneway.Pack.open(received.path)


def test_one_that_follows_links_has_a_root_above_them(received: oneway.Pack, tmp_path: Path) -> None:
    source = folder.read(tmp_path / "root")
    pack = oneway.prepare(source, tmp_path / "linked", size=16, linked=True, progress=False)
    assert json.loads((pack.path / "pack.json").read_text())["linked"]["root"] == str(tmp_path.resolve())
    assert len(pack.private.images(slice(None))) == len(pack.private)


@pytest.mark.parametrize(
    "file",
    [
        "reference://x::http://127.0.0.1:9/refs.json",
        "simplecache::file:///etc/passwd",
        "file:///root/x.zip::file:///root/x.zip",
        "zip://x.png::file:///root/x.zip",
        "s3://bucket/a::b",
        "reference://x.png",
        "memory://x.png",
        "ssh://host/x.png",
        "git://x:y@z/x.png",
        "dir://x.png",
        "local:///etc/passwd",
        "FILE:///etc/passwd",
        "file://etc/passwd",
        "://x",
    ],
)
def test_urls_that_run_or_fetch_something_else_are_not_opened(
    received: oneway.Pack, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("fsspec was asked")

    for name in ("open", "core.url_to_fs", "filesystem"):
        monkeypatch.setattr(f"fsspec.{name}", refuse)
    pack = relinked(received, file, root=file.rpartition("/")[0])
    with pytest.raises(oneway.InputError, match=r"is not opened; |are not opened; |must be file://|does not lie below"):
        pack.test.images(slice(0, 1))
    for place in (f"{file}/*.tar", file):
        with pytest.raises(oneway.InputError, match=r"is not opened; |are not opened; |must be file://"):
            webdataset.read(place)


def test_what_opens_what_others_wrote_is_no_older_than_what_was_tried() -> None:
    project = Path(__file__).parent.parent
    asked = tomllib.loads((project / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = (project / "constraints.txt").read_text().split()
    for package in ("fsspec", "onnxruntime"):  # older ones run what a URL says, or crash on a graph
        (floor,) = (each.removeprefix(f"{package}>=") for each in asked if each.startswith(f"{package}>="))
        (tried,) = (each.removeprefix(f"{package}==") for each in pinned if each.startswith(f"{package}=="))
        assert tried.split(".")[: floor.count(".") + 1] == floor.split(".")


@pytest.mark.parametrize("file", ["s3://bucket/faces/../x.tar", "s3://bucket/faces/%2e%2e/x.tar", "s3://bucket/facesx"])
def test_urls_stay_below_their_root_too(received: oneway.Pack, file: str) -> None:
    pack = relinked(received, file, root="s3://bucket/faces")
    with pytest.raises(oneway.InputError, match=r"must not lead upwards|does not lie below s3://bucket/faces"):
        pack.test.images(slice(0, 1))


def test_the_root_of_urls_is_what_they_share() -> None:
    assert root_of(["s3://bucket/faces/a/1.tar", "s3://bucket/faces/b/2.tar"]) == "s3://bucket/faces"
    assert root_of(["s3://bucket/faces/1.tar"]) == "s3://bucket/faces"
    assert root_of(["https://host/1.tar"]) == "https://host"
    assert root_of(["/1.png"]) == "/"


@pytest.mark.parametrize(("offset", "size"), [(-1, 10), (0, -2), (0, 2**40), (2**62, 10)])
def test_places_that_are_no_piece_of_a_file_are_refused(received: oneway.Pack, offset: int, size: int) -> None:
    file = next(received.path.parent.glob("root/own/1.png"))
    write_spans(received.path / "spans.parquet", [ByteRange(str(file), offset, size)] * len(received.table))
    with pytest.raises(oneway.InputError, match=r"are no piece of a file|it has more than|cannot be read"):
        oneway.Pack.open(received.path).test.images(slice(0, 1))


@pytest.mark.parametrize("size", [0, -16, 10**7])
def test_a_size_that_promises_terabytes_is_refused(received: oneway.Pack, size: int) -> None:
    description = json.loads((received.path / "pack.json").read_text())
    (received.path / "pack.json").write_text(json.dumps(description | {"size": size}))
    with pytest.raises(
        oneway.InputError, match=rf"pack.*: size must be at (least 1|most 8000), not {size}; prepare the pack again"
    ):
        oneway.Pack.open(received.path)
