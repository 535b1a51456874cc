"""The benchmark of defences: one panel for all, resumed where it stopped, a choice that test people had no part in."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import oneway
from oneway.config import to_dict
from oneway.protection.recipes import recipes
from oneway.report.pareto import draw_pareto
from oneway.report.reports import AuditReport, read_report
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow, Choice
from oneway.report.table import benchmark_table
from oneway.report.values import SCHEMA, Refused
from oneway.storage import runs
from oneway.sweep import executor, store
from oneway.sweep.benchmark import PICTURE, TABLE, DefencesConfig, cells, compare_defences, foresee
from oneway.sweep.choice import ranked, unjudged
from oneway.sweep.executor import Executor

pytestmark = pytest.mark.whole

Tiny = Callable[..., oneway.ProtectConfig]
NAMES = ("picture_similarity", "feature_similarity", "linkage")


def figure(value: float, unit: str = "cosine", half: float = 0.018) -> oneway.Estimate:
    return oneway.Estimate(value=value, low=value - half, high=value + half, n=812, unit=unit)


def figures(row: BenchmarkRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("defence", "strength", "utility", "leakage", "validation")}


def test_every_defence_is_compared_at_several_strengths_from_weak_to_strong(pack: oneway.Pack) -> None:
    plan = cells(DefencesConfig(cuts=("layer2", "fc")), pack.path)
    assert {cell.defence for cell in plan} == set(recipes())
    assert len({cell.setting.run for cell in plan}) == len({cell.setting.report for cell in plan}) == len(plan)
    for cell in plan:
        protect, control = cell.setting.protect, cell.setting.control
        assert protect.network.cut == cell.cut
        assert protect.protects == (control is not None)
        assert control is None or control.run.startswith(f"{cell.cut}-none")
    for recipe in recipes().values():
        assert list(recipe.strengths) == sorted(set(recipe.strengths))


def test_a_defence_is_compared_at_one_strength_where_one_is_given(pack: oneway.Pack) -> None:
    plan = cells(DefencesConfig(defences=("noise=0.7", "vib", "noise=3")), pack.path)
    strengths = [(cell.defence, cell.strength) for cell in plan[1:]]
    assert strengths == [
        ("noise", 0.7),
        *(("vib", strength) for strength in recipes()["vib"].strengths),
        ("noise", 3.0),
    ]


def test_where_it_runs_does_not_decide_which_setting_it_is(pack: oneway.Pack, tiny: Tiny) -> None:
    here, there = (
        cells(DefencesConfig(protect=replace(tiny(), runtime=oneway.RuntimeConfig(device=device))), pack.path)
        for device in ("cpu", "cuda")
    )
    assert [cell.setting.report for cell in here] == [cell.setting.report for cell in there]


def test_a_stopped_benchmark_goes_on_to_the_same_figures_in_any_number_of_processes(
    people: oneway.Pack,
    people_judges: list[Path],
    defences: DefencesConfig,
    compared: BenchmarkReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {"verifier": people_judges, "progress": False}
    bench, audit, count = tmp_path / "bench", store.audit, 0

    def stopped(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return audit(*args, **options)

    monkeypatch.setattr(store, "audit", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare_defences(people, bench, defences, **given)
    assert not (bench / runs.RESULTS).exists()
    monkeypatch.setattr(store, "audit", audit)
    with pytest.raises(oneway.InputError, match="--resume"):
        compare_defences(people, bench, defences, **given)
    expected = foresee(people, bench, defences, verifier=people_judges)
    assert (expected.runs, expected.audits) == (1, 2)  # the control is made, the second was trained
    assert expected.seconds > 0
    report = compare_defences(people, bench, defences, resume=True, executor=Executor(jobs=2), **given)
    assert foresee(people, bench, defences, verifier=people_judges).seconds == 0
    assert [figures(row) for row in report.rows] == [figures(row) for row in compared.rows]
    assert report.decisions == compared.decisions

    control, weak, strong = report.rows
    assert control.defence == "none"
    assert control.validation.utility == 1
    assert weak.leakage["feature_similarity"].value > strong.leakage["feature_similarity"].value
    for row in report.rows:
        assert (bench / row.audit / "report.html").is_file()
        assert (bench / row.audit / "shown.npy").exists()  # drawn faces are shown; others never
    with (bench / TABLE).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["utility"]) for line in lines] == [row.utility.value for row in report.rows]
    assert Image.open(bench / PICTURE).size[0] > 600

    written = runs.read_json(bench / runs.RESULTS)
    assert (written["schema"], written["kind"]) == (SCHEMA, "benchmark")
    assert written == to_dict(report), "the file holds what the call returns"
    audited = read_report(bench / control.audit, oneway.AuditReport, "oneway audit")
    assert report.decisions == {"layer2": audited.decisions.leakage}
    assert weak.linked is None or weak.linked.unit == "share"
    assert control.most_bits is None
    assert weak.most_bits is not None
    assert strong.most_bits is not None
    assert weak.most_bits.value > 10 * strong.most_bits.value
    assert [line["most_bits"] for line in lines] == ["", str(weak.most_bits.value), str(strong.most_bits.value)]
    shown = [str(cell) for cell in benchmark_table(report).columns[1].cells]
    assert shown == ["none", "noise", "noise", "the task's decisions alone"]


def test_every_row_is_of_the_worst_of_several_judges(compared: BenchmarkReport, compared_at: Path) -> None:
    names = ["judge.onnx", "other.onnx"]
    assert [each["name"] for each in compared.provenance["judges"]] == names  # type: ignore[index, attr-defined]
    for row in compared.rows[1:]:
        judges = read_report(compared_at / row.audit, AuditReport, "oneway audit").judges
        assert [judge.name for judge in judges] == names
        shares = {judge.pictures.leakage.value for judge in judges}
        assert len(shares) == 2
        assert row.leakage["picture_similarity"].value == pytest.approx(max(shares))


def test_what_a_setting_is_chosen_by_is_the_worst_share_of_the_control_that_a_judge_gives(
    compared: BenchmarkReport, compared_at: Path
) -> None:
    control = read_report(compared_at / compared.rows[0].audit, AuditReport, "oneway audit")
    for row in compared.rows[1:]:
        audited = read_report(compared_at / row.audit, AuditReport, "oneway audit")
        for name in ("picture_similarity", "feature_similarity"):
            both = [
                (mine.validation[name], theirs.validation[name])
                for mine, theirs in zip(audited.judges, control.judges, strict=True)
                if mine.blind is None
            ]
            assert all(ours.floor == theirs.floor for ours, theirs in both), "who knows nothing knows it of no encoder"
            shares = [(ours.score - ours.floor) / (theirs.score - theirs.floor) for ours, theirs in both]
            above = [(ours.score - ours.decisions) / (theirs.score - ours.decisions) for ours, theirs in both]
            assert row.validation.leakage[name] == pytest.approx(max(shares))
            assert row.validation.excess[name] == pytest.approx(max(above))
            (counts,) = (
                judge.leakages[name].value
                for judge in audited.judges
                if (judge.counts if name == "picture_similarity" else judge.features.counts)
            )
            assert counts == pytest.approx(row.leakage[name].value)
            # Test people say about as much, by the judge that is worst there.
            assert min(abs(share - row.leakage[name].value) for share in shares) < 0.25


STARTED = """
import signal
import sys
import time
from pathlib import Path

