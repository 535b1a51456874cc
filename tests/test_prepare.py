from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.data.readers import celeba, folder, lfw
from oneway.data.source import Source, synthetic_source
from oneway.errors import InputError
from oneway.storage.atomic import hold
from trees import Noise, celeba_tree, folder_tree, lfw_tree, noise_source, photograph, real_data, truncate

pytestmark = pytest.mark.whole

# The name in the package is the function; the module is where its parts are replaced.
module = sys.modules["oneway.data.prepare"]


def quick(source: Source, out: Path, *, size: int = 16, jobs: int = 1, **settings: bool | int | float) -> Pack:
    return prepare(source, out, size=size, jobs=jobs, progress=False, **settings)  # type: ignore[arg-type]


def content(pack: Pack) -> tuple[bytes, bytes, str]:
    return (pack.path / "images.npy").read_bytes(), (pack.path / "labels.parquet").read_bytes(), pack.hash


class Killed(BaseException):
    """Stands for an interruption that nothing catches."""


def interrupt(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, after: int) -> None:
    """Let `after` chunks be read, then raise `error`."""
    original, calls = module.Work.__call__, []

    def read(work: object, chunk: int) -> object:
        calls.append(chunk)
        if len(calls) > after:
            raise error
        return original(work, chunk)

    monkeypatch.setattr(module.Work, "__call__", read)


@pytest.mark.parametrize("layout", ["celeba", "lfw", "folder"])
def test_round_trip(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "data"
    source = {
        "celeba": lambda: celeba.read(celeba_tree(root)),
        "lfw": lambda: lfw.read(lfw_tree(root)),
        "folder": lambda: folder.read(folder_tree(root)),
    }[layout]()
    pack = quick(source, tmp_path / "new" / "pack", size=24)
    assert sorted(path.name for path in pack.path.iterdir()) == ["images.npy", "labels.parquet", "pack.json"]
    assert not (tmp_path / "new" / "pack.partial").exists()
    places = {name: index for index, name in enumerate(source.names)}
    parts = (pack.private, pack.public, pack.validation, pack.test)
    for part in parts:
        origin = [places[name] for name in part.names]
        assert np.array_equal(part.images(slice(None)), np.stack([source.reader(i, 24) for i in origin]))
        assert np.array_equal(part.labels(), source.labels[origin])
    assert sum(map(len, parts)) == len(source.names)
    assert pack.landmarks == source.landmarks
    assert pack.layout == layout


def test_description_and_table(tmp_path: Path) -> None:
    pack = quick(celeba.read(celeba_tree(tmp_path / "data")), tmp_path / "pack", public=0.4, seed=7)
    description = json.loads((pack.path / "pack.json").read_text())
    assert description["splits"] == {
        "private": {"images": 12, "people": 4},
        "public": {"images": 6, "people": 2},
        "validation": {"images": 3, "people": 1},
        "test": {"images": 3, "people": 1},
    }
    assert (description["public"], description["seed"], description["skipped"]) == (0.4, 7, [])
    assert description["crop"] == "columns 15..163, rows 40..188 of the 178x218 frame"
    assert set(description["versions"]) == {"oneway", "numpy", "pillow", "pyarrow", "python"}
    assert description["created"].endswith("+00:00")
    table = parquet.read_table(pack.path / "labels.parquet")
    assert table.column_names == ["name", "identity", "split", *pack.attributes]
    assert table.schema.field("Smiling").type == "bool"


def test_the_number_of_processes_changes_nothing(tmp_path: Path) -> None:
    source = noise_source(700)
    one, two = quick(source, tmp_path / "one"), quick(source, tmp_path / "two", jobs=2)
    assert content(one) == content(two)


def test_the_hash_tells_images_and_labels(tmp_path: Path) -> None:
    source = noise_source(40)
    other = replace(source, labels=~source.labels)
    packs = [
        quick(source, tmp_path / "a"),
        quick(source, tmp_path / "b", size=17),
        quick(source, tmp_path / "c", seed=1),
        quick(other, tmp_path / "d"),
    ]
    assert len({pack.hash for pack in packs}) == 4


KILLED = """
import sys
from pathlib import Path
from trees import Noise, noise_source
from oneway.data.prepare import prepare
prepare(noise_source(2000, reader=Noise(seconds=0.002)), Path(sys.argv[1]), size=16, jobs=2, progress=False)
"""


def test_killed_in_the_middle_and_resumed(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "pack")], env=environment)
    journal, deadline = tmp_path / "pack.partial" / "journal.jsonl", time.monotonic() + 30
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = workers.read_text().split() if workers.exists() else []
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = journal.read_bytes().count(b"\n")
    assert finished < 8
    assert not (tmp_path / "pack").exists()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a process of the killed run is still there"
        time.sleep(0.01)
    source = noise_source(2000)
    with pytest.raises(InputError, match=r"was interrupted, .* rerun it with --resume"):
        Pack.open(tmp_path / "pack")
    with pytest.raises(InputError, match=r"pack.partial: left by an interrupted run; go on with --resume, or delete"):
        quick(source, tmp_path / "pack")
    resumed = quick(source, tmp_path / "pack", resume=True)
    assert content(resumed) == content(quick(source, tmp_path / "whole"))


