"""The leaderboard: defences at one utility, interpolated along their own strengths, with what makes one doubtful."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oneway
from oneway import cli
from oneway.config import to_dict
from oneway.metrics.estimate import Estimate
from oneway.report.leaderboard import Leaderboard, leaderboard_page, leaderboard_table
from oneway.report.limits import LEAKAGES
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow
from oneway.report.values import Refused
from oneway.storage import runs
from oneway.sweep import store
from oneway.sweep.benchmark import DefencesConfig, compare_defences
from oneway.sweep.executor import Executor
from oneway.sweep.leaderboard import rank

pytestmark = pytest.mark.whole

Curve = Sequence[tuple[float, float, float]]
"""Strengths, each with the share of the control's utility that it keeps and its excess of everything."""
Make = Callable[..., Path]
CONTROL = 0.5
"""The control's utility."""
HALF = 0.01
"""Half of an interval's width."""


def estimate(value: float, half: float = HALF) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=30, unit="share")


@pytest.fixture
def make(compared: BenchmarkReport, compared_at: Path, tmp_path: Path) -> Make:
    """Write a benchmark with curves of one's own, whose audits are those of a real one."""

    def written(
        name: str,
        curves: dict[str, Curve],
        *,
        seed: int = 0,
        change: Callable[[BenchmarkRow], BenchmarkRow] = lambda row: row,
        guards: Sequence[dict[str, Any]] = (),
        half: float = 0.0,
        **asked: Any,
    ) -> Path:
        control, like = compared.rows[0], compared.rows[1]
        folder = tmp_path / name
        for row in (control, like):
            audit = runs.read_json(compared_at / row.audit / runs.RESULTS)
            audit["guards"] = [*guards] if row is like else []
            (folder / row.audit).mkdir(parents=True)
            runs.write_json(folder / row.audit / runs.RESULTS, audit)
        rows = [
            replace(control, utility=estimate(CONTROL, half), control_utility=estimate(CONTROL, half), unconverged=[])
        ]
        rows += [
            change(
                replace(
                    like,
                    defence=defence,
                    strength=strength,
                    utility=estimate(CONTROL * share, half),
                    control_utility=estimate(CONTROL, half),
                    excess=dict.fromkeys(LEAKAGES, estimate(excess)),
                    unconverged=[],
                )
            )
            for defence, curve in curves.items()
            for strength, share, excess in curve
        ]
        provenance = json.loads(json.dumps(compared.provenance))
        provenance["defences"]["protect"] |= {"seed": seed}
        provenance["defences"]["audit"] |= asked
        runs.write_json(folder / runs.RESULTS, to_dict(replace(compared, rows=rows, provenance=provenance)))
        return folder

    return written


LINE = [(1.0, 0.98, 0.5), (2.0, 0.94, 0.3), (4.0, 0.90, 0.1)]
LOWER = [(1.0, 0.97, 0.2), (2.0, 0.93, 0.1)]


def worst(board: Leaderboard, place: int = 0) -> Estimate:
    found = board.entries[place].worst
    assert found is not None
    return found


def test_an_excess_is_that_of_the_straight_line_between_neighbouring_strengths(make: Make) -> None:
    board = rank([make("one", {"noise": LINE})], "layer2", utility=0.95)
    (entry,) = board.entries
    assert entry.strengths == (1.0, 2.0)
    for figure in entry.excess.values():
        assert figure.value == pytest.approx(0.35)
        assert (figure.low, figure.high) == pytest.approx((0.34, 0.36))
    assert worst(rank([make("two", {"noise": LINE})], "layer2", utility=0.94)).value == pytest.approx(0.3)


def test_its_interval_reaches_over_the_curve_where_that_of_the_utility_ends(make: Make) -> None:
    (entry,) = rank([make("one", {"noise": LINE}, half=0.005)], "layer2", utility=0.95).entries
    half = np.hypot(0.005, 0.98 * 0.005) / CONTROL  # of the share of the strengths on either side the wider one
    shares, excesses = zip(*[(share, excess) for _, share, excess in reversed(LINE)], strict=True)
    low, high = np.interp([0.95 - half, 0.95 + half], shares, excesses)
    for figure in entry.excess.values():
        assert figure.value == pytest.approx(0.35)
        assert (figure.low, figure.high) == pytest.approx((low - HALF, high + HALF))


def test_nobody_comes_first_by_what_was_not_measured(make: Make) -> None:
    def silent(row: BenchmarkRow) -> BenchmarkRow:
        if row.defence != "noise" or row.strength != 2:
            return row
        return replace(row, excess=row.excess | {"linkage": Refused(refused="nobody appears twice")})

    low = [(1.0, 0.98, 0.02), (2.0, 0.94, 0.01)]
    board = rank([make("one", {"noise": low, "recipe": LOWER}, change=silent)], "layer2", utility=0.95)
    assert [entry.defence for entry in board.entries] == ["recipe", "noise"]
    assert "excess of linkage was not measured everywhere" in board.entries[1].doubts
    again = [*low, (3.0, 0.97, 0.9), (4.0, 0.90, 0.9)]  # crosses once more, where all was measured
    board = rank([make("two", {"noise": again, "recipe": LOWER}, change=silent)], "layer2", utility=0.95)
    assert [entry.defence for entry in board.entries] == ["recipe", "noise"]
    assert "linkage" not in board.entries[1].excess


