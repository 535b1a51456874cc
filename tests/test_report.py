from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from audited import audited, refused
from oneway.metrics.estimate import Estimate
from oneway.report.grid import CELL, GAP, draw_grid
from oneway.report.table import AUDIT_ROWS, ROWS, attack_table, audit_table, utility_line, verifier_line


def figure(value: float, unit: str = "SSIM") -> dict[str, Any]:
    return Estimate(value=value, low=value - 0.05, high=value + 0.05, n=30, unit=unit).to_dict()


def scores(base: float, *, identity: bool = True) -> dict[str, Any]:
    found = {"ssim": figure(base), "psnr": figure(10 * base, "dB"), "mse": figure(base / 10, "MSE")}
    return found | ({"face_similarity": figure(base + 0.1), "recognised": figure(base + 0.2)} if identity else {})


def results(*, control: bool = True, identity: bool = True) -> dict[str, Any]:
    """What an attack's results.json holds, as far as it is shown."""
    beside = {"utility": {"mean_mcc": figure(0.7, "MCC")}, "attacks": {"inversion": scores(0.6, identity=identity)}}
    return {
        "utility": {"mean_mcc": figure(0.65, "MCC"), "mcc": {"Smiling": figure(0.6), "Male": figure(0.7)}},
        "attacks": {"inversion": scores(0.3, identity=identity) | {"steps": 100, "converged": True, "queries": 5}},
        "floors": {
            "constant_prediction": {"mean_mcc": 0.0},
            "mean_face": scores(0.2, identity=identity),
            "nearest_by_output": scores(0.1, identity=identity),
        },
        "control": beside if control else None,
    }


def cells(table: Table) -> dict[str, list[str]]:
    """Every row by its label."""
    columns = [list(column.cells) for column in table.columns]
    return {str(row[0]): [str(cell) for cell in row[1:]] for row in zip(*columns, strict=True)}


