"""Audit any encoder: every attack, beside floors and control, one results file, one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from torch import nn

from oneway.auditing import guards
from oneway.auditing.assemble import assemble, foremost, per_picture, pictures_of, strongest_pictures
from oneway.auditing.beside import planned, side_by_side
from oneway.auditing.config import AuditConfig
from oneway.auditing.control import PICTURES, SCORES, Control, check_question, is_run, open_control
from oneway.auditing.keeping import leave
from oneway.auditing.measures import measure
from oneway.auditing.opening import FEATURES, Work
from oneway.auditing.order import anonymous, hidden_order
from oneway.auditing.question import check_same_names, require_fingerprint, without
from oneway.auditing.renewal import open_other
from oneway.auditing.steps import FOLDER
from oneway.auditing.surrogates import open_surrogates
from oneway.auditing.victim import Victim, from_bundle, from_dump, from_module, from_onnx, from_run
from oneway.config import to_dict
from oneway.data.duplicates import duplicates
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.judge import identified
from oneway.judges.verifier import Verifier
from oneway.models.exporting import check_exporter
from oneway.models.generator import open_generator
from oneway.models.perceptual import open_perceptual
from oneway.protection.run import Run
from oneway.report.asked import Asked, Data, Question
from oneway.report.page import write_page
from oneway.report.reports import AuditReport
from oneway.report.values import SCHEMA
from oneway.runtime import launch
from oneway.shipping.contract import is_bundle
from oneway.storage import runs
from oneway.storage.atomic import whole
from oneway.storage.claims import LAYOUT, check_claim, claim, tidy

PAGE = "report.html"


def audit(
    victim: nn.Module | Run | Path | str | None = None,
    *,
    features: Path | str | None = None,
    data: Pack | Path | str | None = None,
    cut: str = "output",
    control: Path | str | None = None,
    out: Path | str | None = None,
    config: AuditConfig | None = None,
    verifier: Verifier | Sequence[Verifier] | None = None,
    network: nn.Module | None = None,
    images: bool = False,
    resume: bool = False,
    jobs: int | None = 1,
    progress: bool = True,
) -> AuditReport:
    """Say what someone learns who steals an encoder's features: run every attack, and judge by the strongest.

    Args:
        victim: a torch module, a finished protect run or its folder, an ONNX file, or the folder of a bundle, whose
            bytes are attacked as they are sent.
        features: stored features instead, as `data.dump` describes them.
        data: the pack to audit on; a run's own by default.
        cut: the layer of a torch module after which features leave the device; all of it by default.
        control: the unprotected encoder to compare with: the folder of its audit, or of an unprotected run, which is
            then audited first, in its own folder, unless it was before.
        out: a new folder; `audit` in the run's own, or here, by default.
        config: the attacks and their budgets.
        verifier: compares faces, one or several, each another network; without one there are no identity scores of
            reconstructions. Attackers train with the first ones, see `AuditConfig.surrogates`; figures of faces are the
            worst that a judge sees of attackers who did not train with it, those of features the worst of all judges.
        network: a module of the class that a run protects, if it is one of your own.
        images: show pictures of test people, and what was drawn of them, in the report, and keep them in the folder.
            Without, none is written anywhere; drawn faces are shown all the same.
        resume: continue the unfinished audit in `out`.
        jobs: processes that take attacks side by side; None for one a processor, four at most, where the audit takes
            minutes and no GPU. A script that asks for several must be guarded by `if __name__ == "__main__"`.
        progress: show a bar for each attack.

    Returns:
        the report, which `results.json` holds too.

    Raises:
        InputError: for anything that cannot be used, and where a number would say nothing (see docs/audit.md).
        DivergedError: if an attacker's error is no longer finite.

    """
    config = config or AuditConfig()
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be 1 or more, not {jobs}; leave it out for as many as are worth while")
    fabric = launch(config.runtime)
    pack = data if isinstance(data, Pack) or data is None else Pack.open(data)
    opened = _open(victim, features, pack, cut, network, fabric, config)
    passed = guards.check_people(opened.pack, judged=config.alone is None)
    passed += guards.check_range(opened.kind, config.pixels)
    passed += guards.check_company(opened.encoder, opened.pack, fabric.device)
    folder = _home(opened, out)
    check_claim(folder, resume=resume)
    if config.keep:
        check_exporter()
    if config.perceptual is not None:
        open_perceptual(config.perceptual)
    if config.generator is not None:
        open_generator(config.generator, opened.pack.size)
    images = images or opened.pack.drawn
    other = open_other(config, opened, fabric, network)
    settings = runs.named(config) | ({} if other is None else {"renewed": _told(other)})
    question = Question(audit=settings, victim=opened.identity, data=Data(**opened.pack.about), images=images)
    verifiers = _several(verifier)
    if control is not None:
        check_question(Path(control), opened, question)
    doubled = duplicates(opened.pack, progress=progress)
    passed += guards.check_pictures(doubled)
    doubts = guards.doubts(opened.pack, doubled)
    # All else is checked, so the pack's own judge may be trained now, and any judge be held to real pictures.
    guards.check_distinct(verifiers, opened.pack)
    surrogates = open_surrogates(verifiers, config, opened.pack, fabric.device)
    asked = Asked(**vars(question), judges=[identified(each) for each in verifiers])
    beside = None
    if control is not None:  # perhaps an audit of its own, which takes hours
        alone = None if config.alone is None else replace(config.alone, keep=False)
        unkept = replace(config, renewed=None, keep=False, alone=alone)
        again = _Again(config=unkept, verifiers=verifiers, network=network, images=images, jobs=jobs, progress=progress)
        beside = _control(Path(control), opened, asked, again)
    work = Work(victim=opened, verifiers=verifiers, config=config, folder=folder, images=images, other=other)
    with claim(folder, {LAYOUT: SCHEMA, **to_dict(asked)}, resume=resume) as continued:
        if continued:
            for judge in asked.judges:
                require_fingerprint(judge, f"what is finished in {folder}")
            check_same_names(folder, asked.judges)
        context = work.open(fabric, surrogates, progress=progress)
        with opened.seeded(config.seed, "guards"):
            passed += guards.check_features(context.stolen.access, opened.pack)
        with side_by_side(work, planned(work, context, jobs)):
            found = measure(context)
        report = assemble(found, context, passed, doubts, beside, asked)
        order = hidden_order(opened.pack.test)
        scores = {name: values[order] for name, values in per_picture(found, report.attacks, context.judges).items()}
        people = anonymous(opened.pack.test.identities[order])
        with whole(folder / SCORES) as partial, partial.open("wb") as file:
            np.savez_compressed(file, people=people, **scores)  # type: ignore[arg-type]
        if images:
            with whole(folder / PICTURES) as partial, partial.open("wb") as file:
                np.save(file, strongest_pictures(found, report))
        write_page(report, pictures_of(found, report, opened.pack, beside) if images else None, folder / PAGE)
        if config.keep:
            leave(context, foremost(report.attacks), folder)
        runs.write_json(folder / runs.RESULTS, to_dict(report))
        tidy(folder, FEATURES, FOLDER)
        return report


def _told(other: Victim) -> str:
    """Name another encoder by what tells it from any other, and not by where it lies."""
    return f"{other.name}@{str(other.identity['hash'])[:12]}"


def _several(verifier: Verifier | Sequence[Verifier] | None) -> tuple[Verifier, ...]:
    """Give the verifiers as a tuple, each with a name of its own."""
    if verifier is None:
        return ()
    verifiers = tuple(verifier) if isinstance(verifier, Sequence) else (verifier,)
    names = [each.name for each in verifiers]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"two verifiers are called {doubled!r}; give each once, in files of different names")
    return verifiers


def _open(
    victim: nn.Module | Run | Path | str | None,
    features: Path | str | None,
    pack: Pack | None,
    cut: str,
    network: nn.Module | None,
    fabric: Fabric,
    config: AuditConfig,
) -> Victim:
    if (victim is None) == (features is None):
        raise InputError("give either an encoder (a run's folder, an ONNX file, a module) or stored features, not both")
    if isinstance(victim, Run):
        return from_run(victim, fabric, network, seed=config.seed)
    if isinstance(victim, nn.Module) or victim is None or Path(victim).suffix.lower() == ".onnx":
        if pack is None:
            raise InputError("an encoder that was not trained here is audited on a pack; name it with --data")
        if features is not None:
            return from_dump(Path(features), pack)
        if isinstance(victim, nn.Module):
            return from_module(victim, cut, pack, fabric, config.output)
        return from_onnx(Path(str(victim)), pack, config.pixels, config.output)
    if is_bundle(Path(victim)):
        if pack is None:
            raise InputError("a bundle holds no pictures, and is audited on a pack; name it with --data")
        return from_bundle(Path(victim), pack, seed=config.seed)
    return from_run(Run.open(victim, pack), fabric, network, seed=config.seed)


def _home(victim: Victim, out: Path | str | None) -> Path:
    if out is not None:
        return Path(out)
    return Path("audit") if victim.path is None else victim.path / "audit"


@dataclass(frozen=True, kw_only=True)
class _Again:
    """How to audit a control: as its victim."""

    config: AuditConfig
    verifiers: tuple[Verifier, ...]
    network: nn.Module | None
    images: bool
    jobs: int | None
    progress: bool


def _control(path: Path, victim: Victim, asked: Asked, again: _Again) -> Control:
    """Open the audit of the control; an unprotected run is audited first, unless it was before."""
    for judge in asked.judges:
        require_fingerprint(judge, f"the control {path}")
    if is_run(path):
        run = Run.open(path, victim.pack)
        idle = ("runtime", "renewed", "keep", *(() if again.config.generator else ("generator",)))
        settings = [
            without(runs.named(again.config), *idle),
            [judge.fingerprint for judge in asked.judges],
            SCHEMA,
            asked.data.hash,
        ]
        path = path / f"audit-{runs.digest(settings)}"
        if not (path / runs.RESULTS).exists():
            audit(
                run,
                out=path,
                config=again.config,
                verifier=again.verifiers,
                network=again.network,
                images=again.images,
                resume=True,
                jobs=again.jobs,
                progress=again.progress,
            )
    return open_control(path, victim, asked)
