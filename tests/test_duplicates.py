from __future__ import annotations

import io
import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.fft import dctn

import oneway
import oneway.data.duplicates as module
from oneway.auditing.guards import check_pictures, doubts
from oneway.data import description
from oneway.data.duplicates import LEAST_CORRELATION, MOST_BITS, duplicates
from oneway.data.join import join
from oneway.data.readers import folder
from oneway.data.source import Source, synthetic_source
from trees import noise_source, photograph

SIZE = 64


@dataclass(frozen=True)
class Given:
    """Reads pictures that are there."""

    pictures: NDArray[np.uint8]

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        return self.pictures[index]


def source_of(pictures: NDArray[np.uint8], partition: tuple[str, ...]) -> Source:
    count = len(pictures)
    return Source(
        layout="folder",
        names=tuple(f"{place}" for place in range(count)),
        attributes=(),
        labels=np.zeros((count, 0), dtype=np.bool_),
        identities=tuple(f"p{place}" for place in range(count)),
        partition=partition,
        landmarks=None,
        reader=Given(pictures),
    )


def pack_of(pictures: NDArray[np.uint8], partition: tuple[str, ...], path: Path) -> oneway.Pack:
    return oneway.prepare(source_of(pictures, partition), path, size=pictures.shape[1], jobs=1, progress=False)


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    """Drawn faces of people who do not look alike."""
    reader = synthetic_source(40, 1, 3).reader
    return np.stack([reader(place, SIZE) for place in range(40)])


PARTS = ("private", "public", "validation", "test") * 10