def test_of_two_strengths_that_keep_the_same_the_more_leaking_one_counts(make: Make) -> None:
    for name, first, second in (("one", 0.9, 0.5), ("two", 0.5, 0.9)):
        board = rank([make(name, {"noise": [(1.0, 0.95, first), (2.0, 0.95, second)]})], "layer2", utility=0.95)
        assert worst(board).value == pytest.approx(0.9)


def test_the_least_leaking_defence_comes_first_and_whether_it_lies_apart_is_said(make: Make) -> None:
    board = rank([make("one", {"noise": LINE, "recipe": LOWER})], "layer2", utility=0.95)
    assert [entry.defence for entry in board.entries] == ["recipe", "noise"]
    assert board.apart == [True]
    close = [(1.0, 0.95, 0.2 + 2 * HALF - 1e-3)]
    board = rank([make("two", {"noise": [(1.0, 0.95, 0.2)], "recipe": close})], "layer2", utility=0.95)
    assert board.apart == [False]


def test_over_seeds_it_is_the_mean_and_the_interval_reaches_over_all(make: Make) -> None:
    paths = [make(f"seed{seed}", {"noise": [(1.0, 0.95, 0.1 * (seed + 1))]}, seed=seed) for seed in range(3)]
    board = rank(paths, "layer2", utility=0.95)
    assert worst(board).value == pytest.approx(0.2)
    assert (worst(board).low, worst(board).high) == pytest.approx((0.1 - HALF, 0.3 + HALF))
    assert board.entries[0].seeds == 3
    assert board.entries[0].doubts == []
    assert rank(paths[:2], "layer2", utility=0.95).entries[0].doubts == ["2 of 3 seeds"]


def test_a_defence_that_keeps_too_little_with_any_seed_has_no_figure(make: Make) -> None:
    paths = [make("one", {"noise": LINE, "recipe": LOWER}), make("two", {"noise": [(1.0, 0.9, 0.01)]}, seed=1)]
    board = rank(paths, "layer2", utility=0.95)
    assert [entry.defence for entry in board.entries] == ["recipe"]
    assert board.short == {"noise": "0.900 (seed 1)"}
    assert "noise does not keep so much at any strength tried: 0.900 (seed 1)" in leaderboard_page(board, "again")


def test_where_no_defence_keeps_so_much_that_is_said(make: Make) -> None:
    board = rank([make("one", {"noise": LINE})], "layer2", utility=1.0)
    assert board.entries == []
    assert "No defence keeps so much." in leaderboard_page(board, "again")
    assert leaderboard_table(board).row_count == 0


def test_benchmarks_without_any_leakage_are_refused(make: Make) -> None:
    path = make("one", {"noise": LINE})
    written = runs.read_json(path / runs.RESULTS)
    nothing = {name: {"refused": "there is no verifier"} for name in LEAKAGES}
    for row in written["rows"]:
        row["leakage"] = row["excess"] = nothing
    written["decisions"] = dict.fromkeys(written["decisions"], nothing)
    runs.write_json(path / runs.RESULTS, written)
    with pytest.raises(oneway.InputError, match="none of these benchmarks measured a leakage"):
        rank([path], "layer2", utility=0.95)


def test_a_defence_that_keeps_more_than_was_asked_is_shown_as_it_is_and_doubted(make: Make) -> None:
    assert rank([make("near", {"noise": LINE})], "layer2", utility=0.895).entries[0].doubts == ["1 of 3 seeds"]
    (cut,) = rank([make("cut", {"noise": LINE}, half=0.03)], "layer2", utility=0.95).entries
    assert "its interval is cut off where the strengths tried end" in cut.doubts
    board = rank([make("one", {"noise": LINE})], "layer2", utility=0.8)
    assert worst(board).value == pytest.approx(0.1)
    assert "strength 4, the least useful one tried, keeps 0.900" in board.entries[0].doubts


def test_a_curve_that_crosses_twice_counts_where_it_leaks_more(make: Make) -> None:
    twice = [(1.0, 0.97, 0.1), (2.0, 0.94, 0.1), (3.0, 0.96, 0.4), (4.0, 0.93, 0.4)]
    board = rank([make("one", {"noise": twice})], "layer2", utility=0.95)
    assert worst(board).value == pytest.approx(0.4)
    assert "utility does not fall with every strength" in board.entries[0].doubts


