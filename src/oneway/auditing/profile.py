"""What standards ask of protected biometric features (ISO/IEC 24745), gathered from what an audit found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from oneway.auditing.attack_results import estimates_of, linkage_of
from oneway.auditing.context import AuditContext
from oneway.auditing.control import Control
from oneway.auditing.judged import by_judge
from oneway.auditing.labels import panel_of, strongest, trained_with
from oneway.auditing.renewal import BOTH, RENEWAL
from oneway.auditing.steps import StepResult
from oneway.data.packed import Part
from oneway.judges.judge import Judge
from oneway.metrics.estimate import mean
from oneway.metrics.registry import metrics
from oneway.metrics.unlinkability import MEASURES
from oneway.report.judging import JudgeReport, Recognised
from oneway.report.profile import Profile, Renewability, SuccessOfAttack
from oneway.report.values import Attacks, Floors, Number, OrRefused, Refused, Way, scores_of


def profile(
    found: Mapping[str, StepResult],
    context: AuditContext,
    seen: Sequence[JudgeReport],
    attacks: Attacks,
    chance: Floors,
    control: Control | None,
) -> Profile:
    """Gather the figures, with who is assumed to hold what.

    Args:
        found: what the steps found.
        context: of the audit.
        seen: what each judge says.
        attacks: the results of the attacks.
        chance: what linkage reaches where there is nothing to link.
        control: the unprotected encoder's audit.

    """
    reports = {report.name: report for report in seen}
    accepted = [
        row
        for judge in context.judges
        if judge.name in reports
        for row in _accepted(found, judge, reports[judge.name], context)
    ]
    nobody = Refused(refused="there is no verifier, so whether a face is accepted as the person is unknown")
    return Profile(
        assumed=_assumed(context, found),
        irreversibility=accepted or nobody,
        unlinkability=_unlinkability(attacks, chance, control),
        renewability=_renewability(found, context),
    )


def _accepted(
    found: Mapping[str, StepResult], judge: Judge, report: JudgeReport, context: AuditContext
) -> Iterator[SuccessOfAttack]:
    """Say how much a judge accepts of its strongest attackers, those who did not train with it and all; and of others.

    The others are who has several answers and who has the weights, as far as the judge looked at what they drew.
    """
    panel, key = panel_of(found), judge.key("picture_similarity")
    every = {faces.attacker: faces for faces in (report.independent, report.pictures) if faces is not None}
    single = SuccessOfAttack(
        judge=judge.name,
        trained_with=False,
        threat_model="feature dump" if context.victim.encoder is None else "black box",
        answers=1,
        attacker="",
        recognised=[],
    )
    for attacker, faces in every.items():
        saw = trained_with(panel[attacker], judge)
        yield replace(single, attacker=attacker, trained_with=saw, recognised=faces.recognised)
    for name, model in {"averaging": "black box", "optimisation": "white box"}.items():
        step = found[name]
        if key not in step.arrays or report.pictures is None:
            continue
        drew = str(step.facts.facts.get("strongest"))
        yield replace(
            single,
            trained_with=trained_with(panel.get(drew, step), judge),
            threat_model=model,
            answers=int(step.facts.facts.get("draws", 1)),
            attacker=str(step.facts.facts.get("attacker", drew)),
            recognised=_at_each_rate(found, step, judge, report.pictures.recognised),
        )


def _at_each_rate(
    found: Mapping[str, StepResult], step: StepResult, judge: Judge, like: Sequence[Recognised]
) -> list[Recognised]:
    """Give the share of a step's reconstructions that a judge accepts, by the thresholds that it has elsewhere."""
    key, index = judge.key("picture_similarity"), step.arrays.get("index", slice(None))
    ours, floor = step.arrays[key], found["floors"].arrays[f"mean_picture {key}"][index]
    people = judge.test.identities[index]
    rows = []
    for each in like:
        share, none = (
            None if each.threshold is None else mean((values > each.threshold).astype(np.float64), people, unit="share")
            for values in (ours, floor)
        )
        rows.append(replace(each, share=share, floor=none, control=None))
    return rows


def _unlinkability(attacks: Attacks, chance: Floors, control: Control | None) -> OrRefused[list[Number]]:
    """Give how far all scores together link stolen features to photographs."""
    linkage = attacks["linkage"]
    if isinstance(linkage, Refused):
        return linkage
    theirs = {} if control is None else scores_of(control.report.attacks.get("linkage"))
    numbers = [
        Number(
            title=metrics()[name].title,
            metric=name,
            value=value,
            floor=chance.get(name),
            control=theirs.get(name),
            leakage=None,
            decides=False,
        )
        for name in MEASURES
        if (value := linkage.scores.get(name)) is not None
    ]
    return numbers or Refused(refused="too few pairs of test pictures are of one person")


def _renewability(found: Mapping[str, StepResult], context: AuditContext) -> OrRefused[Renewability]:
    """Say what features by another encoder are worth to who has those by this one, and both."""
    step = found["renewal"]
    if context.other is None or RENEWAL[BOTH] not in found:
        return step.refusal or Refused(refused="no other encoder was given")
    drawn = {name: found[where] for name, where in RENEWAL.items()}
    return Renewability(
        other=context.other.name,
        across=step.refusal or linkage_of(step),
        within=found["renewal, within one"].facts.scores,
        drawn={
            name: Way(
                scores=estimates_of(context.judge, each),
                judged=by_judge(each, context.judges),
                validation=each.facts.validation,
                seconds=each.facts.seconds,
            )
            for name, each in drawn.items()
        },
        strongest=strongest(drawn, context.judge),
    )


def people_of(part: Part) -> str:
    """Say how many people a part shows: at most, where whom a picture shows is not known of each."""
    return f"{'at most ' if part.num_unknown else ''}{part.num_people} people"


def _assumed(context: AuditContext, found: Mapping[str, StepResult]) -> dict[str, str]:
    """Say who is assumed to hold what."""
    victim, config, pack = context.victim, context.config, context.pack
    public = f"{len(pack.public)} public pictures"
    weights = "nobody who is counted here holds the encoder's weights"
    if found["optimisation"].refusal is None:
        weights = "the white box holds the encoder's weights, and nobody else does"
    queries = f"nobody can ask the encoder; attackers hold its features of {public}"
    if victim.encoder is not None:
        queries = f"attackers send the encoder {public}, mirrored and as often as they like, and read its answers"
    answers = "of each test picture one answer is stolen"
    if found["averaging"].refusal is None:
        answers += f", or {config.draws} where that is said, of which the average is attacked"
    known = ", ".join(judge.name for judge in context.judges if judge.trained_with)
    return {
        "weights": weights,
        "queries": queries,
        "stolen features": f"{answers}; who links them has photographs of the same people, and their features",
        "public pictures": f"{public}, of {people_of(pack.public)}; none is a test person, as far as is known",
        "judges": f"attackers train with {known}; of the others they know nothing while they draw"
        if known
        else "no attacker trains with a judge",
    }
