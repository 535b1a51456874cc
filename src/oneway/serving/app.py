"""The web application: bytes to decisions, and what else is said of the bundle that decides."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, get_args

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from oneway.serving.config import ServeConfig
from oneway.serving.decider import Decider
from oneway.serving.gathering import Gathering
from oneway.serving.meters import Meters
from oneway.serving.refusal import (
    BYTES,
    PICTURE,
    REASONS,
    Refused,
    Remembered,
    Token,
    check_type,
    is_picture,
    read_messages,
)

JSON = "application/json"
Bundle = Annotated[
    str,
    Header(
        alias="Oneway-Bundle",
        pattern="^[0-9a-f]{64}$",
        description="the sha256 of the contract.json that the message was made by, in hexadecimal",
    ),
]
RequestId = Annotated[
    str,
    Header(
        alias="Oneway-Request",
        pattern="^[A-Za-z0-9_-]{16,64}$",
        description="16 to 64 letters, digits, - or _, drawn anew for every request; none is answered twice",
    ),
]
Batch = Annotated[int, Header(alias="Oneway-Batch", ge=1, description="how many messages the body holds")]
TOLD = {header.alias: header.description for header in (get_args(each)[1] for each in (Bundle, RequestId, Batch))}


@dataclass(frozen=True)
class Answer:
    """What is decided of one column: a binary one has a probability, one of classes those of each."""

    decision: bool | str | float
    probability: float | None = None
    probabilities: dict[str, float] | None = None


@dataclass(frozen=True)
class Answers:
    """An answer to every message, in their order, by column."""

    answers: list[dict[str, Answer]]


@dataclass(frozen=True)
class Refusal:
    """Why a request was refused, and the way out."""

    error: str


@dataclass(frozen=True)
class Health:
    """That requests are answered, and by which bundles: the sha256 of each one's contract.json."""

    status: str
    bundles: list[str]


def make_app(deciders: Sequence[Decider], config: ServeConfig | None = None, token: bytes | None = None) -> FastAPI:
    """Make the application that answers by bundles. It stores and logs nothing of a request.

    Args:
        deciders: the server side of each bundle, opened; a message names the one that it is for.
        config: bounds.
        token: what a client must send to be answered, and to see the metrics; anyone may where there is none.

    """
    config = config or ServeConfig()
    meters, known = Meters(deciders), Remembered(config.remembered)
    gatherings = {each.bundle: Gathering(each, config.batch, meters.watch(each, config.watch)) for each in deciders}
    names = ", ".join(each.bundle[:12] for each in deciders)
    guards = [] if token is None else [Depends(Token(token).check)]
    app = FastAPI(
        title="oneway",
        description=f"Answers by bundle {names}: numbers of a picture to decisions. Nothing is stored.",
        version=version("oneway"),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )

    async def refuse(_: Request, error: Exception) -> Response:
        found = _as_refused(error)
        meters.requests.labels(found.reason).inc()
        headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(found.status, {})
        status = error.status_code if isinstance(error, HTTPException) else found.status
        return _json({"error": str(found)}, status, headers)

    async def fail(_: Request, __: Exception) -> Response:
        meters.requests.labels("failed").inc()
        return _json({"error": "the server failed, and its log says where; nothing was kept"}, 500)

    for kind in (Refused, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(kind, refuse)
    app.add_exception_handler(Exception, fail)

    binary = {"requestBody": {"required": True, "content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}}

    @app.post(
        "/decide",
        response_model=Answers,
        responses={status: {"model": Refusal, "description": why} for status, why in _statuses().items()},
        openapi_extra=binary,
        dependencies=[*guards, Depends(check_type)],
    )
    async def decide(request: Request, bundle: Bundle, identity: RequestId, batch: Batch = 1) -> Response:
        """Decide by the bytes of one message, or of a batch."""
        begun = time.perf_counter()
        if (gathering := gatherings.get(bundle)) is None:
            raise Refused(
                "bundle",
                f"the message is of bundle {bundle[:12]}, and this server answers by {names}, of which /contract is "
                "the contract: use the device.onnx that belongs to it",
            )
        contract = gathering.decider.contract
        if batch > config.batch:
            raise Refused("long", f"Oneway-Batch is {batch}, and {config.batch} messages are taken at once: send fewer")
        with meters.place(config.requests):
            body = await _body(request, config.batch * contract.num_bytes, config.seconds)
            levels = read_messages(contract, body, batch)
            known.take(identity)
            content = _encoded({"answers": await gathering.answers(levels)})
        meters.answered(batch, time.perf_counter() - begun)
        return _response(content)

    @app.get("/contract", response_class=Response, responses={200: {"content": {JSON: {}}}})
    async def agreed() -> Response:
        """Give contract.json as it is in the first bundle; its sha256 is what Oneway-Bundle must be."""
        return _response(deciders[0].agreed)

    @app.get("/healthz")
    async def healthz() -> Health:
        """Say that requests are answered, and by which bundles."""
        return Health("ok", [each.bundle for each in deciders])

    @app.get("/metrics", response_class=Response, dependencies=guards)
    async def metrics() -> Response:
        """Give figures for Prometheus."""
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    return app


async def _body(request: Request, most: int, seconds: float) -> bytes:
    """Read a body of at most so many bytes, in so many seconds; a picture is refused as such, however long."""
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    break
    except TimeoutError:
        raise Refused("slow", f"the body did not arrive within {seconds:g} seconds") from None
    if is_picture(bytes(body)):
        raise Refused("picture", PICTURE)
    if len(body) > most:
        raise Refused("long", f"a body may have {most} bytes here, and this one has more: send fewer messages at once")
    return bytes(body)


def _statuses() -> dict[int, str]:
    """Say for what each status is given by /decide."""
    found = sorted(set(REASONS.values()) - {REASONS["path"]})
    return {status: ", ".join(why for why, each in REASONS.items() if each == status) for status in found}


def _as_refused(error: Exception) -> Refused:
    """Say of every error that a client can cause why it is refused."""
    match error:
        case Refused():
            return error
        case RequestValidationError():
            name = str(error.errors()[0]["loc"][-1])
            return Refused(
                "header", f"the header {name} is missing or wrong; it is {TOLD.get(name, 'part of a request')}"
            )
        case ClientDisconnect():
            return Refused("slow", "the client left")
    return Refused("path", "there are POST /decide, GET /contract, /healthz, /metrics and /openapi.json")


def _encoded(content: object) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _json(content: object, status: int, headers: dict[str, str] | None = None) -> Response:
    return _response(_encoded(content), status, headers)


def _response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    kept = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(content, status, kept | (headers or {}), JSON)
