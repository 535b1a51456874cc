"""Results of what is finished: read, and held to the question that is asked now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oneway import runs
from oneway.errors import InputError


def read_results(path: Path, kind: str, command: str) -> dict[str, Any]:
    """Read the results of a kind in the folder `path`; `command` is what makes such a folder.

    Raises:
        InputError: if there are none, or they are of another kind or of another version's layout.

    """
    results = runs.read_json(path / runs.RESULTS)
    if results.get("kind") != kind:
        raise InputError(f"{path} is not a finished {kind}; give the --out of `{command}`")
    if results.get("schema") != runs.SCHEMA:
        raise InputError(
            f"{path} was made by another version of oneway (schema {results.get('schema')}, not {runs.SCHEMA}); make "
            f"it anew, in another folder: {command}"
        )
    return results


def require_fingerprint(judge: Mapping[str, Any], what: str) -> None:
    """Refuse a judge that cannot be told from others, where it must be: `what` is to have been judged by it too."""
    if judge["name"] is not None and judge["fingerprint"] is None:
        raise InputError(
            f"the verifier {judge['name']!r} has no fingerprint, so whether it judged {what} cannot be said; give it "
            "one, a sha256 over all that decides its features"
        )


def check_same_judge(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Hold the judge of a control to ours: both by `name` and `fingerprint`, of which the fingerprint decides.

    Raises:
        InputError: if they are not the same, or this cannot be said.

    """
    require_fingerprint(ours, f"the control {path}")
    if theirs["fingerprint"] != ours["fingerprint"]:
        raise InputError(
            f"the control {path} was judged by {_called(theirs)}, not by {_called(ours)}; judge both by the same "
            "verifier: give the control's with --verifier, or make the control again"
        )


def check_same_settings(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any], command: str) -> None:
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


def without(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Leave fields out of a configuration: those that decide no figure, such as where it runs."""
    return {name: value for name, value in config.items() if name not in names}


def _called(judge: Mapping[str, Any]) -> str:
    """Name a judge, with the start of its fingerprint, since two may have the same name."""
    if judge["name"] is None:
        return "no verifier"
    return f"{judge['name']} ({(judge['fingerprint'] or 'no fingerprint')[:12]})"
