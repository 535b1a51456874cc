"""A card for a bundle, of an audit of its very bytes."""

from __future__ import annotations

from pathlib import Path

from oneway.config import to_dict
from oneway.errors import InputError
from oneway.report.reports import AuditReport, read_report
from oneway.shipping.card import Card, make_card
from oneway.shipping.contract import CARD, PAGE, bundle_hash
from oneway.shipping.sent import task_of
from oneway.shipping.signature import SIGNATURE, read_private, sign
from oneway.shipping.verify import checked_contract
from oneway.storage import runs
from oneway.storage.atomic import whole


def attach(bundle: Path | str, audit: Path | str, *, key: Path | None = None) -> Card:
    """Give a bundle its card, which says what an audit of the bytes that it sends has found.

    Args:
        bundle: its folder, into which card.json and card.html are written.
        audit: the folder of an audit of this bundle; one of the run, or of another bundle, is refused.
        key: a private key to sign the card by.

    Raises:
        InputError: if the bundle is damaged, or the audit is not of these bytes.

    """
    bundle, audit = Path(bundle), Path(audit)
    contract = checked_contract(bundle)
    report = read_report(audit, AuditReport, "oneway audit")
    own, audited = bundle_hash(bundle), report.provenance.victim.get("hash")
    if report.victim.kind != "bundle" or audited != own:
        of = f"of a {report.victim.kind}, {report.victim.name}" if report.victim.kind != "bundle" else "of another one"
        raise InputError(
            f"{audit} is no audit of the bytes that {bundle} sends ({own[:12]}), but {of} ({str(audited)[:12]}); run "
            "`oneway audit` on the bundle"
        )
    signer = None if key is None else read_private(key)
    card, page = make_card(contract, own, report, runs.file_hash(audit / runs.RESULTS), task_of(contract).decides)
    (bundle / f"{CARD}{SIGNATURE}").unlink(missing_ok=True)
    with whole(bundle / PAGE) as partial:
        partial.write_bytes(page.encode())
    runs.write_json(bundle / CARD, to_dict(card))
    if signer is not None:
        sign(bundle / CARD, signer)
    return card
