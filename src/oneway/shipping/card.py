"""The card of a bundle: what it does, on whom it was trained and audited, what leaks, who is assumed to hold what."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from oneway.config import from_dict, record
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.report.asked import Data
from oneway.report.page import environment
from oneway.report.reports import AuditReport
from oneway.report.table import verifier_line
from oneway.report.values import OrRefused, Utility, Verdict
from oneway.shipping.contract import CARD, Contract, Sha256
from oneway.storage.inputs import read_object

AGAIN = (
    "before any file of the bundle is changed: another encoder, noise or rounding is another bundle, with no audit",
    "for other cameras, another crop, or people of another kind than those of the audited pack",
    "when an attacker is published who is stronger than those of the panel, or who has more pictures",
    "when a version of oneway changes its attackers or judges (see its CHANGELOG)",
)
"""When an audit no longer says anything."""
HELD = (
    "the thief: the bytes of one answer for each picture, the contract, and the public people's pictures",
    "every user of the app: device.onnx, hence its weights; this audit asks it as a black box, so audit the run too, "
    "whose white-box attack has them",
    "the server alone: server.onnx; the thief has its decisions, since they follow from the bytes",
    "nobody: the noise, which is drawn anew for each answer and kept nowhere",
)
"""Who is assumed to hold what."""


@record
@dataclass(frozen=True, kw_only=True)
class Card:
    """What the provider of a bundle can say of it, by an audit of the very bytes that it sends.

    Attributes:
        bundle: the sha256 of its contract, which the audit names too.
        page: the sha256 of card.html, which shows this.
        audit: the sha256 of the audit's results.json.
        created: when the audit was made, in UTC.
        does: what is decided.
        audited_on: the pack.
        verdict: of the audit.
        leakage: each share with its interval, of the way from floor to control.
        control: the unprotected encoder beside it; none where there was none.
        utility: of what the server decides by what is sent, on the audit's test people.
        judges: what compared faces, and how well it does.
        failed: guards of the audit that did not hold, or could not be checked.
        held: who is assumed to hold what.
        untested: what the audit does not show.
        again: when to audit again.

    """

    bundle: Sha256
    page: Sha256
    audit: Sha256
    created: str
    does: str
    audited_on: Data
    verdict: Verdict
    leakage: dict[str, OrRefused[Estimate]]
    control: str | None
    utility: Utility | None
    judges: list[str]
    failed: list[str]
    held: Annotated[list[str], Field(min_length=1)]
    untested: list[str]
    again: Annotated[list[str], Field(min_length=1)]


def make_card(contract: Contract, bundle: str, report: AuditReport, audit: str, does: str) -> tuple[Card, str]:
    """Make the card of a bundle and its page.

    Args:
        contract: of the bundle.
        bundle: its hash.
        report: of the audit of its bytes.
        audit: the hash of the report's file.
        does: what is decided.

    """
    failed = [f"{guard.name}: {guard.message}" for guard in report.guards if not guard.passed]
    judges = [verifier_line(judge) for judge in report.judges]
    shown = environment().get_template("card.html.jinja")
    page = shown.render(
        contract=contract,
        bundle=bundle,
        report=report,
        audit=audit,
        does=does,
        judges=judges,
        failed=failed,
        apart=any(guard.name == "people" and guard.passed for guard in report.guards),
        held=HELD,
        again=AGAIN,
    )
    card = Card(
        bundle=bundle,
        page=hashlib.sha256(page.encode()).hexdigest(),
        audit=audit,
        created=report.provenance.created,
        does=does,
        audited_on=report.provenance.data,
        verdict=report.verdict,
        leakage=report.leakage,
        control=None if report.control is None else report.control.name,
        utility=report.utility,
        judges=judges,
        failed=failed,
        held=list(HELD),
        untested=report.untested,
        again=list(AGAIN),
    )
    return card, page


def read_card(folder: Path) -> Card:
    """Read the card of the bundle in `folder`.

    Raises:
        InputError: if there is none, or it is damaged.

    """
    remedy = "make it anew with `oneway card`"
    try:
        content = read_object(folder / CARD, remedy)
    except FileNotFoundError as error:
        raise InputError(f"{folder / CARD} does not exist; {remedy}") from error
    return from_dict(Card, content, f"{folder / CARD}: ", remedy)
