"""Faces in the browser: found, aligned and cut there as `oneway prepare` and the bundle's client do."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from browser import Browser
from bundles import NUMBERS, write_bundle
from oneway.data.detector import Detector, Face
from oneway.data.readers.celeba import LANDMARKS
from oneway.data.readers.faces import aligned
from oneway.data.similarity import similarity_transform
from oneway.serving.page import PAGE
from test_faces import DATA, photograph, write_detector
from test_serving_page import ANSWERS, STATE, failures, needs_web, opened, posted

pytestmark = pytest.mark.whole
YUNET = DATA / "weights" / "yunet.onnx"
PIXELS = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
POINTS = np.array([[38, 30], [62, 26], [52, 42], [44, 56], [64, 52]], dtype=float)


def picture(pixels: NDArray[np.uint8]) -> str:
    """A picture as the page's modules take it, in JavaScript."""
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    data = base64.b64encode(np.concatenate([pixels, alpha], axis=2).tobytes()).decode()
    size = f"width: {pixels.shape[1]}, height: {pixels.shape[0]}"
    return f"{{{size}, data: Uint8ClampedArray.from(atob('{data}'), (each) => each.charCodeAt(0))}}"


def node(code: str) -> Any:
    """Run JavaScript with the page's pixels.mjs, and give what it says."""
    code = f"const pixels = await import({json.dumps(str(PAGE / 'pixels.mjs'))}); {code}"
    done = subprocess.run(
        ["node", "--input-type=module"], input=code, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def colours(said: Any) -> NDArray[np.int64]:
    """The colours of a picture that JavaScript gave."""
    return np.array(said["data"]).reshape(said["height"], said["width"], 4)[..., :3]


def given(found: str) -> str:
    return f"const found = {found}; console.log(JSON.stringify({{...found, data: Array.from(found.data)}}));"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize("size", [(32, 32), (70, 100), (9, 7), (120, 150)])
def test_pictures_are_scaled_as_pillow_does(size: tuple[int, int]) -> None:
    found = colours(node(given(f"pixels.scaled({picture(PIXELS)}, {size[1]}, {size[0]})")))
    expected = np.asarray(Image.fromarray(PIXELS).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_face_is_cut_out_as_packs_have_it() -> None:
    goal = json.dumps(np.array(LANDMARKS).tolist())
    for points in (POINTS, 3 * POINTS - 40, 0.5 * POINTS):
        placed = f"pixels.fitted({goal}, {json.dumps(points.tolist())})"
        turn = similarity_transform(LANDMARKS, points)
        said = node(f"console.log(JSON.stringify({placed}))")
        np.testing.assert_allclose([*said["turn"], *said["shift"]], [*turn[:, 0], *turn[:, 2]], atol=1e-9)
        found = colours(node(given(f"pixels.cut({picture(PIXELS)}, {placed}, 32)")))
        expected = np.asarray(aligned(Image.fromarray(PIXELS), points, 32)).astype(int)
        assert np.abs(found - expected).max() <= 2
    found = colours(node(f"const it = {picture(PIXELS)}; {given('pixels.cut(it, pixels.middle(it), 32)')}"))
    expected = np.asarray(Image.fromarray(PIXELS[:, 15:85]).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(found - expected).max() <= 2, "and without points as the largest square in the middle"


def faces(tab: Browser, pixels: NDArray[np.uint8]) -> list[Any]:
    """The faces that the page's detector finds."""
    code = (
        "(async () => { const ort = await import('/web/ort.wasm.min.mjs'); const { open } = await "
        f"import('/page/detector.mjs'); return (await open(ort, '/page/detector.onnx'))({picture(pixels)}); }})()"
    )
    return list(tab.value(code))


def same(found: list[Any], expected: list[Face], share: float) -> None:
    """Hold faces to those that Python finds, in order; points to a share of the distance of the eyes."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        apart = float(np.linalg.norm(theirs.points[1] - theirs.points[0]))
        assert ours["score"] == pytest.approx(theirs.score, abs=0.05)
        np.testing.assert_allclose(ours["points"], theirs.points, atol=share * apart)
        np.testing.assert_allclose(ours["box"], theirs.box, atol=2 * share * apart)


@needs_web
def test_faces_are_found_where_python_finds_them(tmp_path: Path) -> None:
    write_detector(tmp_path / "yunet.onnx")
    write_bundle(tmp_path / "b")
    detector = Detector(tmp_path / "yunet.onnx")
    small = photograph((24, 40, 0), (120, 80, 255))
    large = photograph((200, 120, 0), size=(640, 512)).resize((1600, 1280), Image.Resampling.NEAREST)
    with opened(tmp_path, str(tmp_path / "b"), "--detector", str(tmp_path / "yunet.onnx")) as (tab, _):
        tab.until(f"{STATE}?.startsWith('ready')")
        for each, share in ((small, 1e-3), (large, 0.1), (Image.new("RGB", (50, 40)), 0)):
            same(faces(tab, np.asarray(each)), detector(each), share)


@needs_web
@pytest.mark.skipif(not YUNET.exists(), reason="needs YuNet, in ONEWAY_TEST_DATA")
def test_yunet_finds_a_drawn_face_where_python_does(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    with opened(tmp_path, str(tmp_path / "b"), "--detector", str(YUNET)) as (tab, address):
        tab.until(f"{STATE}?.startsWith('ready')")
        drawn = "fetch('/page/face-0.png').then((it) => it.arrayBuffer()).then((it) => Array.from(new Uint8Array(it)))"
        small = Image.open(io.BytesIO(bytes(tab.value(drawn)))).convert("RGB")
        large = small.resize((1000, 1000), Image.Resampling.BICUBIC).rotate(20, fillcolor=(90, 90, 90))
        for each in (small, large):
            expected = Detector(YUNET)(each)
            assert len(expected) == 1
            same(faces(tab, np.asarray(each)), expected, 0.03)
        assert len(posted(tab, address)) == 1


@needs_web
def test_the_camera_takes_one_picture_and_is_off_again(tmp_path: Path) -> None:
    write_detector(tmp_path / "yunet.onnx")
    write_bundle(tmp_path / "b", points=True)
    seen = photograph((304, 200, 0), size=(640, 480))
    seen.save(tmp_path / "seen.jpg", quality=95, subsampling=0)
    (tmp_path / "seen.mjpeg").write_bytes((tmp_path / "seen.jpg").read_bytes() * 2)
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    flags += (f"--use-file-for-fake-video-capture={tmp_path / 'seen.mjpeg'}",)
    options = (str(tmp_path / "b"), "--detector", str(tmp_path / "yunet.onnx"))
    live = "document.getElementById('live')"
    with opened(tmp_path, *options, flags=flags) as (tab, address):
        tab.until(f"{STATE}?.startsWith('ready') && {ANSWERS}")
        assert len(posted(tab, address)) == 1, "of a face that is drawn"
        tab.value("document.getElementById('camera').click()")
        tab.until(f"document.getElementById('camera').textContent === 'take the picture' && {live}.videoWidth === 640")
        tab.value(f"window.stream = {live}.srcObject; document.getElementById('camera').click()")
        assert tab.until(f"{ANSWERS} === '' && {STATE}.includes('face') && {STATE}") == "a face was found"
        assert tab.value("window.stream.getTracks().map((each) => each.readyState)") == ["ended"]
        assert tab.value(f"{live}.hidden && {live}.srcObject === null")
        assert len(posted(tab, address)) == 1, "nothing is sent unasked"
        tab.value("document.getElementById('ask').click()")
        tab.until(ANSWERS)
        assert [len(each) for each in posted(tab, address)] == [NUMBERS, NUMBERS]
        assert failures(tab) == []
