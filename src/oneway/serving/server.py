"""The server as a process: a socket, an application, an end without losses."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvicorn

from oneway.console import console
from oneway.errors import InputError
from oneway.serving.app import make_app
from oneway.serving.config import ServeConfig
from oneway.serving.decider import Decider
from oneway.serving.page import Shown, add_page
from oneway.serving.web import BY_NPM, fetched
from oneway.storage.inputs import regular

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SPARE = 256
"""Connections that may wait between requests, beside those that are answered."""


def serve(
    bundles: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    shown: Shown | None = None,
    config: ServeConfig | None = None,
) -> None:
    """Answer by bundles until the process is interrupted or told to end; what was begun is finished then.

    Args:
        bundles: the folder of each, whose every file is held to its contract first; several are a trade-off.
        host: the address to listen at.
        port: the port; 0 lets the system choose.
        token_file: holds the token that clients must send; anyone is answered without it.
        shown: what the page at / has, which runs the device's half in a browser.
        config: bounds.

    Raises:
        InputError: if a bundle is damaged or given twice, a file of the page is not what it should be, the token is
            none, or the address cannot be had.

    """
    config = config or ServeConfig()
    token = None if token_file is None else read_token(token_file)
    deciders = [Decider(each) for each in bundles]
    names = [each.bundle[:12] for each in deciders]
    if not names or len(set(names)) < len(names):
        raise InputError(f"give each bundle once, and one at least; these are {', '.join(names) or 'none'}")
    if shown is not None and shown.web == BY_NPM:
        shown = replace(shown, web=fetched())
    app = make_app(deciders, config, token)
    add_page(app, bundles, shown, guarded=token is not None)
    listening = _listen(host, port)
    where, said = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}", console()
    told = ", ".join(f"{folder} ({name})" for folder, name in zip(bundles, names, strict=True))
    said.print(f"{told}: answered at {where}/decide; the page is {where}/; Ctrl-C ends it", soft_wrap=True)
    if host not in LOOPBACK and token is None:
        said.print("anyone who reaches this address is answered: --token-file holds a token that clients must send")
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,
            log_level="error",
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=config.requests + SPARE,
            timeout_graceful_shutdown=math.ceil(config.seconds),
        )
    )
    with listening:
        server.run(sockets=[listening])


def read_token(path: Path) -> bytes:
    """Read the token that clients must send.

    Raises:
        InputError: if there is none, or one that could be guessed or not be sent.

    """
    try:
        token = regular(path).read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise InputError(f"--token-file {path} does not exist; make one: openssl rand -hex 32 > {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {path} cannot be read as ASCII ({error}); give one line of it") from error
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,4096}", token):
        raise InputError(
            f"--token-file {path} must hold one token of 16 or more letters, digits or ._~+/=-; make one: "
            f"openssl rand -hex 32 > {path}"
        )
    return token.encode()


def _listen(host: str, port: int) -> socket.socket:
    """Take the address before anything else is said."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host {host} --port {port} cannot be listened at ({error}); choose another --port, or end what holds it"
        ) from error