from oneway.sweep.executor import Executor


def work(begun):
    begun.touch()
    until = time.monotonic() + 120
    while time.monotonic() < until:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell is begun without
    list(Executor(jobs=2).each(work, list(map(Path, sys.argv[1:]))))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_of_a_stopped_sweep_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    script, begun = tmp_path / "started.py", [tmp_path / name for name in ("one", "two")]
    script.write_text(STARTED)
    process = subprocess.Popen([sys.executable, script, *begun], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in begun):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.send_signal(how)
    assert process.wait(timeout=60) != 0
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a process of the stopped sweep is still there"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defences": ("nose",)}, "not 'nose'"),
        ({"defences": ("noise=loud",)}, "must be a number, not 'loud'"),
        ({"defences": ("none",)}, "always there"),
        ({"defences": ("noise=nan",)}, "must be a finite number, not 'nan'"),
        ({"cuts": ()}, "cuts"),
    ],
)
def test_what_cannot_be_compared_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        DefencesConfig(**changes)


def row(
    defence: str, strength: float, utility: float, leakage: float, worst: str = "picture_similarity"
) -> BenchmarkRow:
    """A setting whose figures on test people say the opposite of those on validation people."""
    return BenchmarkRow(
        cut="layer2",
        defence=defence,
        strength=strength,
        utility=figure(1 - utility, "MCC"),
        control_utility=figure(1.0, "MCC"),
        leakage=dict.fromkeys(NAMES, figure(1 - leakage, "leakage")),
        excess=dict.fromkeys(NAMES, figure(1 - leakage / 2, "leakage")),
        strongest="mirror",
        picture_similarity=figure(0.5),
        linked=figure(0.1, "share"),
        verdict="partial",
        unconverged=[],
        validation=Choice(
            utility=utility,
            leakage=dict.fromkeys(NAMES, leakage / 2) | {worst: leakage},
            excess=dict.fromkeys(NAMES, leakage / 4) | {worst: leakage / 2},
        ),
        run="run",
        audit="audit",
    )


