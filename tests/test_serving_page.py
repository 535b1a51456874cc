"""The page of a server: what it is given, what it reaches, what leaves it."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

import oneway
from browser import CHROMIUM, Browser, browser
from bundles import NUMBERS, write_bundle
from oneway.serving.app import make_app
from oneway.serving.decider import Decider
from oneway.serving.page import FACES, Shown, add_page
from oneway.shipping.contract import BROWSER, bundle_hash
from test_serving import TOKEN, got, served

STATE = "document.getElementById('state')?.textContent"
ANSWERS = "document.getElementById('answers').innerText"
WEB = os.environ.get("ONEWAY_TEST_WEB")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
needs_web = pytest.mark.skipif(
    CHROMIUM is None or WEB is None, reason="needs Chromium, and ONEWAY_TEST_WEB, which names onnxruntime-web's dist"
)


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    write_bundle(tmp_path / "b", attacker=True)
    (tmp_path / "web").mkdir()
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.wasm", "secret.txt", "other.mjs"):
        (tmp_path / "web" / name).write_text(name)
    app = make_app([Decider(tmp_path / "b")])
    add_page(app, [tmp_path / "b"], Shown(web=tmp_path / "web"))
    return app


def test_the_page_may_reach_this_server_alone(app: FastAPI) -> None:
    page = got(app, "/")
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    allowed = {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:"}
    assert {word for part in policy.values() for word in part.split()} == allowed
    assert page.headers["permissions-policy"] == "camera=(self), microphone=(), geolocation=()"
    assert b"http" not in page.content


def test_only_what_the_page_needs_is_given(app: FastAPI, tmp_path: Path) -> None:
    held = f"/bundle/{bundle_hash(tmp_path / 'b')}"
    given = ["/page/page.css", "/page/page.mjs", "/page/detector.mjs", "/page/served.json"]
    for path in [
        *given,
        *(f"{held}/{name}" for name in ("contract.json", "device.onnx", "client.mjs", "attacker.onnx")),
    ]:
        assert got(app, path).status == 200, path
    assert got(app, "/web/ort.wasm.min.mjs").content == b"ort.wasm.min.mjs"
    withheld = [f"{held}/server.onnx", f"{held}/reference.json", "/bundle/x/device.onnx", "/page/detector.onnx"]
    for path in [*withheld, "/web/secret.txt", "/web/other.mjs", "/page/../page.py", "/web/..", "/x/y"]:
        said = got(app, path)
        assert (said.status, list(said.json)) == (404, ["error"]), path


def test_faces_are_drawn_ones(app: FastAPI) -> None:
    drawn = [got(app, f"/page/face-{place}.png").content for place in range(FACES)]
    assert len(set(drawn)) == FACES
    assert {Image.open(io.BytesIO(each)).size for each in drawn} == {(256, 256)}
    assert got(app, f"/page/face-{FACES}.png").status == 404


def test_bundles_of_a_tradeoff_stand_in_the_order_of_their_utility(tmp_path: Path) -> None:
    worth = {"a": 0.5, "b": 0.2, "c": 0.4}
    for place, (name, utility) in enumerate(worth.items()):
        write_bundle(tmp_path / name, utility=utility, numbers=NUMBERS + place)
    folders = [tmp_path / name for name in worth]
    app = make_app([Decider(each) for each in folders])
    add_page(app, folders, guarded=True)
    told = got(app, "/page/served.json").json
    assert [(each["name"], each["utility"], each["title"]) for each in told["bundles"]] == [
        ("b", 0.2, "mean MCC"),
        ("c", 0.4, "mean MCC"),
        ("a", 0.5, "mean MCC"),
    ]
    assert (told["control"], told["detector"], told["guarded"]) == (None, False, True)


def test_what_the_page_cannot_use_is_refused(app: FastAPI, tmp_path: Path) -> None:
    write_bundle(tmp_path / "plain", numbers=20)
    write_bundle(tmp_path / "other", attacker=True, size=6)
    (tmp_path / "text.onnx").write_text("no network")
    refused = {
        r"holds no ort.wasm.min.mjs; give onnxruntime-web's files: --web npm, or npm install": Shown(web=tmp_path),
        r"plain holds no attacker\.onnx, so nothing can be drawn": Shown(control=tmp_path / "plain"),
        r"other takes other pictures than .*b \(size, crop or points\)": Shown(control=tmp_path / "other"),
        r"text\.onnx' is not a readable ONNX file": Shown(detector=tmp_path / "text.onnx"),
        r"nothing' is not a file; give an ONNX file of YuNet": Shown(detector=tmp_path / "nothing"),
    }
    for sentence, shown in refused.items():
        with pytest.raises(oneway.InputError, match=sentence):
            add_page(app, [tmp_path / "b"], shown)


@pytest.mark.whole
@needs_chromium
def test_a_page_without_the_runtime_says_so(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    with served(tmp_path / "b") as (_, port), browser(tmp_path / "profile") as tab:
        tab.ask("Page.navigate", url=f"http://127.0.0.1:{port}/")
        assert "npm install onnxruntime-web" in tab.until(f"document.querySelector('#state.failed') && {STATE}")


@pytest.mark.whole
@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_javascript_client_is_answered(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", bits=4)
    code = (
        "const { open } = await import(process.argv[1]); const vector = { data: new Float32Array(16).fill(1) };"
        "const session = { run: async () => ({ vector }) };"
        "const ort = { Tensor: class {}, InferenceSession: { create: async () => session } };"
        "const client = await open(ort, `${process.argv[2]}/bundle/${process.argv[3]}/`);"
        "const bytes = await client.encode(new Uint8Array(4 * 8 * 8));"
        "console.log(JSON.stringify([bytes.length, await client.ask(process.argv[2], bytes)]));"
    )
    with served(tmp_path / "b") as (_, port):
        arguments = [str(tmp_path / "b" / BROWSER), f"http://127.0.0.1:{port}", bundle_hash(tmp_path / "b")]
        node = ["node", "--input-type=module", "-e", code, *arguments]
        said = subprocess.run(node, capture_output=True, text=True, check=False, timeout=120)
    assert said.returncode == 0, said.stderr
    length, told = json.loads(said.stdout)
    assert length == NUMBERS // 2
    assert set(told["answers"][0]) == {"smiling", "hair", "age"}


@contextmanager
def opened(folder: Path, *arguments: str, flags: tuple[str, ...] = ()) -> Iterator[tuple[Browser, str]]:
    """Serve what is given, and open the page."""
    assert WEB is not None
    with served(*arguments, "--web", WEB) as (_, port), browser(folder / "profile", *flags) as tab:
        tab.ask("Page.navigate", url=f"http://127.0.0.1:{port}/")
        yield tab, f"http://127.0.0.1:{port}"


def posted(tab: Browser, address: str) -> list[bytes]:
    """Give the bodies of all that the tab sent, and hold every request to the server."""
    assert all(each["url"].startswith((f"{address}/", f"blob:{address}/")) for each in tab.requests)
    sent = [each for each in tab.requests if each["method"] != "GET"]
    assert {each["url"] for each in sent} <= {f"{address}/decide"}
    return [b"".join(base64.b64decode(part["bytes"]) for part in each["postDataEntries"]) for each in sent]


def failures(tab: Browser) -> list[object]:
    """Give what the browser reported as an error: a script that failed, or what the policy refused."""
    return [each for each in tab.said if each.get("entry", {}).get("level", "error") == "error"]


def given(tab: Browser, file: Path) -> None:
    """Choose a photograph, as a person does."""
    document = tab.ask("DOM.getDocument")["root"]["nodeId"]
    node = tab.ask("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
    tab.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])


@pytest.mark.whole
@needs_web
def test_bytes_leave_the_page_and_no_picture(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", attacker=True)
    write_bundle(tmp_path / "u", attacker=True, numbers=40)
    (tmp_path / "token").write_text(TOKEN)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photograph.png")
    options = (str(tmp_path / "b"), "--control", str(tmp_path / "u"), "--token-file", str(tmp_path / "token"))
    with opened(tmp_path, *options) as (tab, address):
        tab.until(f"{STATE}?.startsWith('ready')")
        assert tab.value("document.getElementById('stolen').width") == 8
        assert tab.value("document.getElementById('unprotected').width") == 8
        assert "unprotected encoder's 40 bytes" in tab.value("document.getElementById('much').textContent")
        assert "mirror, which learned from 40 pictures" in tab.value("document.getElementById('who').textContent")
        assert posted(tab, address) == [], "nobody is asked before there is a token"
        tab.value(f"document.getElementById('token').value = '{TOKEN}'; document.getElementById('ask').click()")
        told = tab.until(ANSWERS)
        assert "smiling" in told
        assert "hair: blond" in told
        assert "age: " in told
        assert len(posted(tab, address)) == 1
        given(tab, tmp_path / "photograph.png")
        tab.until(f"{ANSWERS} === '' && !document.getElementById('ask').disabled")
        assert len(posted(tab, address)) == 1, "of a photograph nothing is sent unasked"
        tab.value("document.getElementById('ask').click()")
        tab.until(ANSWERS)
        first, second = posted(tab, address)
        assert (len(first), len(second)) == (NUMBERS, NUMBERS)
        assert failures(tab) == []
