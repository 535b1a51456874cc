"""The demonstration: drawn faces, a protected encoder and its unprotected twin, an audit of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from oneway.auditing.audit import PAGE, audit
from oneway.auditing.config import AuditConfig
from oneway.auditing.control import PICTURES
from oneway.auditing.reconstruction import shown
from oneway.console import console, marked
from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.errors import InputError
from oneway.judges.identification import OWN, IdentificationConfig, identify, load
from oneway.judges.verifier import Verifier
from oneway.metrics.estimate import Estimate
from oneway.models.exporting import can_export
from oneway.protection.config import ProtectConfig, small
from oneway.protection.recipes import prescribe
from oneway.protection.run import Run
from oneway.protection.train import protect
from oneway.report.grid import draw_grid
from oneway.report.reports import AuditReport, read_report
from oneway.report.table import verifier_line
from oneway.shipping.kept import KEPT
from oneway.storage import runs
from oneway.storage.atomic import hold, whole

PEOPLE, SHOTS, SIZE = 800, 6, 64
CUT, AUDIT, PICTURE = "layer2", "audit", "faces.png"
STEPS, JUDGE_STEPS, ATTACK_STEPS = 600, 300, 800


def demo(out: Path, *, seed: int = 0) -> None:
    """Draw faces, train both encoders by default settings, audit both, and say what the protected one leaks.

    The audits are brief, with one attacker that draws: enough for a page, not for a claim.

    Args:
        out: folder for all of it; finished parts are taken as they are, unfinished ones are continued.
        seed: of everything.

    Raises:
        InputError: if `out` cannot be written, or another process writes there.

    """
    said = console()
    with hold(out):
        said.print(marked("1/4", " drawing faces of people who do not exist"))
        pack = _pack(out / "faces", seed)
        said.print(marked("2/4", " training the judge: a face verifier"))
        verifier = _judge(pack, seed)
        protected = replace(small(), steps=STEPS, seed=seed, network=replace(small().network, cut=CUT))
        unprotected = prescribe(protected, "none")
        config = AuditConfig(attackers=("mirror",), brief=True, steps=ATTACK_STEPS, seed=seed, keep=can_export())
        control = out / "unprotected" / AUDIT
        said.print(
            marked("3/4", " training an unprotected encoder, then auditing it by attackers trained from scratch")
        )
        _audit(_run(pack, out / "unprotected", unprotected), config, verifier, None)
        said.print(marked("4/4", " training a protected encoder, then auditing it by attackers trained from scratch"))
        report = _audit(_run(pack, out / "protected", protected), config, verifier, control)
        rows = {"original": pack.test.images(shown(pack))}
        for name in ("unprotected", "protected"):
            rows[f"{name}, attacked"] = np.load(out / name / AUDIT / PICTURES, allow_pickle=False)
        if not (out / PICTURE).exists():
            with whole(out / PICTURE) as partial:
                draw_grid(rows, partial)
        said.print(verifier_line(report.judge))
        said.print(f"{conclusion(report)}\n")
        said.print(f"original above reconstructions: {out / PICTURE}", soft_wrap=True)
        said.print(f"page: {out / 'protected' / AUDIT / PAGE}", soft_wrap=True)
        audited = out / "protected" / AUDIT
        thief = f" --attack {audited}" if (audited / KEPT).exists() else ""
        ship = f"oneway export {out / 'protected'}{thief} --out {out / 'bundle'}"
        said.print(f"to see it in a browser: {ship}, then oneway serve {out / 'bundle'} --web npm", soft_wrap=True)


def conclusion(report: AuditReport) -> str:
    """Say in one sentence what an audit beside its control found: utility kept, leakage of faces, and the verdict."""
    assert report.utility is not None
    assert report.control is not None
    assert report.control.utility is not None
    ours, theirs = report.utility.value.value, report.control.utility.value.value
    kept = (
        f"{ours / theirs:.0%} of its mean MCC ({ours:.3f} of {theirs:.3f})"
        if theirs > 0
        else f"a mean MCC of {ours:.3f}"
    )
    leak = report.leakage["picture_similarity"]
    gone = leak.in_percent() if isinstance(leak, Estimate) else f"how much cannot be said: {leak.refused}"
    return (
        f"Beside the unprotected encoder the protected one keeps {kept}; of what that one gives away of faces it leaks "
        f"{gone}; the verdict is {report.verdict.level}."
    )


def _pack(path: Path, seed: int) -> Pack:
    if path.exists():
        return Pack.open(path)
    return prepare(synthetic_source(PEOPLE, SHOTS, seed), path, size=SIZE, seed=seed, resume=True)


def _judge(pack: Pack, seed: int) -> Verifier:
    path = pack.path / OWN
    return load(path) if path.exists() else identify(pack, path, IdentificationConfig(steps=JUDGE_STEPS, seed=seed))


def _run(pack: Pack, path: Path, config: ProtectConfig) -> Run:
    if not (path / runs.RESULTS).exists():
        return protect(pack, path, config, resume=True)
    run = Run.open(path, pack)
    if run.config != config:
        raise InputError(f"{path} was made with other settings; delete {path.parent} or choose another --out")
    return run


def _audit(run: Run, config: AuditConfig, verifier: Verifier | None, control: Path | None) -> AuditReport:
    out = run.path / AUDIT
    if (out / runs.RESULTS).exists():
        return read_report(out, AuditReport, "oneway demo --out NEW")
    return audit(run, out=out, config=config, verifier=verifier, control=control, resume=True, jobs=None)
