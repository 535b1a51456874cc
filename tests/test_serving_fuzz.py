"""Requests that nobody would send: whatever they are, they are their sender's fault, and the server goes on."""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import write_bundle
from oneway.serving.app import make_app
from oneway.serving.config import ServeConfig
from oneway.serving.decider import Decider
from oneway.serving.page import add_page
from test_serving import FLOATS, GOOD, asked, headers_of, messages, photograph, served

KNOWN = (200, 307, 400, 404, 405, 408, 409, 412, 413, 415, 422)
"""Statuses that a request may have; the page's files, and what is redirected to a path without its last slash."""
PICTURES = [photograph(kind, 8) for kind in ("JPEG", "PNG", "GIF")]
ODD = (b"", b"\xff\xfe", b"-1", b"1e9", b"9" * 4000, "é".encode(), b"null", b"NaN", b"\x00", b" 1 ", b"1_0", b"f" * 64)
values = st.sampled_from(ODD) | st.binary(max_size=90)
bodies = st.one_of(
    st.just(GOOD),
    st.just(FLOATS),
    st.binary(max_size=200),
    st.integers(0, 400).map(lambda times: GOOD * times),
    st.integers(0, 9).map(lambda seed: messages(1 + seed % 5, seed).tobytes()),
    st.tuples(st.sampled_from(PICTURES), st.integers(1, 400)).map(lambda cut: cut[0][: cut[1]]),
    st.recursive(st.none() | st.floats(allow_subnormal=False) | st.text(max_size=9), st.lists, max_leaves=9).map(
        lambda content: json.dumps(content).encode()
    ),
)
methods = st.sampled_from(("POST",) * 5 + ("GET", "PUT", "HEAD", "OPTIONS", "DELETE", "\xe9")) | st.text(max_size=8)
paths = st.sampled_from(
    ("/decide",) * 6 + ("/contract", "/metrics", "/", "//", "/decide/", "/page/..", "/bundle/x/y")
) | st.text(max_size=20).map("/{}".format)
edits = st.lists(st.tuples(st.sampled_from(("drop", "twice", "change", "add")), st.integers(0, 5), values), max_size=3)


@st.composite
def requests(draw: Any, decider: Decider) -> tuple[str, str, list[tuple[bytes, bytes]], bytes]:
    """A request that is right, but for what was drawn otherwise."""
    bundle = draw(st.sampled_from((decider.bundle,) * 7 + ("f" * 64,)))
    headers = headers_of(decider, oneway_batch=str(draw(st.integers(1, 5))), oneway_bundle=bundle)
    for edit, place, value in draw(edits):
        name = headers[place % len(headers)][0] if headers else b"oneway-bundle"
        if edit == "add":
            headers.append((draw(st.sampled_from((b"content-length", b"authorization", b"expect", b"x\xff"))), value))
        elif edit == "twice":
            headers.append((name, value))
        elif headers:
            headers = [each for at, each in enumerate(headers) if at != place % len(headers)]
            headers += [(name, value)] if edit == "change" else []
    return draw(methods), draw(paths), headers, draw(bodies)


@pytest.fixture(scope="module")
def decider(tmp_path_factory: pytest.TempPathFactory) -> Decider:
    folder = tmp_path_factory.mktemp("fuzz") / "bundle"
    write_bundle(folder)
    return Decider(folder)


def survives(app: FastAPI, decider: Decider, examples: int) -> set[int]:
    """Hold the server to its word for so many requests, and give the statuses that it gave."""
    found: set[int] = set()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(decider))
    def hold(request: tuple[str, str, list[tuple[bytes, bytes]], bytes]) -> None:
        said = asyncio.run(asked(app, *request))
        found.add(said.status)
        assert said.status in KNOWN
        if said.status >= 400 and request[0] != "HEAD":
            assert list(said.json) == ["error"]
            assert said.headers["cache-control"] == "no-store"

    hold()
    return found


@pytest.fixture
def app(decider: Decider, tmp_path: Path) -> FastAPI:
    write_bundle(tmp_path / "b")
    app = make_app([decider], ServeConfig(batch=4, remembered=64))
    add_page(app, [tmp_path / "b"])
    return app


def test_malformed_requests_are_the_clients_fault(app: FastAPI, decider: Decider) -> None:
    assert survives(app, decider, 400) >= {200, 400, 404, 405, 412, 413, 415, 422}


@pytest.mark.slow
def test_so_are_ten_thousand(app: FastAPI, decider: Decider) -> None:
    assert survives(app, decider, 10_000) >= {200, 400, 404, 405, 412, 413, 415, 422}


@pytest.mark.whole
def test_nonsense_on_a_socket_ends_no_server(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    drawn = np.random.default_rng(0)
    line = b"POST /decide HTTP/1.1\r\nHost: s\r\n"
    nonsense = [
        *(drawn.bytes(int(drawn.integers(1, 3000))) for _ in range(40)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + drawn.bytes(200),  # the beginning of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G" * 100_000,
        line + b"A" * 100_000 + b": b\r\n\r\n",
        line + b"Content-Length: -1\r\n\r\n",
        line + b"Content-Length: 99999999999999999999\r\n\r\nx",
        line + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        line + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n",
        line + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        line + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        line + b"Content-Length: 16\r\n\r\nshort",  # and then the sender leaves
        line + b"\x00: \x00\r\n\r\n",
        b"\r\n" * 1000,
    ]
    with served(tmp_path / "b", "--set", "seconds=1") as (process, port):
        for each in nonsense:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                try:
                    connection.sendall(each)
                    connection.shutdown(socket.SHUT_WR)
                    said = connection.recv(100)
                except OSError:  # it has hung up
                    said = b""
            assert said == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2")), (each[:80], said)
        told = {name.decode(): value.decode() for name, value in headers_of(Decider(tmp_path / "b"))}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/decide", GOOD, told | {"oneway-request": secrets.token_hex(16)})
        answer = connection.getresponse()
        assert (answer.status, len(json.loads(answer.read())["answers"])) == (200, 1)
        assert process.poll() is None
