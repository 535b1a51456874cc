"""Results of what is finished: read, and held to the question that is asked now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from oneway.errors import InputError
from oneway.report.asked import Named
from oneway.storage import runs


def require_fingerprint(judge: Named, what: str) -> None:
    """Refuse a judge that cannot be told from others, where it must be: `what` is to have been judged by it too."""
    if judge.name is not None and judge.fingerprint is None:
        raise InputError(
            f"the verifier {judge.name!r} has no fingerprint, so whether it judged {what} cannot be said; give it "
            "one, a sha256 over all that decides its features"
        )


def check_same_judges(path: Path, theirs: Sequence[Named], ours: Sequence[Named]) -> None:
    """Hold the judges of a control to ours, by their fingerprints, in their order: attackers train with the first ones.

    Raises:
        InputError: if they are not the same, or this cannot be said.

    """
    for judge in ours:
        require_fingerprint(judge, f"the control {path}")
    if [judge.fingerprint for judge in theirs] != [judge.fingerprint for judge in ours]:
        raise InputError(
            f"the control {path} was judged by {_all(theirs)}, not by {_all(ours)}; judge both by the same "
            "verifier, several in the same order: give the control's with --verifier, or make the control again"
        )


def check_same_names(folder: Path, ours: Sequence[Named]) -> None:
    """Hold the names of several judges to those that an unfinished audit was begun with: its steps are kept by them.

    A judge alone may be called otherwise.

    Raises:
        InputError: naming the first that is called otherwise.

    """
    begun = runs.flat(runs.read_json(folder / runs.CONFIG))
    for place, judge in enumerate(ours if len(ours) > 1 else (), 1):
        name = begun.get(f"judges.{place}.name")
        if judge.name != name:
            raise InputError(
                f"{folder} was started with the verifier {name!r}, which is {judge.name!r} now: what is finished is "
                "kept by the names of several judges; call it so again, choose another --out, or delete the folder"
            )


def _all(judges: Sequence[Named]) -> str:
    return " and ".join(map(str, judges)) or "no verifier"


def check_same_settings(path: Path, theirs: Mapping[str, object], ours: Mapping[str, object], command: str) -> None:
    """Hold the settings of a control to ours, field by field; `command` makes it anew.

    Raises:
        InputError: naming the first field that differs, and its two values.

    """
    held, asked = runs.flat(theirs), runs.flat(ours)
    for name in [*asked, *(name for name in held if name not in asked)]:
        if held.get(name) != asked.get(name):
            raise InputError(
                f"the control {path} was made with {name} = {held.get(name)!r}, not {asked.get(name)!r}: a control is "
                "the same attack on the same network and data, without protection; give both the same settings, or "
                f"make the control again: {command}"
            )


def without(config: Mapping[str, object], *names: str) -> dict[str, object]:
    """Leave fields out of a configuration: those that decide no figure, such as where it runs."""
    return {name: value for name, value in config.items() if name not in names}