def test_resuming_reads_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = noise_source(1000)
    interrupt(monkeypatch, Killed(), after=2)
    with pytest.raises(Killed):
        quick(source, tmp_path / "pack")
    journal = tmp_path / "pack.partial" / "journal.jsonl"
    with open(journal, "ab") as file:
        file.write(b"[3, [[9")  # a line that was being written
    monkeypatch.undo()
    read = []
    original = module.Work.__call__

    def counted(work: object, chunk: int) -> object:
        read.append(chunk)
        return original(work, chunk)

    monkeypatch.setattr(module.Work, "__call__", counted)
    resumed = quick(source, tmp_path / "pack", resume=True)
    assert read == [2, 3]
    assert content(resumed) == content(quick(source, tmp_path / "whole"))


def test_nothing_is_left_of_a_run_that_finished_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, Killed(), after=0)
    with pytest.raises(Killed):
        quick(noise_source(600), tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["settings.json", "images.npy"])
def test_a_partial_without_its_beginning_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    interrupt(monkeypatch, Killed(), after=1)
    with pytest.raises(Killed):
        quick(noise_source(600), tmp_path / "pack")
    monkeypatch.undo()
    (tmp_path / "pack.partial" / missing).unlink()
    resumed = quick(noise_source(600), tmp_path / "pack", resume=True)
    assert content(resumed) == content(quick(noise_source(600), tmp_path / "whole"))


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pack.partial").mkdir()
    (tmp_path / "pack.partial" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis.tex', so it was not left by an interrupted run"):
        quick(noise_source(600), tmp_path / "pack", resume=True)
    assert (tmp_path / "pack.partial" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 17}, "was begun with size 16, now size is 17; resume with the same settings, or delete it"),
        ({"seed": 3}, "was begun with seed 0, now seed is 3"),
        ({"public": 0.3}, "was begun with public 0.5, now public is 0.3"),
        ({}, "was begun with other images or labels"),
    ],
)
def test_resuming_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], words: str
) -> None:
    interrupt(monkeypatch, Killed(), after=1)
    with pytest.raises(Killed):
        quick(noise_source(600), tmp_path / "pack")
    monkeypatch.undo()
    source = noise_source(600)
    if not settings:
        source = replace(source, labels=~source.labels)
    with pytest.raises(InputError, match=words):
        quick(source, tmp_path / "pack", resume=True, **settings)


def test_corrupt_images_are_refused_and_named(tmp_path: Path) -> None:
    root = celeba_tree(tmp_path / "data")
    truncate(root / "img_align_celeba" / "000003.jpg")
    truncate(root / "img_align_celeba" / "000009.jpg")
    with pytest.raises(InputError) as raised:
        quick(celeba.read(root), tmp_path / "pack")
    message = str(raised.value)
    assert "000003.jpg: cannot be decoded" in message
    assert "000009.jpg: cannot be decoded" in message
    assert "rerun with --resume, or leave them out with --resume --skip-bad" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_corrupt_images_are_left_out_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = celeba_tree(tmp_path / "data")
    whole = quick(celeba.read(root), tmp_path / "whole")
    truncate(root / "img_align_celeba" / "000003.jpg")
    with caplog.at_level(logging.WARNING):
        pack = quick(celeba.read(root), tmp_path / "pack", skip_bad=True)
    assert "1 images cannot be decoded and were left out" in caplog.text
    assert "000003.jpg" in caplog.text
    description = json.loads((pack.path / "pack.json").read_text())
    assert [entry["name"] for entry in description["skipped"]] == ["000003.jpg"]
    assert "cannot be decoded" in description["skipped"][0]["reason"]
    assert description["count"] == 23
    # All others keep their splits, images and labels.
    for one, other in ((pack.private, whole.private), (pack.public, whole.public), (pack.test, whole.test)):
        kept = [place for place, name in enumerate(other.names) if name != "000003.jpg"]
        assert one.names == [other.names[place] for place in kept]
        assert np.array_equal(one.images(slice(None)), other.images(np.array(kept)))
        assert np.array_equal(one.labels(), other.labels()[kept])


