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
from conftest import RUNTIME
from oneway.attacks.feature import FeatureConfig
from oneway.auditing.config import AuditConfig
from oneway.config import to_dict
from oneway.protection.recipes import recipes
from oneway.report.pareto import draw_pareto
from oneway.report.reports import read_report
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow, Choice
from oneway.report.table import benchmark_table
from oneway.report.values import Refused
from oneway.storage import runs
from oneway.sweep import executor, store
from oneway.sweep.benchmark import PICTURE, TABLE, DefencesConfig, cells, compare_defences, foresee
from oneway.sweep.choice import recommend, unjudged
from oneway.sweep.executor import Executor

pytestmark = pytest.mark.whole

Tiny = Callable[..., oneway.ProtectConfig]
AUDIT = AuditConfig(
    attackers=("mirror",), brief=True, steps=20, feature=FeatureConfig(width=4, batch_size=32), runtime=RUNTIME
)
NAMES = ("face_similarity", "feature_similarity", "linkage")


def figure(value: float, unit: str = "cosine", half: float = 0.018) -> oneway.Estimate:
    return oneway.Estimate(value=value, low=value - half, high=value + half, n=812, unit=unit)


def config(tiny: Tiny, **changes: Any) -> DefencesConfig:
    return DefencesConfig(cuts=("layer2",), protect=tiny({"steps": 8}), audit=AUDIT, **changes)


def figures(row: BenchmarkRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("defence", "strength", "mean_mcc", "leakage", "validation")}


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
    people: oneway.Pack, people_judge: Path, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recipes(), "noise", replace(recipes()["noise"], strengths=(0.5, 50.0)))
    asked = config(tiny, defences=("noise",))
    given: dict[str, Any] = {"verifier": people_judge, "progress": False}
    audit, count = store.audit, 0

    def stopped(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return audit(*args, **options)

    monkeypatch.setattr(store, "audit", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare_defences(people, tmp_path / "one", asked, **given)
    assert not (tmp_path / "one" / runs.RESULTS).exists()
    monkeypatch.setattr(store, "audit", audit)
    with pytest.raises(oneway.InputError, match="--resume"):
        compare_defences(people, tmp_path / "one", asked, **given)
    expected = foresee(people, tmp_path / "one", asked, verifier=people_judge)
    assert (expected.runs, expected.audits) == (1, 2)  # the control is made, the second was trained
    assert expected.seconds > 0
    one = compare_defences(people, tmp_path / "one", asked, resume=True, **given)
    assert foresee(people, tmp_path / "one", asked, verifier=people_judge).seconds == 0
    two = compare_defences(people, tmp_path / "two", asked, executor=Executor(jobs=2), **given)
    assert [figures(row) for row in one.rows] == [figures(row) for row in two.rows]

    control, weak, strong = one.rows
    assert control.defence == "none"
    assert control.validation.utility == 1
    assert weak.leakage["feature_similarity"].value > strong.leakage["feature_similarity"].value
    for row in one.rows:
        assert (tmp_path / "one" / row.audit / "report.html").is_file()
        assert (tmp_path / "one" / row.audit / "shown.npy").exists()  # drawn faces are shown; others never
    with (tmp_path / "one" / TABLE).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["mean_mcc"]) for line in lines] == [row.mean_mcc.value for row in one.rows]
    assert Image.open(tmp_path / "one" / PICTURE).size[0] > 600

    written = runs.read_json(tmp_path / "one" / runs.RESULTS)
    assert (written["schema"], written["kind"]) == (5, "benchmark")
    assert written == to_dict(one), "the file holds what the call returns"
    audited = read_report(tmp_path / "one" / control.audit, oneway.AuditReport, "oneway audit")
    assert one.decisions == two.decisions == {"layer2": audited.decisions.leakage}
    assert weak.linked is None or weak.linked.unit == "share"
    shown = [str(cell) for cell in benchmark_table(one).columns[1].cells]
    assert shown == ["none", "noise", "noise", "the task's decisions alone"]


