from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from oneway.data.packed import Pack, Part, Private, Public, Test, Validation
from oneway.data.prepare import prepare
from oneway.data.splits import SPLITS, assign
from oneway.errors import InputError
from trees import noise_source

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    path = tmp_path_factory.mktemp("packed") / "pack"
    return prepare(noise_source(300), path, size=16, jobs=1, progress=False)


@pytest.fixture
def copy(made: Pack, tmp_path: Path) -> Path:
    shutil.copytree(made.path, tmp_path / "pack")
    return tmp_path / "pack"


def parts(pack: Pack) -> tuple[Part, ...]:
    return pack.private, pack.public, pack.validation, pack.test


def test_every_image_comes_back_with_its_labels_and_person(made: Pack) -> None:
    source = noise_source(300)
    splits = assign(source.identities, None, count=300)
    places = {name: index for index, name in enumerate(source.names)}
    code_of: dict[str, int] = {}
    assert source.identities is not None
    seen: list[str] = []
    for code, part in enumerate(parts(made)):
        origin = np.array([places[name] for name in part.names])
        assert np.all(splits[origin] == code)
        expected = np.stack([source.reader(int(index), 16) for index in origin])
        assert np.array_equal(part.images(np.arange(len(part))), expected)
        assert np.array_equal(part.images(slice(None)), expected)
        assert np.array_equal(part.labels(), source.labels[origin])
        assert np.array_equal(part.labels(["attribute2", "attribute0"]), source.labels[origin][:, [2, 0]])
        for index, person in zip(origin, part.identities, strict=True):
            assert code_of.setdefault(source.identities[index] or source.names[index], person) == person
        assert part.num_people == len(set(part.identities.tolist()))
        seen += part.names
    assert sorted(seen) == sorted(source.names)
    assert len(set(code_of.values())) == len(code_of)


def test_the_parts_are_different_types(made: Pack) -> None:
    assert [type(part) for part in parts(made)] == [Private, Public, Validation, Test]
    assert tuple(part.split for part in parts(made)) == SPLITS


def test_what_the_pack_says_of_itself(made: Pack) -> None:
    assert (made.layout, made.size, made.landmarks) == ("folder", 16, None)
    assert made.attributes == ("attribute0", "attribute1", "attribute2")
    assert made.counts == {part.split: len(part) for part in parts(made)}
    assert len(made.hash) == 64
    assert Pack.open(str(made.path)).hash == made.hash
    assert np.load(made.path / "images.npy").shape == (300, 16, 16, 3)


def test_images_are_copies(made: Pack) -> None:
    for index in (np.array([3, 1, 1]), slice(0, 2)):
        images = made.public.images(index)
        before = images.copy()
        images[:] = 0
        assert np.array_equal(made.public.images(index), before)
        assert type(images) is np.ndarray
    assert made.public.images(np.array([], dtype=np.int64)).shape == (0, 16, 16, 3)
    assert made.public.images(slice(-2, None)).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("place", [-1, 10**6])
def test_places_outside_the_split_are_refused(made: Pack, place: int) -> None:
    with pytest.raises(IndexError, match=r"index must lie in 0.."):
        made.private.images(np.array([0, place]))
    with pytest.raises(IndexError):
        made.private.images(np.array([len(made.private)]))


def test_unknown_attribute_offers_the_nearest(made: Pack) -> None:
    with pytest.raises(InputError, match="attribute 'atribute1' does not exist; did you mean 'attribute1'"):
        made.test.labels(["atribute1"])


