"""onnxruntime-web for the page: fetched once by npm, and by nobody else; what is another file is not kept."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

import oneway
from bundles import write_bundle
from oneway import cli
from oneway.serving import web
from oneway.serving.web import fetched

HELD = {"ort.wasm.min.mjs": b"run", "ort-wasm-simd-threaded.mjs": b"load", "ort-wasm-simd-threaded.wasm": b"\0asm"}
OTHERS = {"package/dist/ort.webgpu.min.mjs": b"more", "package/dist/../../ort.wasm.min.mjs": b"evil", "package/x": b""}


def package() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as opened:
        dist = {f"package/dist/{name}": content for name, content in HELD.items()}
        for name, content in (dist | OTHERS).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, which packs what is beside it, and notes that it was asked."""
    content = package()
    (tmp_path / "bin").mkdir()
    (tmp_path / "given.tgz").write_bytes(content)
    program = tmp_path / "bin" / "npm"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncp {tmp_path}/given.tgz onnxruntime-web.tgz\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(web, "SHA256", hashlib.sha256(content).hexdigest())
    return program


def test_it_is_fetched_once(npm: Path, tmp_path: Path) -> None:
    folder = fetched()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == HELD
    assert fetched() == folder
    assert (tmp_path / "asked").read_text() == f"pack onnxruntime-web@{web.VERSION} --silent\n"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing else is left"
    assert not (tmp_path / "cache" / "ort.wasm.min.mjs").exists()


def test_another_file_is_refused(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SHA256", "0" * 64)
    with pytest.raises(
        oneway.InputError, match=r"npm gave another onnxruntime-web .* not 000000000000\); nothing of it"
    ):
        fetched()
    assert list((tmp_path / "cache" / "oneway").iterdir()) == []


def test_what_fails_is_said(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    with pytest.raises(oneway.InputError, match=r"failed \(no network\); do it yourself: npm install onnxruntime-web"):
        fetched()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(oneway.InputError, match="could not be made"):
        fetched()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(oneway.InputError, match="needs npm, which is not on the PATH"):
        fetched()


def test_the_command_fetches_it_for_a_bundle_that_is_one(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", str(tmp_path / "none"), "--web", "npm"])
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "asked").exists()
    write_bundle(tmp_path / "b")
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    cli.main(["serve", str(tmp_path / "b"), "--web", "npm", "--port", "0"])
    assert (tmp_path / "asked").exists()