STARTED = """
import sys
from pathlib import Path
import oneway
from oneway.auditing.config import AuditConfig
from oneway.sweep.benchmark import DefencesConfig, compare_defences
from oneway.sweep.executor import Executor
from oneway.config import override
config = override(DefencesConfig(defences=("noise", "vib")), {"protect.steps": 100000, "protect.network.width": 0.125})
out, verifier = map(Path, sys.argv[2:])
compare_defences(oneway.Pack.open(sys.argv[1]), out, config, verifier=verifier, executor=Executor(jobs=2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_of_a_stopped_benchmark_goes_on(
    people: oneway.Pack, people_judge: Path, tmp_path: Path, how: signal.Signals
) -> None:
    command = [sys.executable, "-c", STARTED, str(people.path), str(tmp_path / "bench"), str(people_judge)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("bench/runs/*/log.csv")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.send_signal(how)
    assert process.wait(timeout=120) != 0
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a process of the stopped benchmark is still there"
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


def row(defence: str, strength: float, utility: float, leakage: float, worst: str = "face_similarity") -> BenchmarkRow:
    """A setting whose figures on test people say the opposite of those on validation people."""
    return BenchmarkRow(
        cut="layer2",
        defence=defence,
        strength=strength,
        mean_mcc=figure(1 - utility, "MCC"),
        control_mean_mcc=figure(1.0, "MCC"),
        leakage=dict.fromkeys(NAMES, figure(1 - leakage, "leakage")),
        strongest="mirror",
        face_similarity=figure(0.5),
        linked=figure(0.1, "share"),
        verdict="partial",
        unconverged=[],
        validation=Choice(utility=utility, leakage=dict.fromkeys(NAMES, leakage / 2) | {worst: leakage}),
        run="run",
        audit="audit",
    )


def unmeasured(row: BenchmarkRow, reason: str, *names: str) -> BenchmarkRow:
    """The same, without some of its leakages."""
    known = {name: value for name, value in row.validation.leakage.items() if name not in names}
    refused = dict.fromkeys(names, Refused(refused=reason))
    return replace(row, leakage=row.leakage | refused, validation=replace(row.validation, leakage=known))


ROWS = [
    row("none", 0, 1.0, 1.0),
    row("game", 1, 0.97, 0.5),
    row("game", 3, 0.95, 0.3),
    row("noise", 1, 0.96, 0.4),
    row("noise", 4, 0.7, 0.1),
]


REPORT = BenchmarkReport(rows=ROWS, decisions={"layer2": dict.fromkeys(NAMES, figure(0.2, "leakage"))}, provenance={})


def test_the_choice_is_made_by_validation_people() -> None:
    assert recommend(REPORT, "layer2", utility=0.95) == ROWS[2]
    assert recommend(REPORT, "layer2", utility=0.96) == ROWS[3]
    assert recommend(REPORT, "layer2", leakage=0.25) == ROWS[4]
    assert recommend(REPORT, "layer2", leakage=0.45) == ROWS[3]


@pytest.mark.parametrize("worst", NAMES)
def test_a_setting_is_judged_by_the_worst_of_the_three_leakages(worst: str) -> None:
    rows = [row("game", 1, 0.96, 0.4, worst), row("noise", 1, 0.96, 0.3)]
    report = replace(REPORT, rows=rows)
    assert recommend(report, "layer2", utility=0.95) == rows[1]
    assert recommend(report, "layer2", leakage=0.35) == rows[1]


def test_a_setting_of_which_a_leakage_is_not_known_is_passed_over_and_said() -> None:
    unknown = unmeasured(row("vib", 1, 0.99, 0.0), "the network diverged", "feature_similarity")
    report = replace(REPORT, rows=[*ROWS, unknown])
    assert recommend(report, "layer2", utility=0.95) == ROWS[2]
    assert unjudged(report, "layer2") == ["passed over: vib 1, leakage of feature_similarity: the network diverged"]
    assert unjudged(REPORT, "layer2") == []
    other = unmeasured(row("game", 1, 0.9, 0.2), "too few people", "linkage")
    with pytest.raises(oneway.InputError, match=r"no setting at layer2 can be judged: .*passed over: vib"):
        recommend(replace(REPORT, rows=[unknown, other]), "layer2", utility=0.5)


@pytest.mark.parametrize("bounds", [{"utility": 0.5}, {"leakage": 0.5}])
def test_without_any_leakage_there_is_no_choice_and_without_one_it_is_said(bounds: dict[str, float]) -> None:
    silent = unmeasured(row("noise", 1, 0.9, 0.3), "there is no verifier", *NAMES)
    with pytest.raises(
        oneway.InputError, match="judged: not judged by leakage of face_similarity: there is no verifier"
    ):
        recommend(replace(REPORT, rows=[silent]), "layer2", **bounds)
    partly = unmeasured(row("noise", 2, 0.9, 0.3), "there is no verifier", "face_similarity")
    report = replace(REPORT, rows=[partly])
    assert recommend(report, "layer2", **bounds) == partly
    (told,) = unjudged(report, "layer2")
    assert told == "not judged by leakage of face_similarity: there is no verifier"


@pytest.mark.parametrize(
    ("cut", "bounds", "message"),
    [
        ("layer2", {}, "either"),
        ("layer2", {"utility": 0.9, "leakage": 0.2}, "either"),
        ("layer2", {"utility": 0.99}, "the most is 0.970"),
        ("layer2", {"leakage": 0.05}, "the least is 0.100; the task's decisions alone leak 0.200 of face_similarity"),
        ("fc", {"leakage": 0.5}, "it has layer2"),
    ],
)
def test_what_no_setting_keeps_is_said(cut: str, bounds: dict[str, float], message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        recommend(REPORT, cut, **bounds)


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