def test_what_makes_an_entry_doubtful_is_said(make: Make) -> None:
    def late(row: BenchmarkRow) -> BenchmarkRow:
        silent = {"linkage": Refused(refused="nobody appears twice")}
        return replace(row, unconverged=["inversion residual"], excess=row.excess | silent)

    failed = {"name": "monotonicity", "passed": False, "message": "the white box gets less"}
    path = make("one", {"noise": [(1.0, 1.0, 0.5), (2.0, 0.8, 0.3)]}, change=late, guards=[failed])
    (entry,) = rank([path], "layer2", utility=0.95).entries
    assert set(entry.excess) == {"picture_similarity", "feature_similarity"}
    assert entry.doubts == [
        "1 of 3 seeds",
        "excess of linkage was not measured everywhere",
        "strengths 1 and 2 keep 1.000 and 0.800",
        "the budget ended inversion residual (strength 1, strength 2)",
        "the guard 'monotonicity' does not hold (strength 1, strength 2)",
    ]


@pytest.mark.parametrize(
    ("utility", "cut", "message"),
    [
        (0.0, "layer2", "above 0 and at most 1, not 0"),
        (float("nan"), "layer2", "not nan"),
        (1.2, "layer2", "not 1.2"),
        (0.95, "fc", "has no cut 'fc'; it has layer2"),
    ],
)
def test_what_cannot_be_ranked_is_said(make: Make, utility: float, cut: str, message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        rank([make("one", {"noise": LINE})], cut, utility=utility)


def test_benchmarks_that_no_table_can_hold_are_refused(make: Make) -> None:
    one = make("one", {"noise": LINE})
    with pytest.raises(oneway.InputError, match=r"'noise' with seed 0 is in two of these"):
        rank([one, make("two", {"noise": LINE})], "layer2", utility=0.95)
    with pytest.raises(oneway.InputError, match=r"one and .*three differ in audit"):
        rank([one, make("three", {"recipe": LINE}, draws=4)], "layer2", utility=0.95)
    shutil.rmtree(one / "audits")
    with pytest.raises(oneway.InputError, match="oneway benchmark defences DATA --out NEW, with all its audits"):
        rank([one], "layer2", utility=0.95)
    written = runs.read_json(one / runs.RESULTS)
    runs.write_json(one / runs.RESULTS, written | {"provenance": {}})
    with pytest.raises(oneway.InputError, match="defences must be an object, not None; make the benchmark anew"):
        rank([one], "layer2", utility=0.95)
    with pytest.raises(oneway.InputError, match="at least one folder"):
        rank([], "layer2", utility=0.95)
    with pytest.raises(oneway.InputError, match="nowhere"):
        rank([one.parent / "nowhere"], "layer2", utility=0.95)


def test_the_command_prints_the_table_and_writes_the_page_that_says_how_it_was_made(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path, page = make("one", {"noise": LINE, "recipe": LOWER}), tmp_path / "leaderboard.md"
    cli.main(["leaderboard", str(path), "--cut", "layer2", "--utility", "0.94", "--out", str(page)])
    said = capsys.readouterr().out
    assert "Excess where 0.94 of the control's utility is kept, at layer2" in said
    text = page.read_text()
    assert "| recipe | 1 to 2 | 1 | 0.12" in text
    assert f"oneway leaderboard {path} --cut layer2 --utility 0.94 --out leaderboard.md" in text
    assert "judge.onnx" in text
    with pytest.raises(SystemExit):
        cli.main(["leaderboard", str(path), "--cut", "layer2", "--out", str(tmp_path)])


def test_a_control_that_learned_nothing_is_no_measure(make: Make) -> None:
    path = make("one", {"noise": LINE})
    written = runs.read_json(path / runs.RESULTS)
    written["rows"][1]["control_utility"]["value"] = 0.0
    runs.write_json(path / runs.RESULTS, written)
    with pytest.raises(oneway.InputError, match="no better than a constant"):
        rank([path], "layer2", utility=0.95)


def test_another_panel_attacks_the_encoders_of_a_benchmark_without_training_them_anew(
    people: oneway.Pack,
    people_judges: list[Path],
    defences: DefencesConfig,
    compared: BenchmarkReport,
    compared_at: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "protect", lambda *_, **__: pytest.fail("an encoder was trained anew"))
    other = replace(defences, audit=replace(defences.audit, attackers=("mirror",), draws=3))
    assert other.audit != defences.audit
    given: dict[str, Any] = {"verifier": people_judges, "progress": False}
    report = compare_defences(people, tmp_path / "other", other, encoders=compared_at, **given)
    assert [row.utility for row in report.rows] == [row.utility for row in compared.rows]
    assert [row.run for row in report.rows] == [row.run for row in compared.rows]
    assert {row.audit for row in report.rows}.isdisjoint({row.audit for row in compared.rows})
    shutil.rmtree(tmp_path / "other")
    gathered = Executor(kind="ray", gather="file:///nowhere")
    with pytest.raises(oneway.InputError, match=r"where no node of executor.gather finds them"):
        compare_defences(people, tmp_path / "other", other, encoders=compared_at, executor=gathered, **given)
    with pytest.raises(oneway.InputError, match="holds no finished run of these settings"):
        compare_defences(people, tmp_path / "other", other, encoders=tmp_path, **given)
    assert not (tmp_path / "other").exists()
