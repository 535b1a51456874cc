"""What a server does not take, each with the sentence that its sender is told."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from oneway.errors import InputError
from oneway.shipping.contract import Contract, Numbers

BYTES = "application/octet-stream"
REASONS = {
    "header": 400,
    "token": 401,
    "path": 404,
    "slow": 408,
    "replayed": 409,
    "bundle": 412,
    "long": 413,
    "type": 415,
    "picture": 415,
    "message": 422,
    "busy": 503,
}
"""Why a request can be refused, and the status that says so."""
BEARER = HTTPBearer(auto_error=False, description="the content of the server's --token-file")
PICTURE = (
    "this is a picture, and no picture may be sent: it was not kept; run device.onnx on it where it was taken, and "
    "send the bytes that the bundle's client.py makes of it"
)


class Refused(Exception):
    """A request that is not answered.

    Args:
        reason: one of `REASONS`.
        sentence: what the sender is told, with the way out; it holds nothing of the body.

    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason, self.status = reason, REASONS[reason]


@dataclass(frozen=True)
class Token:
    """What a client must know to be answered: compared by hashes, in a time that does not say how much was right."""

    token: bytes = field(repr=False)

    async def check(self, given: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]) -> None:
        """Refuse a request without the token."""
        told = b"" if given is None else given.credentials.encode()
        if not hmac.compare_digest(hashlib.sha256(told).digest(), hashlib.sha256(self.token).digest()):
            raise Refused("token", "send the token of this server: `Authorization: Bearer TOKEN`")


class Remembered:
    """The ids of the last requests, `most` of them."""

    def __init__(self, most: int) -> None:
        self._most, self._ids = most, OrderedDict[str, None]()

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, request: str) -> None:
        """Remember the id of a request.

        Raises:
            Refused: if it is known.

        """
        if request in self._ids:
            raise Refused(
                "replayed",
                "this Oneway-Request was answered before: give every request an id of its own, and take a picture's "
                "answer once",
            )
        self._ids[request] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)


def is_picture(body: bytes) -> bool:
    """Say whether bytes begin as a file of a picture does (JPEG, PNG, GIF, WebP, HEIF and AVIF).

    Of JPEG, the first segment must be followed by another: three bytes alone begin one message in millions.
    """
    if body[:3] == b"\xff\xd8\xff":
        after = 4 + int.from_bytes(body[4:6], "big")
        return body[after : after + 1] == b"\xff"
    return (
        body.startswith((b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"))
        or (body[:4] == b"RIFF" and body[8:12] == b"WEBP")
        or body[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif")
    )


async def check_type(request: Request) -> None:
    """Refuse what says of itself that it is no bytes, a picture as such."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/"):
        raise Refused("picture", PICTURE)
    if kind != BYTES:
        raise Refused("type", f"send the bytes of one message, or of a batch, as Content-Type: {BYTES}")


def read_messages(contract: Contract, body: bytes, batch: int) -> Numbers:
    """Read a batch of messages: levels (batch, numbers).

    Raises:
        Refused: if they are not so many bytes, or hold what no device of the bundle sends.

    """
    agreed = f"a message is {contract.num_bytes} bytes, {contract.numbers} numbers of {contract.quantisation.bits} bits"
    if len(body) != batch * contract.num_bytes:
        hint = "encode as the bundle's client.py does"
        if len(body) == 4 * batch * contract.numbers:
            hint = "as many numbers of 32 bits would be so long: round them to the levels of the contract"
        if body and len(body) % contract.num_bytes == 0:
            hint += f"; if it is a batch, say Oneway-Batch: {len(body) // contract.num_bytes}"
        raise Refused("message", f"{agreed}, and {batch} should come; the body is {len(body)} bytes; {hint}")
    try:
        return contract.read(body)
    except InputError as error:
        raise Refused("message", str(error)) from None