def test_bad_images_are_tried_again_unless_skipped(tmp_path: Path) -> None:
    bad = noise_source(1000, reader=Noise(bad=(700, 5)))
    skipped = quick(bad, tmp_path / "skipped", skip_bad=True)
    # The same through an error, a resumed run that skips, and one process more.
    with pytest.raises(InputError, match=r"image00\d+: cannot be decoded"):
        quick(bad, tmp_path / "pack")
    resumed = quick(bad, tmp_path / "pack", resume=True, skip_bad=True)
    assert content(resumed) == content(skipped)
    # A repaired file is read when resumed without skipping.
    with pytest.raises(InputError):
        quick(bad, tmp_path / "repaired")
    assert content(quick(noise_source(1000), tmp_path / "repaired", resume=True)) == content(
        quick(noise_source(1000), tmp_path / "whole")
    )


def test_interrupted_after_bad_images_were_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = noise_source(600, reader=Noise(bad=(5, 100)))
    expected = content(quick(bad, tmp_path / "whole", skip_bad=True))
    original = os.rename

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(module.os, "rename", killed)
    with pytest.raises(Killed):
        quick(bad, tmp_path / "pack", skip_bad=True)
    monkeypatch.setattr(module.os, "rename", original)
    assert content(quick(bad, tmp_path / "pack", skip_bad=True, resume=True)) == expected


def test_a_split_without_a_readable_image(tmp_path: Path) -> None:
    source = noise_source(12, shots=1)
    with pytest.raises(InputError, match=r"no image of the \w+ split can be decoded"):
        quick(replace(source, reader=Noise(bad=tuple(range(11)))), tmp_path / "pack", skip_bad=True)


def test_a_repaired_image_is_read_again_though_bad_ones_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = content(quick(noise_source(600), tmp_path / "whole"))
    interrupt(monkeypatch, Killed(), after=2)
    with pytest.raises(Killed):
        quick(noise_source(600, reader=Noise(bad=(5, 300))), tmp_path / "pack", skip_bad=True)
    monkeypatch.undo()
    assert content(quick(noise_source(600), tmp_path / "pack", skip_bad=True, resume=True)) == whole
    with pytest.raises(InputError, match=r"no image of the \w+ split can be decoded; repair the source"):
        quick(noise_source(600, reader=Noise(bad=tuple(range(599)))), tmp_path / "refused", skip_bad=True)
    assert content(quick(noise_source(600), tmp_path / "refused", skip_bad=True, resume=True)) == whole


def test_two_processes_on_one_pack_are_one_clear_error(tmp_path: Path) -> None:
    for resume in (False, True):
        with (
            hold(tmp_path / "pack.partial"),
            pytest.raises(InputError, match=r"pack\.partial is being written by another process"),
        ):
            quick(noise_source(50), tmp_path / "pack", resume=resume)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_partial_folder_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "pack.partial").mkdir()
    assert len(quick(noise_source(50), tmp_path / "pack").pixels) == 50


