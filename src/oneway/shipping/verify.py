"""Whether a bundle is what was made: every file by its hash, and nothing that its files name lies elsewhere."""

from __future__ import annotations

from pathlib import Path

from oneway.errors import InputError
from oneway.shipping.contract import (
    AGAIN,
    ATTACKER,
    CARD,
    CLIENT,
    CONTRACT,
    DEVICE,
    MATERIALS,
    PAGE,
    PARITY,
    SERVER,
    Contract,
    bundle_hash,
    read_contract,
)
from oneway.shipping.outside import kept_outside
from oneway.shipping.signature import SIGNATURE, check_signature
from oneway.storage.inputs import endless, file_hash

NEEDED = (DEVICE, SERVER, CLIENT, PARITY, MATERIALS)
AFTERWARDS = (CONTRACT, CARD, PAGE, *(f"{name}{SIGNATURE}" for name in (CONTRACT, CARD)))
"""What a contract does not name: itself, and what is said of the bundle when it is made."""


def verify(folder: Path, key: Path | None = None, *, card: bool = True) -> list[str]:
    """Name everything that is wrong with a bundle; nothing is, where the list is empty.

    Args:
        folder: the bundle's.
        card: whether its card, if it has one, must be of these bytes too.
        key: the public key (PEM, Ed25519) that its contract and its card must be signed by.

    Raises:
        InputError: if the key cannot be read.

    """
    try:
        contract = read_contract(folder)
    except InputError as error:
        return [str(error)]
    wrong = [f"{folder / name}: {CONTRACT} does not name it; {AGAIN}" for name in NEEDED if name not in contract.files]
    wrong += [found for name, told in contract.files.items() if (found := _differs(folder / name, told))]
    for each in sorted(folder.iterdir()):
        if each.name not in contract.files and each.name not in AFTERWARDS:
            wrong.append(f"{each} is no part of the bundle; remove it")
    if (contract.attacker is None) == (ATTACKER in contract.files):
        wrong.append(f"{folder / CONTRACT} must say whose {ATTACKER} is where there is one, and only there; {AGAIN}")
    if not wrong:
        graphs = [name for name in (DEVICE, SERVER, ATTACKER) if name in contract.files]
        wrong += [f"{folder / name}: {found}; {AGAIN}" for name in graphs if (found := kept_outside(folder / name))]
    signed = [CONTRACT]
    if card and ((folder / CARD).exists() or (folder / PAGE).exists()):
        signed.append(CARD)
        wrong += _card(folder)
    if key is not None:
        wrong += [found for name in signed if (found := check_signature(folder / name, key))]
    return wrong


def checked_contract(folder: Path) -> Contract:
    """Read the contract of a bundle in which nothing is wrong, whatever its card says.

    Raises:
        InputError: saying the first thing that is wrong.

    """
    wrong = verify(folder, card=False)
    if wrong:
        more = f" ({len(wrong) - 1} more: oneway verify-bundle {folder.name})" if len(wrong) > 1 else ""
        raise InputError(f"{wrong[0]}{more}")
    return read_contract(folder)


def _differs(path: Path, told: str) -> str | None:
    """Say in what a file is not the one that was hashed."""
    if not path.is_file():
        kind = endless(path)
        return f"{path} {'is missing' if kind is None else f'is {kind}'}; {AGAIN}"
    if path.is_symlink():
        return f"{path} is a link out of the bundle; put the file itself there"
    try:
        found = file_hash(path)
    except InputError as error:
        return str(error)
    if found == told:
        return None
    return (
        f"{path} is not the file that the contract names (sha256 {found[:12]}, not {told[:12]}): it was changed, cut "
        f"short, or is of another bundle; {AGAIN}"
    )


def _card(folder: Path) -> list[str]:
    """Say in what the card is not one of this bundle."""
    from oneway.shipping.card import read_card  # which imports torch, and a server needs no card

    try:
        card = read_card(folder)
    except InputError as error:
        return [str(error)]
    wrong = []
    if card.bundle != bundle_hash(folder):
        wrong.append(f"{folder / CARD} is of another bundle ({card.bundle[:12]}); make it anew with `oneway card`")
    if found := _differs(folder / PAGE, card.page):
        wrong.append(found.replace("the contract", "the card").replace(AGAIN, "make it anew with `oneway card`"))
    return wrong
