"""A recommendation says what makes it doubtful: whoever's attackers failed leaks least, and is chosen first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import oneway
from audited import figure, refused
from oneway import cli
from oneway.config import from_dict, to_dict
from oneway.protection.config import small
from oneway.report.limits import LEAKAGES
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow
from oneway.report.values import SCHEMA
from oneway.storage import runs
from oneway.sweep.choice import doubts, instead, ranked

pytestmark = pytest.mark.whole

Make = Callable[..., Path]
FAILED = ("monotonicity", "decisions", "control")
SETTINGS = {"noise 1": (0.97, 0.5), "noise 2": (0.96, 0.1), "recipe 1": (0.98, 0.3), "vib 1": (0.5, 0.01)}
"""Shares of utility kept, and leakages, both on validation people."""


def guard(name: str, passed: bool | None) -> dict[str, Any]:
    return {"name": name, "passed": passed, "message": "it is made up"}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a benchmark whose audits have some guards, by settings, and met some attackers that their budget ended."""

    def written(guards: Mapping[str, Sequence[dict[str, Any]]], late: Mapping[str, list[str]] | None = None) -> Path:
        rows = []
        for name, (utility, leakage) in ({"none 0": (1.0, 1.0)} | SETTINGS).items():
            defence, strength = name.split()
            place = f"{defence}-{strength}"
            rows.append(
                {
                    "cut": "layer2",
                    "defence": defence,
                    "strength": float(strength),
                    "utility": figure(0.4, "MCC"),
                    "control_utility": figure(0.5, "MCC"),
                    "leakage": dict.fromkeys(LEAKAGES, figure(0.7, "leakage")),
                    "excess": dict.fromkeys(LEAKAGES, figure(0.6, "leakage")),
                    "strongest": "mirror",
                    "picture_similarity": figure(0.3),
                    "linked": None,
                    "verdict": "partial",
                    "unconverged": (late or {}).get(name, []),
                    "validation": {
                        "utility": utility,
                        "leakage": dict.fromkeys(LEAKAGES, leakage),
                        "excess": dict.fromkeys(LEAKAGES, leakage / 2),
                    },
                    "run": f"runs/{place}",
                    "audit": f"audits/{place}",
                }
            )
            audit = refused() | {"guards": [guard("people", True), guard("groups", None), *guards.get(name, [])]}
            runs.write_json(tmp_path / "audits" / place / runs.RESULTS, audit)
            made = {"protect": to_dict(small()), "network": None, "data": {"path": "../../pack", "hash": "0"}}
            runs.write_json(tmp_path / "runs" / place / runs.CONFIG, made)
            runs.write_json(tmp_path / "runs" / place / runs.RESULTS, {})
        decisions = {"layer2": dict.fromkeys(LEAKAGES, figure(0.1, "leakage"))}
        report = {"schema": SCHEMA, "kind": "benchmark", "rows": rows, "decisions": decisions, "provenance": {}}
        runs.write_json(tmp_path / runs.RESULTS, report)
        return tmp_path

    return written


def read(path: Path) -> BenchmarkReport:
    return from_dict(BenchmarkReport, runs.read_json(path / runs.RESULTS))


def names(rows: Sequence[BenchmarkRow]) -> list[str]:
    return [f"{row.defence} {row.strength:g}" for row in rows]


def test_those_that_keep_to_a_bound_are_ranked(make: Make) -> None:
    report = read(make({}))
    bounds: list[tuple[dict[str, float], list[str]]] = [
        ({"utility": 0.95}, ["noise 2", "recipe 1", "noise 1"]),
        ({"leakage": 0.4}, ["recipe 1", "noise 2", "vib 1"]),
        ({"excess": 0.1}, ["noise 2", "vib 1"]),
    ]
    for bound, expected in bounds:
        assert names(ranked(report, "layer2", **bound)) == expected


def test_without_doubts_nothing_is_said(make: Make) -> None:
    path = make({"noise 1": [guard("monotonicity", False)]}, {"recipe 1": ["feature"]})
    report = read(path)
    rows = ranked(report, "layer2", utility=0.95)
    assert doubts(path, report, rows[0]) == []
    assert instead(path, rows) is None


@pytest.mark.parametrize("name", FAILED)
def test_a_guard_that_does_not_hold_is_said_and_who_keeps_as_much_without(make: Make, name: str) -> None:
    path = make({"noise 2": [guard(name, False)]}, {"recipe 1": ["inversion residual"]})
    report = read(path)
    rows = ranked(report, "layer2", utility=0.95)
    assert names(rows[:1]) == ["noise 2"], "it is recommended still"
    assert doubts(path, report, rows[0]) == [f"the guard '{name}' does not hold (noise 2)"]
    assert instead(path, rows) == (
        "without such doubts: noise 1, which keeps 0.970 of the control's utility and leaves 0.500 of leakage "
        f"(validation people): {path / 'runs' / 'noise-1'}"
    )
    by_excess = ranked(report, "layer2", excess=0.1)
    assert str(instead(path, by_excess, "excess")).startswith(
        "without such doubts: vib 1, which keeps 0.500 of the control's utility and leaves 0.005 of excess"
    )


def test_what_is_doubtful_of_the_control_is_said_once_and_no_other_setting_is_without(make: Make) -> None:
    path = make({"none 0": [guard("monotonicity", False)]}, {"none 0": ["feature"], "noise 2": ["feature"]})
    report = read(path)
    rows = ranked(report, "layer2", utility=0.95)
    assert doubts(path, report, rows[0]) == [
        "the budget ended feature (noise 2, the control)",
        "the guard 'monotonicity' does not hold (the control)",
    ]
    assert str(instead(path, rows)).startswith("without such doubts: recipe 1"), "of its own"
    assert instead(path, rows[:1]) == "no setting that keeps to this is without such doubts"
    assert instead(path, rows[1:]) is None


def test_an_audit_that_is_gone_is_a_doubt_and_a_damaged_one_is_refused(make: Make) -> None:
    path = make({})
    report = read(path)
    rows = ranked(report, "layer2", utility=0.95)
    audit = path / rows[0].audit / runs.RESULTS
    audit.unlink()
    assert doubts(path, report, rows[0]) == [
        "its audit is not there any more, so nothing says whether guards hold (noise 2)"
    ]
    audit.write_text("{}")
    with pytest.raises(oneway.InputError, match=rf"{audit}: "):
        doubts(path, report, rows[0])


def test_the_command_says_doubts_before_where_the_setting_lies(
    make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = make({"noise 2": [guard("control", False)]}, {"noise 2": ["inversion residual"]})
    cli.main(["recommend", str(path), "--cut", "layer2", "--utility", "0.95"])
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("DOUBTFUL: the budget ended inversion residual (noise 2)")
    assert lines[first + 1] == "DOUBTFUL: the guard 'control' does not hold (noise 2)"
    assert lines[first + 2].startswith("without such doubts: recipe 1, which keeps 0.980 of the control's utility")
    assert lines[first + 3] == f"trained already: {path / 'runs' / 'noise-2'}"
    make({})
    cli.main(["recommend", str(path), "--cut", "layer2", "--utility", "0.95"])
    said = capsys.readouterr().out
    assert "DOUBTFUL" not in said
    assert "without such doubts" not in said