def test_missing_and_unfinished(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a pack \(no such folder\); a pack is a folder with images.npy, labels"):
        Pack.open(tmp_path / "pack")
    (tmp_path / "pack.partial").mkdir()
    with pytest.raises(InputError, match=r"was interrupted, .*pack.partial is unfinished; rerun it with --resume"):
        Pack.open(tmp_path / "pack")
    with pytest.raises(InputError, match="unfinished; rerun its preparation with --resume"):
        Pack.open(tmp_path / "pack.partial")
    (tmp_path / "pack").write_text("a file")
    with pytest.raises(InputError, match="not a pack"):
        Pack.open(tmp_path / "pack")


@pytest.mark.parametrize("name", ["images.npy", "labels.parquet", "pack.json"])
def test_each_file_is_needed_whole(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for length in (len(content) // 2, 60, 0):
        (copy / name).write_bytes(content[:length])
        with pytest.raises(InputError, match=name):
            Pack.open(copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"not a pack \\({name} missing\\)"):
        Pack.open(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d | {"format": 2}, "reads packs of format 1, the pack has format 2; prepare it again"),
        (lambda d: d | {"count": 299}, r"splits and their images do not add up to 299 \(count\)"),
        (lambda d: d | {"attributes": ["x"]}, "labels.parquet: must have 300 rows and 4 columns"),
        (
            lambda d: {key: value for key, value in d.items() if key != "splits"},
            "splits is missing; prepare the pack again",
        ),
        (lambda d: d | {"landmarks": 3}, "landmarks must be a list, not 3"),
        (lambda d: [], "not the description of a pack"),
        (
            lambda d: d | {"splits": d["splits"] | {"test": {"images": 0, "people": 0}}},
            r"splits\.test\.images must be at least 1, not 0",
        ),
    ],
)
def test_a_description_that_does_not_fit(copy: Path, change: Callable[[dict[str, object]], object], words: str) -> None:
    path = copy / "pack.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=words):
        Pack.open(copy)


def test_splits_that_disagree_are_found(copy: Path) -> None:
    path = copy / "pack.json"
    description = json.loads(path.read_text())
    description["splits"]["private"]["images"] -= 1
    description["splits"]["public"]["images"] += 1
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"labels.parquet: the splits differ from pack.json"):
        Pack.open(copy).private.labels()


def anonymous_kilobytes() -> int:
    """Memory of this process that no file stands behind."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to measure memory")
def test_opening_and_reading_take_no_memory_whatever_the_size(tmp_path: Path) -> None:
    # 4,000 images at 1024 pixels are 12.6 GB, here a file of holes.
    small = prepare(noise_source(4_000, attributes=0), tmp_path / "pack", size=16, progress=False)
    path = small.path / "pack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": 1024}))
    np.lib.format.open_memmap(small.path / "images.npy", mode="w+", dtype=np.uint8, shape=(4_000, 1024, 1024, 3))
    small.people  # noqa: B018 - warm what the first pack of a process allocates
    before, began = anonymous_kilobytes(), time.perf_counter()
    pack = Pack.open(small.path)
    opened = time.perf_counter() - began
    generator = np.random.default_rng(0)
    for _ in range(4):
        assert pack.private.images(generator.integers(0, len(pack.private), 8)).max() == 0
    assert opened < 0.5
    assert anonymous_kilobytes() - before < 100_000


def best_seconds(*actions: Callable[[], object], repeats: int = 60) -> list[float]:
    """Return the best time of each action, measured in turns so that other load meets all of them alike."""
    best = [float("inf")] * len(actions)
    for _ in range(repeats):
        for place, action in enumerate(actions):
            began = time.perf_counter()
            action()
            best[place] = min(best[place], time.perf_counter() - began)
    return best


def test_a_shuffled_batch_costs_little_more_than_a_copy(tmp_path: Path) -> None:
    pack = prepare(noise_source(4_000, attributes=0), tmp_path / "pack", size=64, progress=False)
    part, generator = pack.private, np.random.default_rng(0)
    memory, target = part.images(slice(None)), np.ones((256, 64, 64, 3), dtype=np.uint8)
    orders = cycle([generator.permutation(len(part))[:256] for _ in range(20)])
    # Copied from another place each time too, since no epoch finds its images in the processor's cache.
    starts = cycle(range(0, len(part) - 256, 256))

    def copy() -> None:
        start = next(starts)
        np.copyto(target, memory[start : start + 256])

    copying, reading = best_seconds(copy, lambda: part.images(next(orders)))
    print(f"copy {copying * 1e3:.2f} ms, shuffled batch {reading * 1e3:.2f} ms, ratio {reading / copying:.2f}")
    assert reading <= 3 * copying


def test_nothing_of_torch_is_imported() -> None:
    code = "import sys, oneway.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
