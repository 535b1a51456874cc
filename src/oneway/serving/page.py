"""The page: the device's half of the bundle in a browser, from this server alone."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI, Response

from oneway.errors import InputError
from oneway.serving.refusal import Refused
from oneway.shipping.contract import BROWSER, CONTRACT, DEVICE

PAGE = Path(__file__).parent / "page"
RUNTIME = "ort.wasm.min.mjs"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the page: it runs and reaches nothing that this server did not give."""
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".onnx": "application/octet-stream",
}


def add_page(app: FastAPI, bundle: Path, web: Path | None = None) -> None:
    """Serve the page at /, with what it needs of the bundle.

    Args:
        app: what answers.
        bundle: its folder.
        web: the folder with onnxruntime-web's files; the page says that they lack where it is none.

    Raises:
        InputError: if they are not there.

    """
    if web is not None and not (web / RUNTIME).is_file():
        raise InputError(
            f"--web {web} holds no {RUNTIME}; give onnxruntime-web's files: npm install onnxruntime-web, and "
            "--web node_modules/onnxruntime-web/dist"
        )
    held = {f"/page/{each.name}": each for each in PAGE.iterdir() if each.suffix in KINDS}
    held |= {f"/bundle/{name}": bundle / name for name in (CONTRACT, DEVICE, BROWSER) if (bundle / name).is_file()}
    if web is not None:
        found = (each for each in web.iterdir() if re.fullmatch(r"ort[a-z0-9.-]*\.(mjs|wasm)", each.name))
        held |= {f"/web/{each.name}": each for each in found}

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _file(PAGE / "index.html")

    @app.get("/{room}/{name}", include_in_schema=False)
    def file(room: str, name: str) -> Response:
        if (path := held.get(f"/{room}/{name}")) is None:
            raise Refused("path", "the page has no such file")
        return _file(path)


def _file(path: Path) -> Response:
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return Response(path.read_bytes(), headers=headers, media_type=KINDS[path.suffix])
