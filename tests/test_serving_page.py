"""The page of a server: what it is given, what it reaches, what leaves it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fastapi import FastAPI

import oneway
from browser import CHROMIUM, browser
from bundles import NUMBERS, write_bundle
from oneway.serving.app import make_app
from oneway.serving.decider import Decider
from oneway.serving.page import add_page
from test_serving import TOKEN, got, served

STATE = "document.getElementById('state')?.textContent"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    write_bundle(tmp_path / "b")
    (tmp_path / "web").mkdir()
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.wasm", "secret.txt", "other.mjs"):
        (tmp_path / "web" / name).write_text(name)
    app = make_app(Decider(tmp_path / "b"))
    add_page(app, tmp_path / "b", tmp_path / "web")
    return app


def test_the_page_may_reach_this_server_alone(app: FastAPI) -> None:
    page = got(app, "/")
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    allowed = {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:"}
    assert {word for part in policy.values() for word in part.split()} == allowed
    assert b"http" not in page.content


def test_only_what_the_page_needs_is_given(app: FastAPI, tmp_path: Path) -> None:
    for path in (
        "/page/page.css",
        "/page/page.mjs",
        "/bundle/contract.json",
        "/bundle/device.onnx",
        "/bundle/client.mjs",
    ):
        assert got(app, path).status == 200, path
    assert got(app, "/web/ort.wasm.min.mjs").content == b"ort.wasm.min.mjs"
    for path in ("/bundle/server.onnx", "/web/secret.txt", "/web/other.mjs", "/page/../page.py", "/web/..", "/x/y"):
        said = got(app, path)
        assert (said.status, list(said.json)) == (404, ["error"]), path


def test_a_folder_without_the_runtime_is_refused(app: FastAPI, tmp_path: Path) -> None:
    with pytest.raises(
        oneway.InputError, match=r"holds no ort.wasm.min.mjs; give onnxruntime-web's files: npm install"
    ):
        add_page(app, tmp_path / "b", tmp_path)


@pytest.mark.whole
@needs_chromium
def test_a_page_without_the_runtime_says_so(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    with served(tmp_path / "b") as (_, port), browser(tmp_path / "profile") as tab:
        tab.ask("Page.navigate", url=f"http://127.0.0.1:{port}/")
        assert "npm install onnxruntime-web" in tab.until(f"document.querySelector('#state.failed') && {STATE}")


@pytest.mark.whole
@needs_chromium
@pytest.mark.skipif("ONEWAY_TEST_WEB" not in os.environ, reason="ONEWAY_TEST_WEB names onnxruntime-web's dist")
def test_bytes_leave_the_page_and_no_picture(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    (tmp_path / "token").write_text(TOKEN)
    options = ("--web", os.environ["ONEWAY_TEST_WEB"], "--token-file", str(tmp_path / "token"))
    with served(tmp_path / "b", *options) as (_, port), browser(tmp_path / "profile") as tab:
        tab.ask("Page.navigate", url=f"http://127.0.0.1:{port}/")
        tab.until(f"{STATE}?.startsWith('ready')")
        tab.value(f"document.getElementById('token').value = '{TOKEN}'; document.getElementById('ask').click()")
        told = tab.until("document.getElementById('answers').innerText")
        assert "smiling" in told
        assert "hair: blond" in told
        assert "age: " in told
        assert all(each["url"].startswith(f"http://127.0.0.1:{port}/") for each in tab.requests)
        (posted,) = [each for each in tab.requests if each["method"] != "GET"]
        assert posted["url"].endswith("/decide")
        assert (
            sum(len(each["bytes"]) * 3 // 4 - each["bytes"].count("=") for each in posted["postDataEntries"]) == NUMBERS
        )
