"""Signatures of a bundle: Ed25519, beside the file that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oneway.errors import InputError
from oneway.storage.atomic import whole
from oneway.storage.inputs import regular

SIGNATURE = ".sig"
"""Ends the name of a file that holds the 64 bytes of the signature of the file of the name before."""


def read_private(path: Path) -> Any:
    """Read a private key, as `openssl genpkey -algorithm ed25519` writes it.

    Raises:
        InputError: if the file is none.

    """
    return _read(path, "private")


def sign(path: Path, key: Any) -> None:
    """Sign a file by a key that `read_private` gave."""
    with whole(path.with_name(path.name + SIGNATURE)) as partial:
        partial.write_bytes(key.sign(path.read_bytes()))


def check_signature(path: Path, key: Path) -> str | None:
    """Say why a file is not signed by a public key; nothing where it is.

    Raises:
        InputError: if the key cannot be read.

    """
    public = _read(key, "public")
    from cryptography.exceptions import InvalidSignature

    signature = path.with_name(path.name + SIGNATURE)
    if not signature.is_file() or not path.is_file():
        return f"{path} is not signed: {signature} does not exist; give --key to the command that makes it"
    try:
        public.verify(signature.read_bytes(), path.read_bytes())
    except InvalidSignature:
        return f"{path} is not signed by {key.name}: it was changed, or another key signed it"
    return None


def _read(path: Path, kind: str) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
    except ImportError as error:
        raise InputError(
            "signing needs cryptography; install oneway[export] as `oneway doctor` says, or leave out --key"
        ) from error
    way = "make one with `openssl genpkey -algorithm ed25519`, its public half with `openssl pkey -pubout`"
    try:
        content = regular(path).read_bytes()
    except OSError as error:
        raise InputError(f"the key {path} cannot be read ({error.strerror or error}); {way}") from error
    try:
        made: object = load_pem_private_key(content, None) if kind == "private" else load_pem_public_key(content)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is no {kind} key in PEM without a password ({error}); {way}") from error
    if not isinstance(made, Ed25519PrivateKey if kind == "private" else Ed25519PublicKey):
        raise InputError(f"{path} is a {kind} key of another kind than Ed25519; {way}")
    return made
