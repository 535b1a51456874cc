from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from audited import audited, refused, typed
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics
from oneway.report.grid import CELL, GAP, draw_grid
from oneway.report.judging import JudgeReport, Similarity
from oneway.report.table import audit_table, utility_line, verifier_line
from oneway.report.values import Utility


def cells(table: Table) -> dict[str, list[str]]:
    """Every row by its label."""
    columns = [list(column.cells) for column in table.columns]
    return {str(row[0]): [str(cell) for cell in row[1:]] for row in zip(*columns, strict=True)}


def headers(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def test_an_audit_is_a_row_a_figure_beside_control_floors_and_leakage() -> None:
    found = audited()
    table = audit_table(typed(found))
    rows = cells(table)
    assert headers(table) == [
        "",
        "this encoder",
        "control (unprotected)",
        "floor: knows nothing",
        "the task's decisions alone",
        "leakage",
        "excess",
    ]
    shown = [metric.label for metric in metrics().values() if not metric.name.endswith("_affine")]
    shown = [
        label for label in shown if label not in ("linked, rank 5 ↓", "original found first ↓", "perceptual distance ↑")
    ]
    assert list(rows) == ["utility: mean MCC ↑", *shown, "pairs until recognised is 0.1 ↑"]
    assert [cell.split("\n")[0] for cell in rows["face similarity ↓"]] == [
        "0.356",
        "0.660",
        "0.052",
        "0.118",
        "50 %",
        "44 %",
    ]
    assert rows["face similarity ↓"][0] == "0.356\n[0.338, 0.374]"
    assert rows["face similarity ↓"][-2] == "50 %\n[47, 53]"
    first = {label: [cell.split("\n")[0] for cell in row] for label, row in rows.items()}
    assert first["feature similarity ↓"] == ["0.431", "0.702", "0.112", "0.203", "54 %", "46 %"]
    assert first["linked, TAR at FAR 1e-2 ↓"] == ["0.612", "0.910", "0.010", "0.084", "–", "–"]
    assert first["linked, TAR at FAR 1e-3 ↓"] == ["0.403", "0.780", "0.001", "0.017", "52 %", "51 %"]
    assert first["linked, rank 1 ↓"] == ["0.318", "0.720", "0.001", "0.021", "–", "–"]
    assert first["LDA score ↓"] == ["1.410", "3.170", "0.330", "–", "–", "–"]
    assert first["inferred: mean MCC ↓"][2] == "0.000"
    assert first["MSE of unbiased attackers, at least ↑"] == ["1.220", "–", "–", "–", "–", "–"]
    assert first["utility: mean MCC ↑"] == ["0.648", "0.703", "0.000", "–", "–", "–"]
    assert first["pairs until recognised is 0.1 ↑"][0] == "5200"
    found["queries"]["pairs_to_breach"] = None
    assert cells(audit_table(typed(found)))["pairs until recognised is 0.1 ↑"][0] == "more than 40960"
    for point in found["queries"]["curve"]:
        del point["scores"]["recognised"]
    assert "pairs until recognised is 0.1 ↑" not in cells(audit_table(typed(found)))


def test_below_an_audit_stands_what_was_not_measured_to_the_end() -> None:
    found = audited() | {"judges": []}
    assert audit_table(typed(found)).caption == (
        "ended by the budget before they converged, so more may be had: inversion transformer, queries 10000"
    )
    found["attacks"]["linkage"] = {"refused": "no person appears twice"}
    table = audit_table(typed(found))
    assert "linked, rank 1 ↓" not in cells(table)
    assert "feature similarity ↓" in cells(table)
    caption = str(table.caption)
    assert caption.split("\n") == [
        "not measured: linkage, no person appears twice",
        "ended by the budget before they converged, so more may be had: inversion transformer, queries 10000",
    ]


def test_what_was_not_measured_for_one_reason_is_one_line() -> None:
    found, brief = audited() | {"judges": [], "unconverged": []}, {"refused": "left out: the audit is brief"}
    found["attacks"] |= {"information": brief, "linkage": {"refused": "no person appears twice"}, "bound": brief}
    found["queries"] = brief
    (first, second) = str(audit_table(typed(found)).caption).split("\n")
    assert {first, second} == {
        "not measured: information, bound and queries, left out: the audit is brief",
        "not measured: linkage, no person appears twice",
    }


def test_below_an_audit_stands_what_each_judge_sees_and_which_of_them_is_an_upper_bound() -> None:
    first, predicted, second, worst = str(audit_table(typed(audited())).caption).split("\n")[:4]
    assert first.startswith("judge own (upper bound: attackers trained with it): face similarity 0.412 [")
    assert "recognised 0.576 [0.558, 0.594] at FAR 0.01, 0.262 [0.244, 0.280] at FAR 0.001" in first
    assert second.startswith("judge other.onnx (no attacker trained with it; counts): face similarity 0.356 [")
    assert predicted.startswith("judge own (known to attackers): similarity to its features 0.512 [")
    assert worst.startswith("judge other.onnx (known to attackers; counts): similarity to its features 0.456 [")
    assert worst.endswith("; a kernel regression gained 0.012 [0.010, 0.014] from the second half of the public people")


def test_an_audit_without_control_or_anything_measured_is_still_a_table() -> None:
    table = audit_table(typed(refused()))
    assert headers(table) == ["", "this encoder", "floor: knows nothing", "the task's decisions alone"]
    assert cells(table) == {}
    for name, block in refused()["attacks"].items():
        assert f"not measured: {name}, {block['refused']}" in str(table.caption)


def test_a_report_prints_as_its_table() -> None:
    text = str(typed(audited()))
    for expected in ("this encoder", "0.356", "floor: knows nothing", "face similarity ↓", "50 %"):
        assert expected in text


@pytest.mark.parametrize("width", [80, 120])
def test_an_audit_fits_into_a_terminal(width: int) -> None:
    console = Console(width=width, record=True, file=StringIO())
    console.print(audit_table(typed(audited())))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.endswith("│") and "50 %" in line for line in lines)  # the last column is there


