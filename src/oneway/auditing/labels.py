"""The inversion attackers of an audit by their labels: who is strongest, who is a further training, who saw a judge."""

from __future__ import annotations

from collections.abc import Mapping

from oneway.auditing.steps import StepResult
from oneway.judges.judge import Judge


def panel_of(found: Mapping[str, StepResult]) -> dict[str, StepResult]:
    """Give the steps of the inversion attackers by their labels."""
    return {name.removeprefix("inversion "): step for name, step in found.items() if name.startswith("inversion ")}


def strongest(found: Mapping[str, StepResult], judge: Judge) -> str:
    """Name the inversion attacker that draws faces most like the validation people's, or has the smallest error.

    The latter counts without a verifier.
    """
    wanted = judge.key("picture_similarity")

    def strength(name: str) -> float:
        validation = found[name].facts.validation
        return float(validation.get(wanted, -validation["mse"]))

    return max(found, key=strength)


def label_of_turn(label: str, turn: int) -> str:
    """Name a further training of an attacker, from other initial weights."""
    name, space, group = label.partition(" ")
    return f"{name}-{turn}{space}{group}"


def attacker_of(label: str) -> str:
    """Name the attacker of a label, whatever its seed and the judges that it trained with."""
    return label.partition(" ")[0].partition("-")[0]


def trainings(found: Mapping[str, StepResult], best: str) -> list[str]:
    """Give the labels of the other trainings of an attacker, with the same judges."""

    def known(label: str) -> tuple[str, str]:
        return attacker_of(label), label.partition(" ")[2]

    return [label for label in found if label != best and known(label) == known(best)]


def trained_with(attacker: StepResult, judge: Judge) -> bool:
    """Say whether an attacker trained with a judge; the only one may have been called otherwise then."""
    names = attacker.facts.trained_with
    return bool(names) if judge.alone else judge.name in names


def unseen(panel: Mapping[str, StepResult], judge: Judge) -> dict[str, StepResult]:
    """Keep the inversion attackers who did not train with a judge; the solved ones are always among them."""
    return {label: step for label, step in panel.items() if not trained_with(step, judge)}
