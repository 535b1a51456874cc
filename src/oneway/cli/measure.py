"""The commands that attack one encoder, by one attacker or by all of them, and that say what its task costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from oneway.cli.options import Device, Paths, Settings, check_out, given, pairs, required, show
from oneway.console import console, marked
from oneway.errors import InputError

if TYPE_CHECKING:
    from oneway.report.reports import AuditReport


def attack(
    run: Positional[Annotated[Path | None, arg(metavar="RUN")]] = None,
    /,
    *,
    out: Path | None = None,
    data: Path | None = None,
    control: Path | None = None,
    verifier: Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    device: Device = "auto",
    images: bool = False,
    set: Settings = (),
    show_config: bool = False,
    resume: bool = False,
) -> None:
    """Attack a run's frozen encoder with a decoder trained from scratch, and score it on the test people.

    It is an audit with one attacker, in minutes: its report says less, of the same figures.

    Args:
        run: The folder of a finished `oneway protect`.
        out: The new attack's folder; RUN/attack by default.
        data: The run's pack, if it has moved.
        control: Folder of the same attack on the unprotected run, or of that run, to stand beside the results.
        verifier: Judge of faces: an ONNX file, a file made by `oneway verifier`, or the name of one that a package
            adds; for pictures of anything a network and its weights, vgg16:FILE or timm:NAME:FILE; by default the
            pack's own, which is trained on its identities the first time.
        steps: The attacker's budget; it stops earlier when it no longer gets better.
        seed: Of the decoder's initial weights and of the order of the pictures.
        device: Where to train.
        images: Show pictures of test people, and what was drawn of them, in the report. Without, none is written;
            drawn faces are shown all the same.
        set: Any other field of the attack's configuration, as in config.json: --set width=4, or --set keep=true, which
            leaves the attacker as attacker.onnx, for `oneway export --attack`.
        show_config: Only print every field of the configuration as it would be used; RUN may be left out.
        resume: Continue an attack that was interrupted.
    """
    from oneway.attacks.inversion import InversionConfig
    from oneway.auditing.attack import attack as attack_run
    from oneway.config import override
    from oneway.data.packed import Pack
    from oneway.judges.identification import open_verifier
    from oneway.protection.run import Run
    from oneway.runtime import RuntimeConfig

    config = override(InversionConfig(), {**given({"max_steps": steps, "seed": seed}), **pairs(set)})
    if show_config:
        show(config)
        return
    run = required(run, "RUN")
    opened = Run.open(run, None if data is None else Pack.open(data))
    out = run / "attack" if out is None else out
    report = attack_run(
        opened,
        out,
        config,
        verifier=open_verifier(opened.pack, verifier),
        control=control,
        runtime=RuntimeConfig(device=device),
        images=images,
        resume=resume,
    )
    _say(report, out)


def audit(
    victim: Positional[Path | None] = None,
    /,
    *,
    out: Path | None = None,
    features: Path | None = None,
    data: Path | None = None,
    control: Path | None = None,
    verifier: Paths = (),
    fail_above: Settings = (),
    summary: Path | None = None,
    thorough: bool = False,
    images: bool = False,
    set: Settings = (),
    show_config: bool = False,
    resume: bool = False,
    jobs: int | None = None,
    seed: int | None = None,
    device: Device | None = None,
) -> None:
    """Audit any encoder: what does someone learn who steals its features? Runs every attack; minutes to hours.

    Writes report.html, results.json and scores.npz. Each number stands beside its floor (an attacker who knows
    nothing) and, with --control, beside the same attack on an unprotected encoder. docs/audit.md says how to read it.

    Args:
        victim: The folder of a finished `oneway protect`, the bundle of an `oneway export`, or an ONNX file.
        out: The new audit's folder; of a run RUN/audit by default.
        features: Stored features (npz, Parquet, safetensors, or a folder of them) instead of an encoder.
        data: The pack to audit on; a run's own by default.
        control: The unprotected run, or the audit of an unprotected encoder, to compare with.
        verifier: Judge of faces: an ONNX file, a file made by `oneway verifier`, or the name of one that a package
            adds; for pictures of anything a network and its weights, vgg16:FILE or timm:NAME:FILE; by default the
            pack's own, which is trained on its identities the first time. Give it several times for several judges:
            each judges attackers who trained with others (--set surrogates=N: with the first N), and of the judges the
            worst counts.
        fail_above: NAME=LIMIT: end with exit code 3 unless the interval of NAME lies at or below LIMIT.
        summary: File for the verdict and its figures in Markdown, as a pull request shows it; none by default. To the
            file that GITHUB_STEP_SUMMARY names it is appended.
        thorough: Train every decoder, the strongest three times, and the whole panel on the task's decisions: several
            times as long. Whoever signs for a figure should.
        images: Show pictures of test people, and what was drawn of them, in the report. Without, none is written;
            drawn faces are shown all the same.
        set: Any other field of the configuration, as in config.json: --set attackers=mirror,gan, --set seeds=3,
            --set keep=true, which leaves the strongest attacker as attacker.onnx, for `oneway export --attack`, or
            --set renewed=OTHER_RUN, an encoder of another seed that features are linked across to.
        show_config: Only print every field of the configuration as it would be used; all else may be left out.
        resume: Continue an audit that was interrupted.
        jobs: Attacks at a time, each in a process of its own, of one to two gigabytes; by default one a processor, four
            at most, where the audit takes minutes and no GPU.
        seed: Of all that is drawn at random, but for noise that protects.
        device: Where to train.
    """
    from oneway.auditing.audit import audit as run_audit
    from oneway.auditing.config import AuditConfig
    from oneway.auditing.config import thorough as thoroughly
    from oneway.config import override
    from oneway.data.packed import Pack
    from oneway.judges.identification import open_verifiers
    from oneway.protection.run import Run
    from oneway.report.junit import write_junit
    from oneway.report.limits import check_limits, read_limits
    from oneway.report.summary import audit_summary, write_summary
    from oneway.shipping.contract import is_bundle

    limits = read_limits(pairs(fail_above, flag="--fail-above"))
    check_out(summary)
    flags = given({"seed": seed, "runtime.device": device})
    config = override(thoroughly() if thorough else AuditConfig(), {**flags, **pairs(set)})
    if show_config:
        show(config)
        return
    trained = victim is not None and victim.suffix.lower() != ".onnx" and not is_bundle(victim)
    home = victim / "audit" if trained and victim is not None and out is None else required(out, "--out")
    pack = None if data is None else Pack.open(data)
    opened: Run | Path | None = victim
    if trained and victim is not None:
        opened = Run.open(victim, pack)
        pack = opened.pack
    if pack is None:
        raise InputError("an encoder that was not trained here is audited on a pack; name it with --data")
    report = run_audit(
        opened,
        features=features,
        data=pack,
        control=control,
        out=home,
        config=config,
        verifier=open_verifiers(pack, verifier),
        images=images,
        resume=resume,
        jobs=jobs,
    )
    _say(report, home)
    checks = check_limits(report, limits)
    if summary is not None:
        write_summary(summary, audit_summary(report, checks))
    if checks:
        write_junit(home / "junit.xml", checks)
    for check in checks:
        console().print(f"{'passed' if check.passed else 'FAILED'}: {check.message}", soft_wrap=True)
    if not all(check.passed for check in checks):
        sys.exit(3)


def price(
    place: Positional[Annotated[Path, arg(metavar="PACK|RUN")]],
    /,
    *,
    task: str | None = None,
    data: Path | None = None,
    verifier: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Say what each attribute of a task costs: what would be given away less, if it were not decided.

    No encoder gives away less than the decisions that can be read from it, and what is not decided is protected best.
    Of a pack the labels are taken, what an encoder decides that is never wrong, before any is trained.

    Args:
        place: A pack made by `oneway prepare`, or the folder of a finished `oneway protect`, whose decisions are taken.
        task: Of a pack: COLUMN or TASK:COLUMN, several with commas between, as `oneway protect` takes them.
        data: Of a run: its pack, if it has moved.
        verifier: Judge of faces, as `oneway audit` takes it; by default the pack's own.
        out: File for the figures as JSON; none by default.
        seed: Of the noise behind a run's decisions.
        device: Where regressions are solved.
    """
    from oneway.auditing.price import decided_at
    from oneway.auditing.price import price as price_of
    from oneway.config import to_dict
    from oneway.judges.identification import open_verifier
    from oneway.report.price_table import price_tables
    from oneway.runtime import RuntimeConfig, launch
    from oneway.storage.runs import write_json

    check_out(out)
    fabric = launch(RuntimeConfig(device=device))
    decided = decided_at(place, task, data, fabric, seed=seed)
    judge = open_verifier(decided.pack, verifier)
    if judge is None:
        raise InputError(
            f"{decided.pack.path}: no person appears twice, so it has no judge of its own; give --verifier"
        )
    found, said = price_of(decided, judge, fabric), console()
    for table in price_tables(found):
        said.print(table)
    if out is not None:
        write_json(out, to_dict(found))
        said.print(f"figures: {out}", soft_wrap=True)


def _say(report: AuditReport, out: Path) -> None:
    """Show what was found, and which guards did not hold or are unknown: a figure beside them is not what it seems."""
    from oneway.auditing.audit import PAGE
    from oneway.report.table import audit_tables

    said = console()
    for table in audit_tables(report):
        said.print(table)
    for guard in report.guards:
        if not guard.passed:
            state = "is unknown" if guard.passed is None else "FAILED"
            said.print(marked(f"guard {state}", f": {guard.name}: {guard.message}"), soft_wrap=True)
    said.print(marked(report.verdict.level, f": {report.verdict.sentence}"))
    said.print(f"report: {out / PAGE}", soft_wrap=True)