def test_utility_in_one_line() -> None:
    each = Estimate(value=0.65, low=0.6, high=0.7, n=30, unit="MCC")
    line = utility_line(Utility(value=each, each={"Smiling": each, "Male": each}))
    assert line == "mean MCC of 2 attributes on 30 test people: 0.650 [0.600, 0.700] (floor: 0)"
    for unknown, shown in (
        (30, "30 test pictures"),
        (4, "26 test people and 4 test pictures of unknown people"),
    ):
        line = utility_line(Utility(value=each, each={"Smiling": each}), unknown)
        assert line.startswith(f"mean MCC of 1 attributes on {shown}: 0.650 ")


def test_a_verifier_in_one_line() -> None:
    judge = JudgeReport(
        name="own",
        fingerprint=None,
        false_accept_rate=1e-3,
        threshold=0.3651,
        true_accept_rate=Estimate(value=0.845, low=0.795, high=0.895, n=30, unit="share"),
        similarity=Similarity(same=0.5, different=0.0, mean_picture=0.1),
    )
    line = verifier_line(judge)
    for expected in ("own", "0.845 [0.795, 0.895]", "false accept rate of 0.001", "threshold 0.365"):
        assert expected in line
    assert "nothing is counted as recognised" in verifier_line(replace(judge, true_accept_rate=None))
    blind = replace(judge, blind="it accepts too few")
    assert "cannot tell who is shown: it accepts too few" in verifier_line(blind)
    assert "no verifier" in verifier_line(None)


def noise(n: int, size: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_the_grid_shows_each_row_below_its_name_in_order(tmp_path: Path) -> None:
    rows = {"originals": noise(3, 16, 0), "reconstructions": noise(3, 16, 1)}
    draw_grid(rows, tmp_path / "grid.png")
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    side = CELL + GAP
    height = (sheet.shape[0] - GAP) // 2
    assert sheet.shape[1] == 3 * side + GAP
    for row, pictures in enumerate(rows.values()):
        top = (row + 1) * height + GAP - side
        name = sheet[row * height + GAP : top, :]
        assert (name < 100).any()  # dark letters
        for column, picture in enumerate(pictures):
            left = GAP + column * side
            enlarged = picture.repeat(CELL // 16, axis=0).repeat(CELL // 16, axis=1)
            np.testing.assert_array_equal(sheet[top : top + CELL, left : left + CELL], enlarged)


def test_the_grid_is_white_between_the_pictures(tmp_path: Path) -> None:
    draw_grid({"a": np.zeros((2, 8, 8, 3), dtype=np.uint8)}, tmp_path / "grid.png")
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert (sheet[:, :GAP] == 255).all()
    assert (sheet[-GAP:] == 255).all()
    assert (sheet[-CELL - GAP :, GAP + CELL : 2 * GAP + CELL] == 255).all()


@pytest.mark.parametrize("shapes", [(1, 3), (3, 1)])
def test_rows_may_differ_in_length(tmp_path: Path, shapes: tuple[int, int]) -> None:
    rows = {name: noise(count, 16, count) for name, count in zip("ab", shapes, strict=True)}
    draw_grid(rows, tmp_path / "grid.png")
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert sheet.shape[1] == 3 * (CELL + GAP) + GAP
    last = sheet[-GAP - CELL : -GAP]
    assert (last[:, 2 * (CELL + GAP) + GAP :] < 255).any() == (shapes[1] == 3)


def test_what_stood_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    draw_grid({"a": noise(1, 8, 0)}, path)
    first = path.read_bytes()
    draw_grid({"a": noise(1, 8, 1)}, path)
    assert path.read_bytes() != first
