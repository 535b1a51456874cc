"""Files of strangers: what would hang, take all memory, or lead elsewhere is refused before it is opened."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import oneway
from oneway.auditing.control import read_scores
from oneway.data.dump import read_dump
from oneway.data.readers import celeba, folder, huggingface, webdataset
from oneway.errors import InputError
from oneway.judges.cache import known_features
from oneway.judges.identification import open_verifier
from oneway.judges.verifier import Verifier
from oneway.models.encoder import EncoderConfig, backbone
from oneway.models.onnx import OnnxEncoder
from oneway.models.perceptual import open_perceptual
from oneway.storage import runs
from test_webdataset import people, shard
from trees import celeba_tree, folder_tree

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


@contextmanager
def pipe(path: Path) -> Iterator[Path]:
    """A named pipe; who waits for it is let go after a while, with nothing."""
    os.mkfifo(path)
    done = threading.Event()

    def release() -> None:
        while not done.wait(0.5):
            with suppress(OSError):  # nobody waits
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    yield path
    done.set()
    thread.join()


def celeba_list(path: Path) -> object:
    root = celeba_tree(path.parent / "tree")
    (root / "identity_CelebA.txt").unlink()
    path.rename(root / "identity_CelebA.txt")
    return celeba.read(root)


OPENERS: dict[str, tuple[str, Callable[[Path, oneway.Pack], object]]] = {
    "labels": ("l.csv", lambda path, _: folder.read(folder_tree(path.parent / "images"), path)),
    "labels in Parquet": ("l.parquet", lambda path, _: folder.read(folder_tree(path.parent / "images"), path)),
    "a list of CelebA": ("l.txt", lambda path, _: celeba_list(path)),
    "a shard": ("s.tar", lambda path, _: webdataset.read(str(path))),
    "a shard by its URL": ("s.tar", lambda path, _: webdataset.read(f"file://{path}")),
    "Parquet": ("p.parquet", lambda path, _: huggingface.read(str(path))),
    "Parquet in a folder": ("p.parquet", lambda path, _: huggingface.read(str(path.parent))),
    "features": ("f.npz", lambda path, pack: read_dump(path, pack)),
    "features in a folder": ("f.safetensors", lambda path, pack: read_dump(path.parent, pack)),
    "a verifier": ("v.onnx", lambda path, pack: open_verifier(pack, path)),
    "a verifier of ours": ("v.safetensors", lambda path, pack: open_verifier(pack, path)),
    "an encoder": ("e.onnx", lambda path, _: OnnxEncoder(path, 32, pixels="0..1")),
    "weights": ("w.safetensors", lambda path, _: backbone(EncoderConfig(weights=str(path)), 32)),
    "a perceptual network": ("w.safetensors", lambda path, _: open_perceptual(path)),
    "a configuration": ("config.json", lambda path, _: oneway.Run.open(path.parent)),
    "tensors": ("protector.safetensors", lambda path, _: runs.read_tensors(path)),
}


@pytest.mark.parametrize("kind", OPENERS)
def test_a_pipe_is_refused_before_it_is_opened(tmp_path: Path, pack: oneway.Pack, kind: str) -> None:
    name, opener = OPENERS[kind]
    (tmp_path / "place").mkdir()
    with pipe(tmp_path / "place" / name) as path:
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"a named pipe, not a file|not a file;|is not a file"):
            opener(path, pack)
        assert time.monotonic() - begun < 30


def test_a_device_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "l.csv").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"l\.csv is a device, not a file; write what it gives into a file"):
        folder.read(folder_tree(tmp_path / "images"), tmp_path / "l.csv")


def spoiled_tar(path: Path, size: int, *, kind: bytes = tarfile.REGTYPE) -> None:
    """A shard whose first member says that it has `size` bytes."""
    shard(path, people(0, 2))
    info = tarfile.TarInfo("x.jpg")
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + size.to_bytes(11, "big", signed=True) if size < 0 else struct.pack(">B3xQ", 128, size)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    content = path.read_bytes()
    path.write_bytes(bytes(header) + content)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"?"])
@pytest.mark.parametrize("size", [-512, -1024, 2**20 + 1, 2**40, 2**62])
def test_a_member_of_a_tar_is_not_believed(tmp_path: Path, size: int, kind: bytes) -> None:
    spoiled_tar(tmp_path / "a.tar", size, kind=kind)
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"a\.tar: cannot be read as an uncompressed tar file"):
        webdataset.read(str(tmp_path / "a.tar"))
    assert time.monotonic() - begun < 10


def npz(path: Path, arrays: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(descr: str, shape: tuple[int, ...], content: bytes = b"", *, by_column: bool = False) -> bytes:
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": by_column, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


@pytest.mark.parametrize(
    ("names", "features"),
    [
        (npy("<U8", (2**40,)), npy("<f4", (4, 2), b"\0" * 32)),
        (npy("<U8", (2**60, 2**60)), npy("<f4", (4, 2), b"\0" * 32)),
        (npy("<U8", (-4,)), npy("<f4", (4, 2), b"\0" * 32)),
        (npy("<U2", (1,), b"a\0\0\0\0\0\0\0"), npy("<f4", (2**42, 2), b"\0" * 32)),
        (npy("<U2", (1,), b"a\0\0\0\0\0\0\0"), npy("<f4", (2**42, 2), b"\0" * 32, by_column=True)),
        (npy("<U2", (1,), b"a\0\0\0\0\0\0\0"), npy("<f4", (1, 2**42), b"\0" * 32)),
    ],
)
def test_an_array_is_not_believed(tmp_path: Path, pack: oneway.Pack, names: bytes, features: bytes) -> None:
    path = npz(tmp_path / "a.npz", {"names": names, "features": features})
    with pytest.raises(InputError, match=r"a\.npz is truncated, damaged or no \.npz file \(an array of shape"):
        read_dump(path, pack)


def test_the_scores_of_a_control_are_not_believed(tmp_path: Path) -> None:
    for shape, by_column in (((2**42,), False), ((2**42, 2), True), ((2**60, 2**60), False)):
        path = npz(tmp_path / "scores.npz", {"people": npy("<f8", shape, b"\0" * 32, by_column=by_column)})
        with pytest.raises(InputError, match=r"scores\.npz is truncated, damaged .* takes [0-9,]+ bytes, and 32 are"):
            read_scores(path)


def test_kept_features_are_not_believed(tmp_path: Path, pack: oneway.Pack, verifier: Verifier) -> None:
    first = known_features(verifier, pack.test, tmp_path, progress=False)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(npy("<f4", (2**40, first.shape[1])))
    np.testing.assert_array_equal(known_features(verifier, pack.test, tmp_path, progress=False), first)


def test_the_images_of_a_pack_are_not_believed(tmp_path: Path, pack: oneway.Pack) -> None:
    for file in pack.path.iterdir():
        if file.is_file() and file.name != "images.npy":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "images.npy").write_bytes(npy("|u1", (2**40, 32, 32, 3)))
    with pytest.raises(InputError, match=r"images\.npy: truncated or not an array"):
        oneway.Pack.open(tmp_path)
