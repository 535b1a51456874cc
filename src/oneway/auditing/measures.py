"""The attacks of an audit, in their order; each is a step that is taken once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from oneway.attacks.fit import Place
from oneway.attacks.panel import SOLVED, Attacker, attackers, trained
from oneway.auditing import inference, labels, reconstruction, renewal, white_box
from oneway.auditing.attributes import inferred
from oneway.auditing.context import AuditContext
from oneway.auditing.decisions import attack_decisions, drawn_from_decisions
from oneway.auditing.steps import StepResult, refused
from oneway.judges.judge import Judge

Panel = dict[str, Attacker]
ALONE = "left out: one attacker alone was asked for"
"""Why an audit by one attacker has nothing else."""


def measure(context: AuditContext) -> dict[str, StepResult]:
    """Take every step of the audit, or find it taken; gives what each found, by name."""
    found: dict[str, StepResult] = {}

    def take(name: str, make: Callable[..., StepResult], *given: Any) -> None:
        def made(place: Place) -> StepResult:
            # No step depends on what those before it drew, so it is the same after a kill.
            with context.seeded(name):
                return make(context, place, *given)

        found[name] = context.steps.take(name, made)

    def unless(left_out: str | None, name: str, make: Callable[..., StepResult], *given: Any) -> None:
        """Take a step, unless there is a reason to leave it out."""
        take(name, make if left_out is None else lambda *_: refused(left_out), *given)

    alone = None if context.config.alone is None else ALONE
    brief = alone or ("left out: the audit is brief" if context.config.brief else None)
    take("floors", reconstruction.floors)
    panel = panel_to_train(context)
    for label, attacker in panel.items():
        take(f"inversion {label}", reconstruction.inversion, attacker, label)
    again = trained_again(context, found, panel)
    for label, attacker in again.items():
        take(f"inversion {label}", reconstruction.inversion, attacker, label)
    panel |= again
    for judge in context.judges:
        unless(alone, judge.key("feature"), inference.predicted, judge, found)
    unless(alone, "linkage", inference.linked, found)
    unless(alone, "scatter", inference.scattered)
    deciding = decisions_panel(context)
    for label, attacker in deciding.items():
        take(f"decisions {label}", drawn_from_decisions, attacker, label)
    take("decisions", attack_decisions, {label: found[f"decisions {label}"] for label in deciding})
    unless(brief, "inference", inferred)
    unless(brief, "information", inference.informed)
    unless(brief, "bound", inference.bounded)
    unless(brief, "optimisation", white_box.optimised, found)
    best = labels.strongest(labels.panel_of(found), context.judge)
    unless(brief, "averaging", reconstruction.averaging, panel[best], best, found)
    unless(alone, "renewal", renewal.linked, found)
    if alone is None and context.other is not None:
        take("renewal, within one", renewal.within)
        for which, name in renewal.RENEWAL.items():
            if name not in found:
                take(name, partial(renewal.drawn, both=which == renewal.BOTH))
    if brief is None:
        learner = few_queries(found, context.judge)
        for number in context.config.queries:
            if number < len(context.pack.public):
                take(f"queries {number}", reconstruction.queried, panel[learner], number)
    return found


def few_queries(found: Mapping[str, StepResult], judge: Judge) -> str:
    """Name the attacker who makes the query curve: of those who learn from few pairs the one that draws best with all.

    Larger decoders need more pairs than these: with few they draw worse.
    """
    panel = labels.panel_of(found)
    return labels.strongest({name: step for name, step in panel.items() if known_attacker(name).few}, judge)


def known_attacker(label: str) -> Attacker:
    """Give the attacker of a label, of whichever seed."""
    return attackers()[labels.attacker_of(label)]


def panel_to_train(context: AuditContext) -> Panel:
    """List the inversion attackers by label, the solved ones first."""
    config = context.config
    if config.alone is not None:
        return {config.alone.decoder: trained(config.alone.decoder, config.alone)}
    panel = {attacker.name: replace(attacker, seed=config.seed) for attacker in SOLVED}
    for name in config.attackers:
        groups = context.surrogates.groups if attackers()[name].surrogate else ((),)
        for group in groups:  # without a verifier to train with there is none, which the report says
            label = name if len(groups) == 1 else f"{name} with {', '.join(group)}"
            panel[label] = replace(attackers()[name], seed=config.seed, trains_with=group)
    return panel


def decisions_panel(context: AuditContext) -> Panel:
    """List the attackers by label who draw from the task's decisions beside the solved ones."""
    known = context.victim.decisions is not None and context.config.decided_by == "panel"
    return {label: each for label, each in panel_to_train(context).items() if known and each.surrogate}


def trained_again(context: AuditContext, found: Mapping[str, StepResult], panel: Panel) -> Panel:
    """List the further trainings of the attackers that are strongest as any judge sees it; a solved one needs none.

    Of all attackers, and of those who did not train with the judge.
    """
    steps = labels.panel_of(found)
    chosen = [
        labels.strongest(known, judge) for judge in context.judges for known in (steps, labels.unseen(steps, judge))
    ]
    return {
        labels.label_of_turn(label, turn): replace(panel[label], seed=context.config.seed + turn - 1)
        for label in dict.fromkeys(chosen)
        for turn in range(2, context.config.seeds + 1)
        if not panel[label].solved
    }
