"""onnxruntime-web's files for the page, fetched once by npm and held to the version that the page was tested with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from oneway.errors import InputError
from oneway.progress import note
from oneway.storage.inputs import file_hash

BY_NPM = Path("npm")
"""Stands for the folder where npm is to fetch them."""
VERSION = "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
FILES = re.compile(r"package/dist/(ort\.wasm\.min\.mjs|ort-wasm-simd-threaded\.(?:mjs|wasm))")
BY_HAND = "npm install onnxruntime-web, and --web node_modules/onnxruntime-web/dist"


def fetched() -> Path:
    """Give the folder with onnxruntime-web's files in the user's cache, fetched by npm unless they are there.

    Raises:
        InputError: if there is no npm, it fails, or what it gives is not the package that the page was tested with.

    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "oneway" / f"onnxruntime-web-{VERSION}"
    if folder.is_dir():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"--web npm needs npm, which is not on the PATH; install Node.js, or elsewhere: {BY_HAND}")
    note(f"onnxruntime-web {VERSION}: fetched by npm, once, into {folder}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            _fetch(npm, Path(fresh))
            if not folder.is_dir():  # unless another process was faster
                os.replace(Path(fresh) / "dist", folder)
    except (OSError, subprocess.TimeoutExpired, tarfile.TarError) as error:
        raise InputError(f"--web npm: {folder} could not be made ({error}); do it yourself: {BY_HAND}") from error
    return folder


def _fetch(npm: str, place: Path) -> None:
    """Let npm put the package in `place`, and its files for the page in `dist` there."""
    done = subprocess.run(
        [npm, "pack", f"onnxruntime-web@{VERSION}", "--silent"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    packages = list(place.glob("*.tgz"))
    if done.returncode or len(packages) != 1:
        said = " ".join((done.stderr or done.stdout).split())[-300:] or "it says nothing"
        raise InputError(f"--web npm: npm pack onnxruntime-web@{VERSION} failed ({said}); do it yourself: {BY_HAND}")
    found = file_hash(packages[0])
    if found != SHA256:
        raise InputError(
            f"--web npm: npm gave another onnxruntime-web {VERSION} than the page was tested with (sha256 "
            f"{found[:12]}, not {SHA256[:12]}); nothing of it is kept: find out why before you serve it"
        )
    (place / "dist").mkdir()
    with tarfile.open(packages[0]) as package:
        for member in package:
            name, content = FILES.fullmatch(member.name), package.extractfile(member)
            if name is not None and content is not None:
                (place / "dist" / name[1]).write_bytes(content.read())
