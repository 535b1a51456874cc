"""The attacks of an audit; each is a step that is taken once, by one of the processes that work on the audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from oneway.attacks.fit import Place
from oneway.attacks.panel import SOLVED, Attacker, attackers, trained
from oneway.auditing import capacity, inference, labels, reconstruction, renewal, white_box
from oneway.auditing.attributes import inferred
from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext
from oneway.auditing.decisions import attack_decisions, drawn_from_decisions
from oneway.auditing.steps import StepResult, refused
from oneway.judges.judge import Judge

Panel = dict[str, Attacker]
Found = dict[str, StepResult]
ALONE = "left out: one attacker alone was asked for"
"""Why an audit by one attacker has nothing else."""
PAUSE = 0.5
"""Seconds until it is looked again whether what another process is at is finished."""


@dataclass(frozen=True)
class Step:
    """One step of an audit.

    Attributes:
        make: finds what it finds.
        after: the steps of the same stage that must be taken before.
        long: whether it trains through judges, and is begun first where several processes work.

    """

    make: Callable[[AuditContext, Place], StepResult]
    after: tuple[str, ...] = ()
    long: bool = False


def measure(context: AuditContext) -> Found:
    """Take every step of the audit, or find it taken; gives what each found, by name.

    Several processes may do so at once: each takes the steps that no other is at, and waits for those of the others.
    """
    found: Found = {}
    for stage in stages(context, found):
        taken: Found = {}
        while len(taken) < len(stage):
            name = _next(context, stage, taken)
            if name is None:
                time.sleep(PAUSE)
        found |= {name: taken[name] for name in stage}
    return found


def _next(context: AuditContext, stage: Mapping[str, Step], taken: Found) -> str | None:
    """Take the first step of a stage that can be taken now, and name it; none if other processes are at all of them."""
    ready = [name for name, step in stage.items() if name not in taken and set(step.after) <= set(taken)]
    for name in sorted(ready, key=lambda name: not stage[name].long):

        def made(place: Place, name: str = name) -> StepResult:
            # No step depends on what those before it drew, so it is the same after a kill, and in another process.
            with context.seeded(name):
                return stage[name].make(context, place)

        result = context.steps.take(name, made)
        if result is not None:
            taken[name] = result
            return name
    return None


def stages(context: AuditContext, found: Found) -> Iterator[dict[str, Step]]:
    """Give the steps of an audit, stage by stage: those of one need what those before it have found.

    Args:
        context: the audit.
        found: what the steps of the stages before have found, when the next is asked for.

    """
    alone = None if context.config.alone is None else ALONE
    brief = alone or ("left out: the audit is brief" if context.config.brief else None)

    def unless(left_out: str | None, make: Callable[[AuditContext, Place], StepResult]) -> Step:
        """Make a step, unless there is a reason to leave it out."""
        return Step(make if left_out is None else lambda *_: refused(left_out))

    panel, deciding = panel_to_train(context), decisions_panel(context)
    yield {"floors": Step(reconstruction.floors)}
    yield {
        **{f"inversion {label}": _drawing(label, attacker, panel, context) for label, attacker in panel.items()},
        **{
            f"decisions {label}": Step(partial(drawn_from_decisions, attacker=attacker, label=label), long=True)
            for label, attacker in deciding.items()
        },
        "scatter": unless(alone, inference.scattered),
        "inference": unless(brief, inferred),
        "information": unless(brief, inference.informed),
        "bound": unless(brief, inference.bounded),
        "capacity": unless(alone, capacity.passed),
    }
    again = trained_again(context, found, panel)
    yield {f"inversion {label}": _drawing(label, attacker, again, context) for label, attacker in again.items()}
    panel |= again
    best = labels.strongest(labels.panel_of(found), context.judge)
    further = {label: found[f"decisions {label}"] for label in deciding}
    yield {
        **{
            judge.key("feature"): unless(alone, partial(inference.predicted, judge=judge, found=found))
            for judge in context.judges
        },
        "decisions": Step(partial(attack_decisions, further=further)),
        "optimisation": unless(brief, partial(white_box.optimised, found=found)),
        "averaging": unless(brief, partial(reconstruction.averaging, attacker=panel[best], label=best, found=found)),
        **({} if brief else _queried(context, panel[few_queries(found, context.judge)])),
    }
    yield {
        "linkage": unless(alone, partial(inference.linked, found=found)),
        "renewal": unless(alone, partial(renewal.linked, found=found)),
        **(_renewed(found) if alone is None and context.other is not None else {}),
    }


def _drawing(label: str, attacker: Attacker, panel: Panel, context: AuditContext) -> Step:
    """Make the step of an inversion attacker, after the one whose decoder it goes on from."""
    goes_on = attacker.goes_on(context.stolen.access.shape) and attacker.start in panel
    make = partial(reconstruction.inversion, attacker=attacker, label=label, keeping=context.config.keep)
    return Step(make, after=(f"inversion {attacker.start}",) if goes_on else (), long=not attacker.solved)


def _renewed(found: Found) -> dict[str, Step]:
    """Make the steps of who draws from the features of another encoder too, and of who links those of one."""
    drawing = {
        name: Step(partial(renewal.drawn, both=which == renewal.BOTH))
        for which, name in renewal.RENEWAL.items()
        if name not in found
    }
    return {"renewal, within one": Step(renewal.within), **drawing}


def _queried(context: AuditContext, learner: Attacker) -> dict[str, Step]:
    """Make the steps of the query curve."""
    fewer = [number for number in context.config.queries if number < len(context.pack.public)]
    return {
        f"queries {number}": Step(partial(reconstruction.queried, attacker=learner, number=number)) for number in fewer
    }


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
    return configured_panel(context.config, context.surrogates.groups)


def configured_panel(config: AuditConfig, groups: Sequence[tuple[str, ...]]) -> Panel:
    """List the inversion attackers that a configuration has; see `panel_to_train`.

    Args:
        config: the audit's.
        groups: the names of the verifiers that one training has at once.

    """
    if config.alone is not None:
        return {config.alone.decoder: trained(config.alone.decoder, config.alone)}
    panel = {attacker.name: replace(attacker, seed=config.seed) for attacker in SOLVED}
    for name in config.panel:
        having = groups if attackers()[name].surrogate else ((),)
        for group in having:  # without a verifier to train with there is none, which the report says
            label = name if len(having) == 1 else f"{name} with {', '.join(group)}"
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