def test_space_that_cannot_be_reserved_is_said_with_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"images\.npy: it needs 38,528 bytes and [\d,]+ are free"):
        quick(noise_source(50), tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = noise_source(1000)
    interrupt(monkeypatch, OSError(number, os.strerror(number)), after=2)
    with pytest.raises(InputError, match=r"the disk is full; .* rerun with --resume"):
        quick(source, tmp_path / "pack")
    monkeypatch.undo()
    assert content(quick(source, tmp_path / "pack", resume=True)) == content(quick(source, tmp_path / "whole"))


def test_too_little_space_is_seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(InputError, match=r"600 images at 16 pixels need 0.5 MB more, 0.0 MB are free; free some"):
        quick(noise_source(600), tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*Not a directory"):
        quick(noise_source(50), tmp_path / "file" / "pack")


class Crash:
    """A reader whose process dies, as for lack of memory."""

    def __call__(self, index: int, size: int) -> np.ndarray:
        os._exit(9)


def test_a_process_that_dies(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a process that reads images died, .* fewer --jobs"):
        quick(replace(noise_source(600), reader=Crash()), tmp_path / "pack", jobs=2)


def test_errors_reach_through_processes(tmp_path: Path) -> None:
    root = folder_tree(tmp_path / "data", tuple(f"{index}.bmp" for index in range(300)))
    truncate(root / "7.bmp")
    with pytest.raises(InputError, match=r"7.bmp: cannot be decoded .* --skip-bad"):
        quick(folder.read(root), tmp_path / "pack", jobs=2)


def test_another_frame_stops_the_run(tmp_path: Path) -> None:
    root = celeba_tree(tmp_path / "data")
    photograph(root / "img_align_celeba" / "000002.jpg", 100, 100)
    with pytest.raises(InputError, match=r"000002.jpg: the frame must be 178x218"):
        quick(celeba.read(root), tmp_path / "pack", skip_bad=True)


def test_what_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size: must be at least 16 pixels, got 15"):
        quick(noise_source(50), tmp_path / "pack", size=15)
    with pytest.raises(InputError, match="jobs: must be at least 1, got 0"):
        quick(noise_source(50), tmp_path / "pack", jobs=0)
    with pytest.raises(InputError, match="public: the fraction"):
        quick(noise_source(50), tmp_path / "pack", public=1.5)
    with pytest.raises(InputError, match="holds no images; nothing to prepare"):
        quick(noise_source(0), tmp_path / "pack")
    (tmp_path / "pack").mkdir()
    for resume in (False, True):
        with pytest.raises(InputError, match="exists already; give another --out, or delete it first"):
            quick(noise_source(50), tmp_path / "pack", resume=resume)
    source = celeba.read(celeba_tree(tmp_path / "data"))
    assert source.partition is not None
    torn = replace(source, partition=("test", *source.partition[1:]))
    with pytest.raises(InputError, match="person '100' is in two splits"):
        quick(torn, tmp_path / "torn")


def test_progress_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(noise_source(50), tmp_path / "pack", size=16, jobs=1)
    assert "50/50" in capsys.readouterr().err


def test_synthetic(tmp_path: Path) -> None:
    synthetic = pytest.importorskip("oneway.synthetic.faces")
    source = synthetic_source(6, 2, seed=3)
    assert source.names[:3] == ("person00000/shot00", "person00000/shot01", "person00001/shot00")
    assert source.identities is not None
    assert source.identities[:3] == ("person00000", "person00000", "person00001")
    face = synthetic.sample(3, 2, 1)
    assert np.array_equal(source.labels[5], face.labels())
    pack = quick(source, tmp_path / "pack", size=32)
    parts = (pack.private, pack.public, pack.validation, pack.test)
    (images,) = (
        part.images(slice(None))[part.names.index("person00002/shot01")]
        for part in parts
        if "person00002/shot01" in part.names
    )
    assert np.array_equal(images, synthetic.draw(face, 32))
    assert pack.landmarks == tuple(synthetic.LANDMARKS)
    with pytest.raises(InputError, match="shots: must be at least 1, got 0"):
        synthetic_source(6, 0, seed=3)


def test_real_celeba_packs(tmp_path: Path) -> None:
    source = celeba.read(real_data("celeba"))
    assert source.identities is not None
    assert source.partition is not None
    # The first images of each official part; their places are those the reader counts by.
    chosen = [
        place
        for part in ("train", "validation", "test")
        for place in [i for i, found in enumerate(source.partition) if found == part][:100]
    ]
    few = replace(
        source,
        names=tuple(source.names[place] for place in chosen),
        labels=source.labels[chosen],
        identities=tuple(source.identities[place] for place in chosen),
        partition=tuple(source.partition[place] for place in chosen),
        reader=replace(source.reader, names=tuple(source.names[place] for place in chosen)),  # type: ignore[type-var]
    )
    pack = quick(few, tmp_path / "pack", size=64)
    assert pack.counts["validation"] == pack.counts["test"] == 100
    assert pack.private.labels(["Smiling"]).mean() == pytest.approx(0.5, abs=0.25)
    # Faces are much alike in the mean, noise would be grey.
    assert pack.private.images(slice(None)).mean(axis=0).std() > 15
