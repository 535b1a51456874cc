"""The reference server: what it answers, what it refuses and how, what it keeps, how it ends."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

import oneway
from bundles import NUMBERS, weights, write_bundle
from oneway import cli
from oneway.serving import refusal
from oneway.serving.app import make_app
from oneway.serving.config import ServeConfig
from oneway.serving.decider import Decider
from oneway.serving.gathering import Gathering
from oneway.serving.refusal import REASONS, Remembered, is_picture
from oneway.serving.server import read_token
from oneway.shipping.contract import CLIENT, SERVER

TOKEN = "t0" * 16
Body = bytes | AsyncIterator[bytes]


@dataclass(frozen=True)
class Said:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


async def asked(app: FastAPI, method: str, path: str, headers: list[tuple[bytes, bytes]], body: Body) -> Said:
    """Ask an application as a server does, without a socket: whatever bytes its client sent."""
    sent: list[Any] = []
    parts = body if not isinstance(body, bytes) else _parts(body)

    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": await anext(parts), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "server": ("s", 80), "client": ("c", 1)}
    await app(scope | {"root_path": "", "asgi": {"version": "3.0"}}, receive, send)
    told = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Said(sent[0]["status"], told, b"".join(each.get("body", b"") for each in sent[1:]))


async def _parts(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 4096):
        yield body[start : start + 4096]


@pytest.fixture(scope="module")
def decider(tmp_path_factory: pytest.TempPathFactory) -> Decider:
    folder = tmp_path_factory.mktemp("serving") / "bundle"
    write_bundle(folder)
    return Decider(folder)


@pytest.fixture
def app(decider: Decider) -> FastAPI:
    return make_app([decider], ServeConfig(batch=4, seconds=0.3))


def headers_of(decider: Decider, **changes: str | None) -> list[tuple[bytes, bytes]]:
    """What a client sends, but for what is changed; a header of None is left out."""
    told = {"content-type": "application/octet-stream", "oneway-bundle": decider.bundle}
    told |= {"oneway-request": secrets.token_hex(16)}
    told |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [(name.encode(), value.encode("latin-1")) for name, value in told.items() if value is not None]


def decided(app: FastAPI, decider: Decider, body: Body, **changes: str | None) -> Said:
    return asyncio.run(asked(app, "POST", "/decide", headers_of(decider, **changes), body))


def got(app: FastAPI, path: str, *headers: tuple[bytes, bytes]) -> Said:
    return asyncio.run(asked(app, "GET", path, list(headers), b""))


def messages(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, (rows, NUMBERS)).astype(np.int8)


def test_answers_are_those_of_the_network(app: FastAPI, decider: Decider) -> None:
    levels = messages(3)
    said = decided(app, decider, levels.tobytes(), oneway_batch="3")
    assert (said.status, said.headers["cache-control"]) == (200, "no-store")
    logits = levels.astype(np.float64) * decider.contract.quantisation.step @ weights().astype(np.float64)
    for told, row in zip(said.json["answers"], logits, strict=True):
        chance = 1 / (1 + np.exp(-row[0]))
        assert told["smiling"] == {"decision": bool(row[0] > 0), "probability": pytest.approx(chance, abs=1e-5)}
        assert told["hair"]["decision"] == ("black", "blond")[int(row[2] > row[1])]
        odds = told["hair"]["probabilities"]
        assert odds["blond"] == pytest.approx(1 / (1 + np.exp(row[1] - row[2])), abs=1e-5)
        assert sum(odds.values()) == pytest.approx(1, abs=1e-6)
        assert told["age"]["decision"] == pytest.approx(row[3], abs=1e-4)


def test_four_bits_are_two_numbers_a_byte(tmp_path: Path) -> None:
    agreed = write_bundle(tmp_path / "b", bits=4)
    decider = Decider(tmp_path / "b")
    levels = (messages(2) % 7).astype(np.int8)
    body = agreed.quantisation.pack(levels).tobytes()
    assert len(body) == NUMBERS
    said = decided(make_app([decider]), decider, body, oneway_batch="2")
    numbers = levels.astype(np.float64) * agreed.quantisation.step @ weights().astype(np.float64)
    ages = [each["age"]["decision"] for each in said.json["answers"]]
    np.testing.assert_allclose(ages, numbers[:, 3], atol=1e-4)


def photograph(kind: str, size: int = 40) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


GOOD = messages(1).tobytes()
FLOATS = np.full(NUMBERS, np.nan, "<f4").tobytes()
REFUSED: dict[str, tuple[bytes, dict[str, str | None], int, str]] = {
    "nothing": (b"", {}, 422, "a message is 16 bytes, 16 numbers of 8 bits, and 1 should come; the body is 0 bytes"),
    "too short": (GOOD[:-1], {}, 422, "the body is 15 bytes; encode as the bundle's client.py does"),
    "too long": (GOOD + b"\0", {}, 422, "the body is 17 bytes"),
    "a batch that is not announced": (GOOD * 2, {}, 422, "the body is 32 bytes.*say Oneway-Batch: 2"),
    "floats": (FLOATS, {}, 422, "as many numbers of 32 bits would be so long: round them to the levels"),
    "fewer than announced": (GOOD, {"oneway_batch": "2"}, 422, "and 2 should come; the body is 16 bytes"),
    "a level of nobody": (b"\x80" + GOOD[1:], {}, 422, r"levels out of -127\.\.127"),
    "NaN among floats": (FLOATS, {"oneway_batch": "4", "oneway_bundle": "0" * 64}, 412, "is of bundle 000000000000"),
    "another bundle": (GOOD, {"oneway_bundle": "f" * 64}, 412, "is of bundle ffffffffffff, and this server.*/contract"),
    "no bundle": (GOOD, {"oneway_bundle": None}, 400, "Oneway-Bundle is missing or wrong; it is the sha256"),
    "no hash": (GOOD, {"oneway_bundle": "latest"}, 400, "Oneway-Bundle is missing or wrong"),
    "no id": (GOOD, {"oneway_request": None}, 400, "Oneway-Request is missing or wrong; it is 16 to 64 letters"),
    "a short id": (GOOD, {"oneway_request": "1"}, 400, "Oneway-Request is missing or wrong"),
    "an endless id": (GOOD, {"oneway_request": "1" * 65}, 400, "Oneway-Request is missing or wrong"),
    "a batch of none": (GOOD, {"oneway_batch": "0"}, 400, "Oneway-Batch is missing or wrong"),
    "a batch of words": (GOOD, {"oneway_batch": "many"}, 400, "Oneway-Batch is missing or wrong"),
    "a large batch": (GOOD * 5, {"oneway_batch": "5"}, 413, "Oneway-Batch is 5, and 4 messages are taken at once"),
    "a long body": (GOOD * 5, {"oneway_batch": "4"}, 413, "a body may have 64 bytes here, and this one has more"),
    "JSON": (b"{}", {"content_type": "application/json"}, 415, "Content-Type: application/octet-stream"),
    "a form": (GOOD, {"content_type": "multipart/form-data; boundary=x"}, 415, "Content-Type: application/octet"),
    "no type": (GOOD, {"content_type": None}, 415, "Content-Type: application/octet-stream"),
    "a picture by its type": (GOOD, {"content_type": "image/heic"}, 415, "this is a picture, and no picture may be"),
    "a picture and nothing else": (b"", {"content_type": "image/png", "oneway_bundle": None}, 415, "this is a picture"),
    "a JPEG": (photograph("JPEG"), {}, 415, "this is a picture, and no picture may be sent: it was not kept"),
    "a PNG": (photograph("PNG"), {}, 415, "this is a picture"),
    "a WebP": (photograph("WEBP"), {}, 415, "this is a picture"),
    "a GIF": (photograph("GIF"), {}, 415, "this is a picture"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_message_is_refused_in_a_sentence(app: FastAPI, decider: Decider, kind: str) -> None:
    body, changes, status, sentence = REFUSED[kind]
    said = decided(app, decider, body, **changes)
    assert said.status == status, said
    assert list(said.json) == ["error"]
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(said.json["error"])
    assert decided(app, decider, GOOD).status == 200, "and the next one is answered"


def test_an_answer_is_given_once(app: FastAPI, decider: Decider) -> None:
    name = secrets.token_hex(16)
    assert decided(app, decider, GOOD[:-1], oneway_request=name).status == 422
    assert decided(app, decider, GOOD, oneway_request=name).status == 200, "a refused one can be mended"
    for body in (GOOD, messages(1, 1).tobytes()):
        said = decided(app, decider, body, oneway_request=name)
        assert said.status == 409
        assert "was answered before" in said.json["error"]


def test_the_memory_of_ids_is_bounded() -> None:
    known = Remembered(3)
    for name in "abcd":
        known.take(name)
    assert len(known) == 3
    known.take("a")  # the oldest was forgotten
    for name in "cda":
        with pytest.raises(refusal.Refused):
            known.take(name)
    assert len(known) == 3


def test_other_paths_and_methods_are_refused(app: FastAPI, decider: Decider) -> None:
    for path in ("/", "/docs", "/../etc/passwd", "/decide/x"):
        said = got(app, path)
        assert (said.status, list(said.json)) == (404, ["error"])
    said = got(app, "/decide")
    assert (said.status, list(said.json)) == (405, ["error"])


def test_contract_health_and_figures(app: FastAPI, decider: Decider) -> None:
    agreed = got(app, "/contract")
    assert hashlib.sha256(agreed.content).hexdigest() == decider.bundle
    assert got(app, "/healthz").json == {"status": "ok", "bundles": [decider.bundle]}
    decided(app, decider, GOOD * 2, oneway_batch="2")
    decided(app, decider, photograph("PNG"))
    figures = dict(line.rsplit(" ", 1) for line in got(app, "/metrics").content.decode().splitlines() if line[0] != "#")
    assert figures["oneway_messages_total"] == "2.0"
    assert figures['oneway_requests_total{outcome="answered"}'] == "1.0"
    assert figures['oneway_requests_total{outcome="picture"}'] == "1.0"
    assert figures["oneway_decide_seconds_count"] == "1.0"
    assert figures["oneway_requests_in_progress"] == "0.0"
    assert any(decider.bundle in name for name in figures)
    assert "process_resident_memory_bytes" in figures


def test_the_interface_is_described(app: FastAPI) -> None:
    described = got(app, "/openapi.json").json
    told = described["paths"]["/decide"]["post"]
    assert set(told["requestBody"]["content"]) == {"application/octet-stream"}
    assert {each["name"] for each in told["parameters"]} == {"Oneway-Bundle", "Oneway-Request", "Oneway-Batch"}
    assert {int(status) for status in told["responses"]} == {200} | set(REASONS.values()) - {404}


def test_a_token_is_needed_and_compared_in_constant_time(decider: Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app([decider], token=TOKEN.encode())
    compared: list[tuple[bytes, bytes]] = []
    real = refusal.hmac.compare_digest

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return real(first, second)

    monkeypatch.setattr(refusal.hmac, "compare_digest", compare)
    wrong = [None, "Bearer", "Bearer ", "Basic dDA=", "Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "\xff"]
    for told in wrong:
        said = decided(app, decider, b"", authorization=told)
        assert said.status == 401, told
        assert said.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in said.json["error"]
    assert decided(app, decider, GOOD, authorization=f"Bearer {TOKEN}").status == 200
    assert len(compared) == len(wrong) + 1, "every token is compared so, and nothing else decides"
    assert {len(each) for pair in compared for each in pair} == {32}, "by hashes, which say no length"
    assert len({first for first, _ in compared}) >= 4
    assert got(app, "/metrics").status == 401
    assert got(app, "/metrics", (b"authorization", f"Bearer {TOKEN}".encode())).status == 200
    assert (got(app, "/healthz").status, got(app, "/contract").status) == (200, 200)
    assert "HTTPBearer" in got(app, "/openapi.json").json["components"]["securitySchemes"]


def test_a_slow_body_does_not_hold_a_place(app: FastAPI, decider: Decider) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield GOOD[:4]
        await asyncio.sleep(30)

    begun = time.monotonic()
    said = decided(app, decider, slow())
    assert (said.status, time.monotonic() - begun < 5) == (408, True)
    assert "did not arrive within 0.3 seconds" in said.json["error"]


def test_an_endless_body_is_not_read_to_its_end(app: FastAPI, decider: Decider) -> None:
    given = 0

    async def endless(first: bytes) -> AsyncIterator[bytes]:
        nonlocal given
        yield first
        while True:
            given += 1
            yield b"\0" * 1000

    assert decided(app, decider, endless(GOOD)).status == 413
    assert given == 1
    assert decided(app, decider, endless(photograph("JPEG"))).status == 415


def test_too_many_requests_are_told_to_come_again(decider: Decider) -> None:
    app = make_app([decider], ServeConfig(requests=2))

    async def all_at_once() -> list[Said]:
        let_go = asyncio.Event()

        async def held() -> AsyncIterator[bytes]:
            await let_go.wait()
            yield GOOD

        def ask(body: Body) -> asyncio.Task[Said]:
            return asyncio.create_task(asked(app, "POST", "/decide", headers_of(decider), body))

        first = [ask(held()), ask(held())]
        await asyncio.sleep(0.05)
        third = await ask(GOOD)
        let_go.set()
        return [third, *[await each for each in first], await ask(GOOD)]

    third, *others = asyncio.run(all_at_once())
    assert (third.status, third.headers["retry-after"]) == (503, "1")
    assert "2 requests are being answered" in third.json["error"]
    assert [each.status for each in others] == [200, 200, 200]


def test_what_arrives_at_once_is_answered_together_and_to_each_its_own(
    decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_at_once: list[int] = []
    real = decider.answers

    def answers(levels: np.ndarray) -> Any:
        asked_at_once.append(len(levels))
        if (levels[:, 0] == 99).any():
            raise RuntimeError("broken")
        return real(levels)

    monkeypatch.setattr(decider, "answers", answers)
    sent = [messages(rows, seed) % 90 for seed, rows in enumerate([1, 3, 1, 4, 2, 2, 1])]

    async def all_at_once(parts: list[np.ndarray]) -> list[Any]:
        gathering = Gathering(decider, 4)
        found = await asyncio.gather(*[gathering.answers(part) for part in parts], return_exceptions=True)
        return [*found, await gathering.answers(sent[0])]

    for told, own in zip(asyncio.run(all_at_once(sent)), [*sent, sent[0]], strict=True):
        assert len(told) == len(own)
        ages = [each["age"]["decision"] for each in told]
        np.testing.assert_allclose(ages, [each["age"]["decision"] for each in real(own)], atol=1e-5)
    assert sum(asked_at_once) == sum(map(len, sent)) + 1
    assert max(asked_at_once) == 4
    assert len(asked_at_once) < len(sent)
    *failed, after = asyncio.run(all_at_once([np.full((1, NUMBERS), 99, np.int8)] * 3))
    assert [type(each) for each in failed] == [RuntimeError] * 3
    assert len(after) == 1, "and the next is answered"


def test_what_breaks_is_said_without_its_data(decider: Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(levels: np.ndarray) -> object:
        raise RuntimeError(f"secret {levels}")

    monkeypatch.setattr(decider, "answers", broken)

    async def ask() -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": GOOD, "more_body": False}

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/decide",
            "query_string": b"",
            "headers": headers_of(decider),
        }
        with pytest.raises(RuntimeError):  # which the server's log tells
            await make_app([decider])(scope, receive, send)
        assert sent[0]["status"] == 500
        assert b"secret" not in sent[1]["body"]

    asyncio.run(ask())


def test_bytes_of_a_message_are_hardly_ever_a_picture() -> None:
    levels = np.random.default_rng(0).integers(-127, 128, (20_000, NUMBERS)).astype(np.int8)
    levels[:, :3] = np.frombuffer(b"\xff\xd8\xff", np.int8)  # which one message in millions begins with
    assert sum(is_picture(each.tobytes()) for each in levels) < 200
    assert all(is_picture(photograph(kind)) for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist; make one: openssl rand -hex 32"),
        (b"", "must hold one token of 16 or more letters"),
        (b"short", "must hold one token of 16 or more letters"),
        (b"two tokens of words\n", "must hold one token"),
        (b"\xff" * 32, "cannot be read as ASCII"),
    ],
)
def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(oneway.InputError, match=sentence):
        read_token(tmp_path / "token")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN.encode()


def test_a_bundle_that_is_none_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bundle(tmp_path / "b")
    content = bytearray((tmp_path / "b" / SERVER).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "b" / SERVER).write_bytes(content)
    for folder, sentence in ((tmp_path / "b", "is not the file that the contract names"), (tmp_path, "is no bundle")):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["serve", str(folder), "--port", "0"])
        assert sentence in capsys.readouterr().err


def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "oneway.serving.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", str(tmp_path)])
    assert "the server needs uvicorn, which is not installed; install oneway[serve]" in capsys.readouterr().err


@contextmanager
def served(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the command; gives the process and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "oneway", "serve", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "/decide" in line, line
        yield process, int(line.split("/decide")[0].rsplit(":", 1)[1])
    finally:
        process.kill()
        process.wait()


@pytest.mark.whole
def test_the_client_of_a_bundle_is_answered_without_torch(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    (tmp_path / "token").write_text(TOKEN)
    Image.open(io.BytesIO(photograph("PNG"))).save(tmp_path / "p.png")
    client = [sys.executable, str(tmp_path / "b" / CLIENT), "ask", str(tmp_path / "p.png")]
    with served(tmp_path / "b", "--token-file", str(tmp_path / "token")) as (process, port):
        client += ["--url", f"http://127.0.0.1:{port}/"]
        right = subprocess.run([*client, "--token-file", str(tmp_path / "token")], capture_output=True, text=True)
        wrong = subprocess.run(client, capture_output=True, text=True)
        libraries = Path(f"/proc/{process.pid}/maps")
        assert not libraries.exists() or "libtorch" not in libraries.read_text()
    assert set(json.loads(right.stdout)["answers"][0]) == {"smiling", "hair", "age"}, right.stderr
    assert wrong.returncode != 0
    assert wrong.stderr.startswith('error: 401: {"error":"send the token of this server')


@pytest.mark.whole
def test_a_process_finishes_what_it_has_begun_and_leaves_nothing(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    with served(tmp_path / "b") as (process, port):
        decider = Decider(tmp_path / "b")
        told = {name.decode(): value.decode() for name, value in headers_of(decider)}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("POST", "/decide")
        for name, value in {**told, "content-length": str(len(GOOD))}.items():
            connection.putheader(name, value)
        connection.endheaders(GOOD[:5])
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        other.request("POST", "/decide", photograph("JPEG", 600), headers_of_picture(told))
        assert other.getresponse().status == 415
        process.send_signal(signal.SIGTERM)
        late = threading.Timer(0.3, lambda: connection.send(GOOD[5:]))
        late.start()
        answered = connection.getresponse()
        assert (answered.status, len(json.loads(answered.read())["answers"])) == (200, 1)
        assert process.wait(20) in (0, -signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.read() == "", "and nothing is logged, of the picture neither"
        with pytest.raises(OSError, match=r"refused|reset"):
            http.client.HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/healthz")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b"]


def headers_of_picture(told: dict[str, str]) -> dict[str, str]:
    """The same headers, under an id of their own."""
    return told | {"oneway-request": secrets.token_hex(16)}