@pytest.mark.parametrize("value", [0.0, -0.2])
def test_a_share_of_a_control_that_is_no_better_than_a_constant_is_not_asked_for(value: float) -> None:
    rows = [replace(row(name, 1, 2.5, 0.5), control_utility=figure(value, "R2")) for name in ("none", "recipe")]
    report = BenchmarkReport(rows=rows, decisions={"layer2": {}}, title="R2", provenance={})
    with pytest.raises(oneway.InputError, match=r"the control at layer2 has R2 .*, no better than a constant"):
        ranked(report, "layer2", utility=0.9)
    assert "R2 ↑" in [column.header for column in benchmark_table(replace(report, decisions={})).columns]


def unmeasured(row: BenchmarkRow, reason: str, *names: str) -> BenchmarkRow:
    """The same, without some of its leakages."""
    leakage, excess = (
        {name: value for name, value in shares.items() if name not in names}
        for shares in (row.validation.leakage, row.validation.excess)
    )
    refused = dict.fromkeys(names, Refused(refused=reason))
    held = replace(row.validation, leakage=leakage, excess=excess)
    return replace(row, leakage=row.leakage | refused, excess=row.excess | refused, validation=held)


ROWS = [
    row("none", 0, 1.0, 1.0),
    row("recipe", 1, 0.97, 0.5),
    row("recipe", 3, 0.95, 0.3),
    row("noise", 1, 0.96, 0.4),
    row("noise", 4, 0.7, 0.1),
]


REPORT = BenchmarkReport(rows=ROWS, decisions={"layer2": dict.fromkeys(NAMES, figure(0.2, "leakage"))}, provenance={})


def test_the_choice_is_made_by_validation_people() -> None:
    assert ranked(REPORT, "layer2", utility=0.95)[0] == ROWS[2]
    assert ranked(REPORT, "layer2", utility=0.96)[0] == ROWS[3]
    assert ranked(REPORT, "layer2", leakage=0.25)[0] == ROWS[4]
    assert ranked(REPORT, "layer2", leakage=0.45)[0] == ROWS[3]
    assert ranked(REPORT, "layer2", excess=0.1)[0] == ROWS[4]
    assert ranked(REPORT, "layer2", excess=0.25)[0] == ROWS[1]


