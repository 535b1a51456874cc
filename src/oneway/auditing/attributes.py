"""The step of an audit that infers attributes which were not the task, from features and from decisions alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oneway.attacks import inference
from oneway.attacks.fit import Place
from oneway.auditing.context import AuditContext, course
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.errors import InputError
from oneway.metrics.classification import confusion
from oneway.metrics.estimate import Estimate
from oneway.report.values import INFERRED, Course, Scores, Way
from oneway.tasks.registry import USUAL, made
from oneway.tasks.task import Task, utility_of

DECIDED = "the task's decisions alone"
LEFT_OUT = "left out"


def inferred(context: AuditContext, place: Place) -> StepResult:
    """Infer the attributes of the pack that the encoder's task does not decide.

    Binary ones by one probe, of classes and of numbers by one each. Those that some pictures have no label of, or that
    nothing can be learned about, are left out, with the reason.
    """
    pack, task = context.pack, context.victim.task
    asked = [name for name in pack.attributes if task is None or name not in task]
    if not asked:
        return refused(
            "the pack has no attributes"
            if not pack.attributes
            else "every attribute of the pack is the encoder's task, so there is none to infer that it should not tell"
        )
    parts = (pack.public, pack.validation, pack.test)
    silent = {name: f"{sum(part.missing(name) for part in parts)} pictures have no label of it" for name in asked}
    left_out = {name: why for name, why in silent.items() if not why.startswith("0 ")}
    asked = [name for name in asked if name not in left_out]
    binary = [name for name in asked if pack.kind(name) == "binary"]
    tasks: dict[str, Task] = {}
    for name in (name for name in asked if name not in binary):
        try:
            tasks[name] = made(USUAL[pack.kind(name)], (name,), pack.public, (pack.validation, pack.test))
        except InputError as error:
            left_out[name] = str(error).partition("; ")[0]
    if not binary and not tasks:
        return refused(f"no attribute can be inferred: {said(left_out)}")
    arrays: dict[str, NDArray[np.float64]] = {}
    courses: list[Course] = []
    if binary:
        found, arrays = _binary(context, place, tuple(binary))
        courses.append(found)
    scores: Scores = {}
    decided: Scores = {}
    for number, (name, each) in enumerate(tasks.items()):
        apart = replace(place, checkpoint=place.checkpoint.with_suffix(f".{number}{place.checkpoint.suffix}"))
        found, scores[INFERRED + name], alone = _further(context, apart, each)
        courses.append(found)
        if alone is not None:
            decided[INFERRED + name] = alone
    facts = StepFacts(
        course=max(courses, key=lambda one: not one.converged),  # one that its budget ended, if any was
        attributes=binary,
        scores=scores,
        ways={DECIDED: Way(scores=decided)} if decided else {},
        facts={LEFT_OUT: said(left_out)} if left_out else {},
    )
    return StepResult(facts=facts, arrays=arrays)


def said(left_out: Mapping[str, str]) -> str:
    """Say which attributes were left out, and why."""
    return "; ".join(f"{name}: {why}" for name, why in left_out.items())


def _binary(
    context: AuditContext, place: Place, asked: tuple[str, ...]
) -> tuple[Course, dict[str, NDArray[np.float64]]]:
    """Infer binary attributes: gives the confusion of every test picture, by features and by decisions."""
    pack, access = context.pack, context.stolen.access
    config = context.config.inference.within(context.config.steps)
    fitted = inference.infer(access, pack.public, pack.validation, asked, config, place)
    told_by_probe = inference.predict_attributes(access, fitted.network, pack.test)
    labels = pack.test.labels(asked)
    arrays = {"confusion": confusion(told_by_probe, labels)}
    decisions = context.victim.decisions
    if decisions is not None:
        known, held = pack.public.labels(asked), pack.validation.labels(asked)
        told = inference.from_decisions(decisions["public"], known, decisions["validation"], held, decisions["test"])
        arrays["confusion decisions"] = confusion(told, labels)
    return course(fitted), arrays


def _further(context: AuditContext, place: Place, task: Task) -> tuple[Course, Estimate, Estimate | None]:
    """Infer a class or a number: gives how well it is told by features, and by decisions alone."""
    pack, access, decisions = context.pack, context.stolen.access, context.victim.decisions
    config = context.config.inference.within(context.config.steps)
    fitted = inference.infer_task(access, pack.public, pack.validation, task, config, place)
    labels, people = task.labels(pack.test), pack.test.identities
    told = inference.logits_of(access, fitted.network, pack.test).numpy()
    alone = None
    if decisions is not None:
        known = task.labels(pack.public).astype(np.float64)
        by_decisions = inference.task_from_decisions(task, decisions["public"], known, decisions["test"])
        alone = utility_of(task, by_decisions, labels, people).value
    return course(fitted), utility_of(task, told, labels, people).value, alone
