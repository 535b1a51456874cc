"""The price of each attribute: what the task would give away less if it were not decided.

No encoder gives away less than its task's decisions do (`auditing.decisions`), so what is not decided is protected
best. Nothing is trained for this: ridge regressions are solved, from the decisions to a face verifier's features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from oneway.attacks import feature, kernel, linear
from oneway.attacks.access import FeatureDump
from oneway.attacks.linkage import normalise
from oneway.attacks.pairs import Pairs
from oneway.auditing.victim import from_run
from oneway.data.packed import Pack, Part
from oneway.errors import InputError
from oneway.judges.cache import known_features
from oneway.judges.verifier import Verifier
from oneway.metrics.estimate import by_person, estimate, mean
from oneway.metrics.identity import similarity
from oneway.progress import track
from oneway.protection.run import Run
from oneway.report.price import Price, Prices
from oneway.storage import runs
from oneway.tasks.registry import task_of
from oneway.tasks.task import Task, labels_of, told_by

PENALTY = 1e-3
"""Of the ridge regressions that choose whom to leave out next, for each picture."""
Floats = NDArray[np.float64]
Told = Mapping[str, Floats]
"""What is decided of every picture, as numbers (n, d), by split."""


@dataclass(frozen=True)
class Decided:
    """What a task decides of the pictures of a pack.

    Attributes:
        pack: whose.
        told: as numbers.
        columns: which of these numbers an attribute is told by.
        worth: utility of each attribute, where an encoder decides it.
        by: who decides.

    """

    pack: Pack
    told: Told
    columns: Mapping[str, list[int]]
    worth: Mapping[str, float]
    by: str


def decided_at(place: Path, task: str | None, data: Path | None, fabric: Fabric, *, seed: int) -> Decided:
    """Take what a pack's labels say, or what a finished run decides.

    Args:
        place: the pack or the run.
        task: of a pack: COLUMN or TASK:COLUMN, several with commas between.
        data: of a run: its pack, if it has moved.
        fabric: where a run is asked.
        seed: of the noise behind a run's decisions.

    Raises:
        InputError: if there is neither, or what is given belongs to the other.

    """
    if not (place / runs.CONFIG).exists():
        if data is not None:
            raise InputError(f"--data {data} says where a run's pack is, and {place} is no run; leave it out")
        pack = Pack.open(place)
        return by_labels(pack, task_of(pack, tuple(filter(None, (task or "").split(",")))))
    if task is not None:
        raise InputError(f"--task {task}: {place} is a run, and has a task; leave it out")
    return by_run(Run.open(place, None if data is None else Pack.open(data)), fabric, seed=seed)


def by_labels(pack: Pack, task: Task) -> Decided:
    """Take the labels of a pack: what an encoder would decide that is never wrong, before any is trained."""
    told: dict[str, list[Floats]] = {}
    columns: dict[str, list[int]] = {}
    parts = (pack.public, pack.validation, pack.test)
    for place, column in enumerate(task.columns):
        found = [labels_of(task, part)[:, place].astype(np.float64) for part in parts]
        if pack.kind(column) == "classes":
            classes = np.unique(np.concatenate(found))
            numbers = [(each[:, None] == classes).astype(np.float64) for each in found]
        else:
            numbers = [each[:, None] for each in found]
        first = sum(map(len, columns.values()))
        columns[column] = list(range(first, first + numbers[0].shape[1]))
        for part, each in zip(parts, numbers, strict=True):
            told.setdefault(part.split, []).append(each)
    whole = {split: np.concatenate(each, axis=1) for split, each in told.items()}
    return Decided(pack, whole, columns, {}, "the labels")


def by_run(run: Run, fabric: Fabric, *, seed: int) -> Decided:
    """Take what the encoder of a finished run decides."""
    victim = from_run(run, fabric, seed=seed)
    assert victim.decisions is not None
    columns: dict[str, list[int]] = {}
    for head in run.task.parts:
        first = sum(map(len, columns.values()))
        width = told_by(head, np.zeros((1, head.num_logits), dtype=np.float32)).shape[1]
        if width == len(head.columns):
            columns |= {column: [first + place] for place, column in enumerate(head.columns)}
        else:
            columns[head.decides] = list(range(first, first + width))
    told = {split: each.astype(np.float64) for split, each in victim.decisions.items()}
    worth = {name: figure.value for name, figure in run.report.utility.each.items() if name in columns}
    return Decided(run.pack, told, columns, worth, f"the decisions of {victim.name}")


def price(decided: Decided, verifier: Verifier, fabric: Fabric, *, progress: bool = True) -> Prices:
    """Say what each attribute gives away of how a face verifier sees a person, and in what order to leave them out.

    Args:
        decided: what is decided.
        verifier: whose features are predicted.
        fabric: where regressions are solved.
        progress: show a bar.

    Raises:
        InputError: if there are no two attributes, or what is decided tells nothing of the features.

    """
    names, every = list(decided.columns), frozenset(decided.columns)
    if len(names) < 2:
        raise InputError(f"a price needs two attributes or more, and the task has {', '.join(names) or 'none'}")
    predicted = _Predicted(decided, verifier, fabric.device, progress=progress)
    order = _order(decided, predicted.known)
    kept = [frozenset(order[place:]) for place in range(len(order))]
    wanted = {*kept, *(frozenset({name}) for name in names), *(every - {name} for name in names)}
    seen: dict[frozenset[str], Floats] = {}
    with track("solve", len(wanted), "regressions", enabled=progress) as advance:
        for each in sorted(wanted, key=lambda each: (-len(each), sorted(each))):
            seen[each] = predicted.similarity([name for name in names if name in each])
            advance(1)
    people, floor, whole = decided.pack.test.identities, predicted.floor(), seen[every]
    if whole.mean() <= floor.mean():
        raise InputError(
            f"{decided.by} tell nothing of what {verifier.name} sees: the similarity is {whole.mean():.3f}, and "
            f"{floor.mean():.3f} for who knows nothing; no attribute has a price"
        )

    def share(name: str, values: Floats) -> Price:
        totals = by_person(np.stack([values, whole - floor], axis=1), people)
        found = estimate(totals, lambda sums: sums[:, 0] / sums[:, 1], unit="share")
        return Price(name=name, share=found, worth=decided.worth.get(name))

    costs = [share(name, whole - seen[every - {name}]) for name in names]
    alone = [share(name, seen[frozenset({name})] - floor) for name in names]
    path = [share(name, seen[left] - floor) for name, left in zip(order[:-1], kept[1:], strict=True)]
    return Prices(
        by=decided.by,
        judge=verifier.name,
        similarity=mean(whole, people, unit="cosine"),
        floor=mean(floor, people, unit="cosine"),
        without=sorted(costs, key=lambda each: -each.share.value),
        alone=sorted(alone, key=lambda each: -each.share.value),
        left_out=path,
    )


class _Predicted:
    """Predicts a verifier's features by a kernel ridge regression, from some of what is decided."""

    def __init__(self, decided: Decided, verifier: Verifier, device: torch.device, *, progress: bool) -> None:
        self._decided, self._device = decided, device
        pack = decided.pack
        parts: tuple[Part, ...] = (pack.public, pack.validation, pack.test)
        self.known = {part.split: known_features(verifier, part, progress=progress) for part in parts}

    def floor(self) -> Floats:
        """Give the similarity of the mean feature to every test picture's: what is predicted knowing nothing."""
        constant = normalise(self.known["public"].mean(axis=0, keepdims=True))
        found: Floats = (self.known["test"] @ constant[0]).astype(np.float64)
        return found

    def similarity(self, names: Sequence[str]) -> Floats:
        """Give the similarity of what some attributes predict of every test picture to its own features: (n,)."""
        pack, chosen = self._decided.pack, [place for name in names for place in self._decided.columns[name]]
        # Of the bits of one attribute there is no more to know than what is linear.
        bits = len(names) == 1 and bool(np.isin(self._decided.told["public"][:, chosen], (0, 1)).all())
        dump = FeatureDump(
            {split: told[:, chosen].astype(np.float32) for split, told in self._decided.told.items()},
            self._device,
        )
        pairs = Pairs(access=dump, fitted_on=dump, public=pack.public)
        fitted = feature.solve(linear.regress if bits else kernel.regress, pairs, pack.validation, self.known)
        return similarity(feature.predict(dump, fitted.network, pack.test), self.known["test"])


def _order(decided: Decided, known: Mapping[str, NDArray[np.float32]]) -> list[str]:
    """Order the attributes as they are best left out, one after the other, by validation people.

    Each time the one goes without which a ridge regression from the others predicts least.
    """
    names = list(decided.columns)
    public, validation = decided.told["public"], decided.told["validation"]
    centre, deviation = public.mean(axis=0), public.std(axis=0)
    public, validation = ((each - centre) / np.where(deviation > 0, deviation, 1) for each in (public, validation))
    middle = known["public"].mean(axis=0, dtype=np.float64)
    gram, cross = public.T @ public / len(public), public.T @ (known["public"] - middle) / len(public)

    def reached(left: Sequence[str]) -> float:
        chosen = [place for name in left for place in decided.columns[name]]
        weights = np.linalg.solve(gram[np.ix_(chosen, chosen)] + PENALTY * np.eye(len(chosen)), cross[chosen])
        predicted = normalise(validation[:, chosen] @ weights + middle)
        return float(similarity(predicted.astype(np.float32), known["validation"]).mean())

    order: list[str] = []
    while len(names) > 1:
        least = min(names, key=lambda name: reached([each for each in names if each != name]))
        names.remove(least)
        order.append(least)
    return [*order, *names]