@pytest.mark.parametrize("worst", NAMES)
def test_a_setting_is_judged_by_the_worst_of_the_three_leakages(worst: str) -> None:
    rows = [row("recipe", 1, 0.96, 0.4, worst), row("noise", 1, 0.96, 0.3)]
    report = replace(REPORT, rows=rows)
    assert ranked(report, "layer2", utility=0.95)[0] == rows[1]
    assert ranked(report, "layer2", leakage=0.35)[0] == rows[1]


def test_a_setting_of_which_a_leakage_is_not_known_is_passed_over_and_said() -> None:
    unknown = unmeasured(row("vib", 1, 0.99, 0.0), "the network diverged", "feature_similarity")
    report = replace(REPORT, rows=[*ROWS, unknown])
    assert ranked(report, "layer2", utility=0.95)[0] == ROWS[2]
    assert unjudged(report, "layer2") == ["passed over: vib 1, leakage of feature_similarity: the network diverged"]
    assert unjudged(REPORT, "layer2") == []
    other = unmeasured(row("recipe", 1, 0.9, 0.2), "too few people", "linkage")
    with pytest.raises(oneway.InputError, match=r"no setting at layer2 can be judged: .*passed over: vib"):
        ranked(replace(REPORT, rows=[unknown, other]), "layer2", utility=0.5)


@pytest.mark.parametrize("bounds", [{"utility": 0.5}, {"leakage": 0.5}])
def test_without_any_leakage_there_is_no_choice_and_without_one_it_is_said(bounds: dict[str, float]) -> None:
    silent = unmeasured(row("noise", 1, 0.9, 0.3), "there is no verifier", *NAMES)
    with pytest.raises(
        oneway.InputError, match="judged: not judged by leakage of picture_similarity: there is no verifier"
    ):
        ranked(replace(REPORT, rows=[silent]), "layer2", **bounds)
    partly = unmeasured(row("noise", 2, 0.9, 0.3), "there is no verifier", "picture_similarity")
    report = replace(REPORT, rows=[partly])
    assert ranked(report, "layer2", **bounds)[0] == partly
    (told,) = unjudged(report, "layer2")
    assert told == "not judged by leakage of picture_similarity: there is no verifier"


@pytest.mark.parametrize(
    ("cut", "bounds", "message"),
    [
        ("layer2", {}, "give one of"),
        ("layer2", {"utility": 0.9, "leakage": 0.2}, "give one of"),
        ("layer2", {"excess": 0.1, "leakage": 0.2}, "give one of"),
        ("layer2", {"excess": 0.01}, "no setting has an excess of at most 0.01 at layer2; the least is 0.050"),
        ("layer2", {"excess": float("nan")}, "excess must be a finite number"),
        ("layer2", {"utility": 0.99}, "the most is 0.970"),
        (
            "layer2",
            {"leakage": 0.05},
            "the least is 0.100; the task's decisions alone leak 0.200 of picture_similarity",
        ),
        ("fc", {"leakage": 0.5}, "it has layer2"),
    ],
)
def test_what_no_setting_keeps_is_said(cut: str, bounds: dict[str, float], message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        ranked(REPORT, cut, **bounds)


def test_the_picture_leaves_out_what_was_refused(tmp_path: Path) -> None:
    refused = unmeasured(ROWS[1], "no verifier", *NAMES)
    rows = [*ROWS, refused, replace(refused, cut="fc"), replace(ROWS[0], cut="fc")]
    decisions = {"layer2": ROWS[3].leakage, "fc": refused.leakage}
    draw_pareto(replace(REPORT, rows=rows, decisions=decisions), tmp_path / "pareto.png")
    width, height = Image.open(tmp_path / "pareto.png").size
    assert height > 0.7 * width  # two cuts, two panels each


@pytest.mark.parametrize(("given", "named"), [("GPU-a, 3", ["GPU-a", "3"]), ("", [""]), (None, ["0", "1"])])
def test_workers_share_the_gpus_that_the_user_left_visible(
    given: str | None, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if given is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert executor.gpus() == named