def headers(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def test_every_score_stands_beside_its_control_and_its_floors() -> None:
    table = attack_table(results())
    rows = cells(table)
    assert headers(table) == [
        "",
        "this encoder",
        "control (unprotected)",
        "floor: mean face",
        "floor: the task's decisions alone",
    ]
    assert list(rows) == list(ROWS.values())
    assert rows["SSIM ↓"] == [f"{v:.3f}\n[{v - 0.05:.3f}, {v + 0.05:.3f}]" for v in (0.3, 0.6, 0.2, 0.1)]
    assert [cell.split("\n")[0] for cell in rows["PSNR, dB ↓"]] == ["3.0", "6.0", "2.0", "1.0"]
    assert rows["utility: mean MCC ↑"] == ["0.650\n[0.600, 0.700]", "0.700\n[0.650, 0.750]", "0.000", "–"]


def test_without_a_control_its_column_is_left_out() -> None:
    table = attack_table(results(control=False))
    assert headers(table) == ["", "this encoder", "floor: mean face", "floor: the task's decisions alone"]
    assert [cell.split("\n")[0] for cell in cells(table)["SSIM ↓"]] == ["0.300", "0.200", "0.100"]


def test_without_a_verifier_the_identity_rows_are_left_out() -> None:
    rows = cells(attack_table(results(identity=False)))
    assert ROWS["face_similarity"] not in rows
    assert ROWS["recognised"] not in rows
    assert ROWS["mse"] in rows


def test_the_table_can_be_printed_in_a_narrow_terminal() -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(attack_table(results()))
    text = console.export_text()
    for expected in ("this encoder", "0.300", "floor", "SSIM", "0.650"):
        assert expected in text


def test_an_audit_is_a_row_a_figure_beside_control_floors_and_leakage() -> None:
    found = audited()
    table = audit_table(found)
    rows = cells(table)
    assert headers(table) == [
        "",
        "this encoder",
        "control (unprotected)",
        "floor: knows nothing",
        "the task's decisions alone",
        "leakage",
    ]
    assert list(rows) == [*AUDIT_ROWS.values(), "pairs until recognised is 0.1 ↑"]
    assert [cell.split("\n")[0] for cell in rows["face similarity ↓"]] == ["0.356", "0.660", "0.052", "0.118", "50 %"]
    assert rows["face similarity ↓"][0] == "0.356\n[0.338, 0.374]"
    assert rows["face similarity ↓"][-1] == "50 %\n[47, 53]"
    first = {label: [cell.split("\n")[0] for cell in row] for label, row in rows.items()}
    assert first["feature similarity ↓"] == ["0.431", "0.702", "0.112", "0.203", "54 %"]
    assert first["linked, TAR at FAR 1e-2 ↓"] == ["0.612", "0.910", "0.010", "0.084", "–"]
    assert first["linked, TAR at FAR 1e-3 ↓"] == ["0.403", "0.780", "0.001", "0.017", "52 %"]
    assert first["linked, rank 1 ↓"] == ["0.318", "0.720", "0.001", "0.021", "–"]
    assert first["LDA score ↓"] == ["1.410", "3.170", "0.330", "–", "–"]
    assert first["inferred: mean MCC ↓"][2] == "0.000"
    assert first["MSE of unbiased attackers, at least ↑"] == ["1.220", "–", "–", "–", "–"]
    assert first["utility: mean MCC ↑"] == ["0.648", "0.703", "0.000", "–", "–"]
    assert first["pairs until recognised is 0.1 ↑"][0] == "5200"
    found["queries"]["pairs_to_breach"] = None
    assert cells(audit_table(found))["pairs until recognised is 0.1 ↑"][0] == "more than 40960"
    for point in found["queries"]["curve"]:
        del point["recognised"]
    assert "pairs until recognised is 0.1 ↑" not in cells(audit_table(found))


def test_below_an_audit_stands_what_was_not_measured_to_the_end() -> None:
    found = audited()
    assert audit_table(found).caption == (
        "ended by the budget before they converged, so more may be had: inversion transformer, queries 10000"
    )
    found["attacks"]["linkage"] = {"refused": "no person appears twice"}
    table = audit_table(found)
    assert "linked, rank 1 ↓" not in cells(table)
    assert "feature similarity ↓" in cells(table)
    caption = str(table.caption)
    assert caption.split("\n") == [
        "not measured: linkage, no person appears twice",
        "ended by the budget before they converged, so more may be had: inversion transformer, queries 10000",
    ]


def test_an_audit_without_control_or_anything_measured_is_still_a_table() -> None:
    table = audit_table(refused())
    assert headers(table) == ["", "this encoder", "floor: knows nothing", "the task's decisions alone"]
    assert cells(table) == {}
    for name, block in refused()["attacks"].items():
        assert f"not measured: {name}, {block['refused']}" in str(table.caption)
    assert f"not measured: error of unbiased attackers, {refused()['bound']['refused']}" in str(table.caption)
    older = audited()
    del older["bound"]
    assert AUDIT_ROWS["least_mse"] not in cells(audit_table(older))
    assert "unbiased" not in str(audit_table(older).caption)


@pytest.mark.parametrize("width", [80, 120])
def test_an_audit_fits_into_a_terminal(width: int) -> None:
    console = Console(width=width, record=True, file=StringIO())
    console.print(audit_table(audited()))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert any(line.endswith("│") and "50 %" in line for line in lines)  # the last column is there


def test_utility_in_one_line() -> None:
    line = utility_line(results())
    assert line == "mean MCC of 2 attributes on 30 test people: 0.650 [0.600, 0.700] (floor: 0)"


def test_a_verifier_in_one_line() -> None:
    about: dict[str, Any] = {
        "name": "own",
        "false_accept_rate": 1e-3,
        "threshold": 0.3651,
        "true_accept_rate": figure(0.845, "share"),
        "blind": None,
    }
    line = verifier_line(about)
    for expected in ("own", "0.845 [0.795, 0.895]", "false accept rate of 0.001", "threshold 0.365"):
        assert expected in line
    assert "nothing is counted as recognised" in verifier_line(about | {"true_accept_rate": None})
    assert "cannot tell who is shown: it accepts too few" in verifier_line(about | {"blind": "it accepts too few"})
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
