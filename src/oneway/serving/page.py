"""The page: the device's half of every bundle in a browser, from this server alone."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Response
from PIL import Image

from oneway.data.detector import Detector
from oneway.errors import InputError
from oneway.serving.refusal import Refused
from oneway.serving.web import BY_HAND
from oneway.shipping.contract import ATTACKER, BROWSER, CONTRACT, DEVICE, bundle_hash, read_contract
from oneway.shipping.parity import read_parity
from oneway.shipping.verify import checked_contract
from oneway.synthetic.faces import LANDMARKS, draw, sample

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
    ".png": "image/png",
}
OF_BUNDLE = (CONTRACT, DEVICE, BROWSER, ATTACKER)
"""Files of a bundle that the page may have; server.onnx is none of them."""
FACES, SIDE, WORLD = 6, 256, 2026
"""Drawn faces that the page has as examples, pixels a side of each, and the seed of their world: no pack's default."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page has beside the bundles that answer.

    Attributes:
        web: the folder with onnxruntime-web's files, `npm` to have them fetched by whoever serves; the page says that
            they lack where it is none.
        detector: an ONNX file of YuNet, which finds faces in the browser; else a person moves the picture.
        control: the folder of an unprotected encoder's bundle, with an attacker of its own, to be drawn beside.

    """

    web: Path | None = None
    detector: Path | None = None
    control: Path | None = None

    def check(self, bundles: Sequence[Path]) -> None:
        """Hold it to what the page needs.

        Raises:
            InputError: if a file lacks or is another, or bundles take other pictures than the first.

        """
        if self.web is not None and not (self.web / RUNTIME).is_file():
            raise InputError(
                f"--web {self.web} holds no {RUNTIME}; give onnxruntime-web's files: --web npm, or {BY_HAND}"
            )
        if self.detector is not None:
            Detector(self.detector)
        if self.control is not None and checked_contract(self.control).attacker is None:
            raise InputError(
                f"--control {self.control} holds no {ATTACKER}, so nothing can be drawn; make it with `oneway export "
                "RUN --attack ATTACK`"
            )
        first = read_contract(bundles[0]).picture
        for other in [*bundles[1:], *([] if self.control is None else [self.control])]:
            if read_contract(other).picture != first:
                raise InputError(
                    f"{other} takes other pictures than {bundles[0]} (size, crop or points), so one page cannot show "
                    "both; serve them apart"
                )


def add_page(app: FastAPI, bundles: Sequence[Path], shown: Shown | None = None, *, guarded: bool = False) -> None:
    """Serve the page at /, with what it needs of the bundles.

    Args:
        app: what answers.
        bundles: their folders.
        shown: what the page has beside.
        guarded: whether a token is needed to be answered.

    Raises:
        InputError: see `Shown.check`.

    """
    shown = shown or Shown()
    shown.check(bundles)
    held = {f"/page/{each.name}": each for each in PAGE.iterdir() if each.suffix in KINDS}
    for folder in [*bundles, *([] if shown.control is None else [shown.control])]:
        found = {name: folder / name for name in OF_BUNDLE if (folder / name).is_file()}
        held |= {f"/bundle/{bundle_hash(folder)}/{name}": path for name, path in found.items()}
    if shown.web is not None:
        runtime = (each for each in shown.web.iterdir() if re.fullmatch(r"ort[a-z0-9.-]*\.(mjs|wasm)", each.name))
        held |= {f"/web/{each.name}": each for each in runtime}
    if shown.detector is not None:
        held["/page/detector.onnx"] = shown.detector
    made = {f"/page/face-{place}.png": _face(place) for place in range(FACES)}
    made["/page/served.json"] = json.dumps(_served(bundles, shown) | {"guarded": guarded}).encode()

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _given((PAGE / "index.html").read_bytes(), ".html")

    @app.get("/{room}/{name}", include_in_schema=False)
    def file(room: str, name: str) -> Response:
        return give(f"/{room}/{name}")

    @app.get("/bundle/{bundle}/{name}", include_in_schema=False)
    def of_bundle(bundle: str, name: str) -> Response:
        return give(f"/bundle/{bundle}/{name}")

    def give(path: str) -> Response:
        if path in made:
            return _given(made[path], Path(path).suffix)
        if (found := held.get(path)) is None:
            raise Refused("path", "the page has no such file")
        return _given(found.read_bytes(), found.suffix)


def _served(bundles: Sequence[Path], shown: Shown) -> dict[str, object]:
    """Say what there is: bundles by their utility, of which there are several where a trade-off is served."""
    if len(bundles) > 1:
        worth = {folder: read_parity(folder).bundle for folder in bundles}
        told = [
            {"bundle": bundle_hash(each), "name": each.name, "utility": worth[each].value.value}
            | {"title": worth[each].title}
            for each in sorted(bundles, key=lambda each: worth[each].value.value)
        ]
    else:
        told = [{"bundle": bundle_hash(bundles[0]), "name": bundles[0].name}]
    return {
        "bundles": told,
        "control": None if shown.control is None else bundle_hash(shown.control),
        "detector": shown.detector is not None,
        "faces": {"count": FACES, "side": SIDE, "points": LANDMARKS},
    }


def _face(person: int) -> bytes:
    """Draw a person who does not exist, as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(draw(sample(WORLD, person, 0), SIDE)).save(file, "PNG")
    return file.getvalue()


def _given(content: bytes, kind: str) -> Response:
    headers = {
        "Content-Security-Policy": POLICY,
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, headers=headers, media_type=KINDS[kind])