def changed(picture: NDArray[np.uint8], how: str) -> NDArray[np.uint8]:
    image = Image.fromarray(picture)
    if how == "compressed":
        file = io.BytesIO()
        image.save(file, "JPEG", quality=30)
        image = Image.open(file)
    elif how == "scaled":
        image = image.resize((SIZE // 2, SIZE // 2), Image.Resampling.BILINEAR).resize((SIZE, SIZE))
    elif how == "grey":
        image = image.convert("L").convert("RGB")
    elif how == "darkened":
        image = ImageEnhance.Brightness(image).enhance(0.8)
    return np.asarray(image)


@pytest.mark.parametrize("how", ["equal", "compressed", "scaled", "grey", "darkened"])
def test_a_picture_that_is_in_two_parts_is_found_whatever_was_done_to_it(
    faces: NDArray[np.uint8], how: str, tmp_path: Path
) -> None:
    pictures = faces.copy()
    pictures[3] = changed(faces[0], how)  # test and private
    pictures[6] = changed(faces[2], how)  # both validation, where it does no harm
    pack = pack_of(pictures, PARTS, tmp_path / "pack")
    found = duplicates(pack)
    assert found.pictures == {"private": 1, "public": 0, "validation": 0, "test": 1}
    assert [set(pair) for pair in found.examples] == [{"0 (private)", "3 (test)"}]
    (guard,) = check_pictures(found)
    assert (guard.name, guard.passed) == ("pictures", False)
    assert "1 private, 1 test; pack.json names some" in guard.message
    assert "0 (private)" in found.said(named=True)
    assert "0 (private)" not in guard.message, "a picture's name may be a person's"
    assert any("10.0% of the test pictures" in doubt for doubt in doubts(pack, found))


def test_pictures_of_different_faces_are_not_taken_for_one(people: oneway.Pack, pack: oneway.Pack) -> None:
    for each in (people, pack):
        found = duplicates(each)
        assert (found.examples, set(found.pictures.values())) == ((), {0})
        assert check_pictures(found)[0].passed is True


def test_flat_pictures_are_equal_only_where_their_pixels_are(tmp_path: Path) -> None:
    pictures = np.empty((40, 16, 16, 3), dtype=np.uint8)
    pictures[:] = (np.arange(40, dtype=np.uint8) * 5)[:, None, None, None]
    pictures[1] = pictures[0]
    found = duplicates(pack_of(pictures, PARTS, tmp_path / "pack"))
    assert found.pictures == {"private": 1, "public": 1, "validation": 0, "test": 0}


def test_however_many_are_equal_each_is_counted_once(tmp_path: Path) -> None:
    pictures = np.full((4000, 16, 16, 3), 77, dtype=np.uint8)
    found = duplicates(pack_of(pictures, ("private", "public", "validation", "test") * 1000, tmp_path / "pack"))
    assert found.pictures == dict.fromkeys(("private", "public", "validation", "test"), 1000)
    assert len(found.examples) == 3


def close(faces: NDArray[np.uint8], one: int, other: int) -> bool:
    """Say whether two pictures are nearly equal, by Pillow's scaling and SciPy's cosines."""
    bits, greys = [], []
    for place in (one, other):
        grey = Image.fromarray((faces[place] @ np.array([0.299, 0.587, 0.114])).astype(np.float32))
        low = dctn(np.asarray(grey.resize((32, 32), Image.Resampling.BOX)))[:8, :8].ravel()
        bits.append(low > np.median(low[1:]))
        greys.append(np.asarray(grey.resize((16, 16), Image.Resampling.BOX)).ravel())
    return bool((bits[0] ^ bits[1]).sum() <= MOST_BITS and np.corrcoef(*greys)[0, 1] >= LEAST_CORRELATION)


def test_what_is_found_is_what_all_pairs_show(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pictures = faces.copy()
    for place in range(20, 40):  # from hardly changed to unlike
        noise = generator.normal(0, 4 * (place - 20), faces[0].shape)
        pictures[place] = np.clip(faces[place - 20] + noise, 0, 255)
    parts = (*("test", "private") * 9, "public", "validation", *PARTS[1:21])
    near = {
        name
        for one, other in combinations(range(40), 2)
        if parts[one] != parts[other] and close(pictures, one, other)
        for name in (one, other)
    }
    assert 4 < len(near) < 40
    found = duplicates(pack_of(pictures, parts, tmp_path / "pack"))
    assert sum(found.pictures.values()) == len(near)


def test_the_pairs_of_very_many_pictures_are_found_in_seconds() -> None:
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**63, 20_000, dtype=np.uint64)
    greys = generator.standard_normal((20_000, 256)).astype(np.float16)
    greys /= np.linalg.norm(greys.astype(np.float32), axis=1, keepdims=True)
    parts = np.arange(20_000) % 4
    hashes[1], greys[1] = hashes[0] ^ np.uint64(0b1111 << 20), greys[0]
    hashes[3], greys[3] = hashes[2] ^ np.uint64(0b11111 << 20), greys[2]  # one bit too many
    found = [
        {int(one), int(other)}
        for here, there in module._alike(hashes, parts, greys)
        for one, other in zip(here, there, strict=True)
    ]
    assert found == [{0, 1}]


def test_it_is_looked_for_once_and_kept_in_the_pack(
    faces: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = faces.copy()
    pictures[3] = pictures[0]
    pack = pack_of(pictures, PARTS, tmp_path / "pack")
    assert "equal or nearly so to one in another part: 1 private, 1 test" in caplog.text
    found, path = duplicates(pack), pack.path / "pack.json"
    description = json.loads(path.read_text())
    assert description.pop("duplicates")["pictures"] == found.pictures
    monkeypatch.setattr(module, "_search", lambda *_: pytest.fail("looked again"))
    assert duplicates(oneway.Pack.open(pack.path)) == found
    monkeypatch.undo()
    path.write_text(json.dumps(description))  # as packs were before, and as a linked one is
    assert duplicates(oneway.Pack.open(pack.path)) == found
    assert json.loads(path.read_text())["duplicates"]["pictures"] == found.pictures
    assert oneway.Pack.open(pack.path).hash == pack.hash


def test_nothing_is_kept_where_the_pack_cannot_be_written(
    faces: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = pack_of(faces, PARTS, tmp_path / "pack")
    path = pack.path / "pack.json"
    content = json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "duplicates"})
    path.write_text(content)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(description, "write", refused)
    assert duplicates(pack).examples == ()
    assert path.read_text() == content


def test_a_joined_pack_is_looked_through_anew(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    pack, extra = (pack_of(faces, PARTS, tmp_path / name) for name in ("one", "two"))
    assert duplicates(pack).examples == ()
    found = duplicates(join(pack, extra, tmp_path / "both"))
    assert found.pictures == {"private": 10, "public": 30, "validation": 10, "test": 10}


def test_a_linked_pack_is_looked_through_when_it_is_audited(tmp_path: Path) -> None:
    for place in range(12):
        photograph(tmp_path / "faces" / f"{place}.png", 40, 40, place % 6)
    pack = oneway.prepare(folder.read(tmp_path / "faces"), tmp_path / "pack", size=16, linked=True, progress=False)
    assert "duplicates" not in json.loads((pack.path / "pack.json").read_text())
    assert sum(duplicates(pack, progress=False).pictures.values()) > 0
    assert "duplicates" in json.loads((pack.path / "pack.json").read_text())


def test_noise_is_like_no_other_noise(tmp_path: Path) -> None:
    pack = oneway.prepare(noise_source(300), tmp_path / "pack", size=16, jobs=1, progress=False)
    assert duplicates(pack).examples == ()
