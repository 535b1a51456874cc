"""What is said arrives, whatever listens and whatever is in the names: never a traceback after the work is done."""

from __future__ import annotations

import ast
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

import oneway
from oneway import console as saying
from oneway.cli import main
from oneway.console import console, marked
from oneway.storage.runs import read_json, write_json

pytestmark = pytest.mark.whole

SOURCE = Path(oneway.__file__).parent
NAMES = ["plain", "faces[/bold]", "[red]x[/]", "ünïcode → 画像", "bytes\udcff\udc80", "[/]"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_written_to_every_stream(monkeypatch: pytest.MonkeyPatch, encoding: str, name: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, newline=""))
    table = Table(title=name)
    table.add_column(name)
    table.add_row(f"{name} ↑ –")
    for line in (name, table, marked(name, f": {name}")):
        console().print(line, soft_wrap=True)
    sys.stdout.flush()
    expected = name.encode(encoding, "backslashreplace")
    lines = written.getvalue().splitlines()
    assert (lines[0], lines[-1]) == (expected, expected + b": " + expected)
    assert b"".join(lines[1:-1]).count(expected) >= 2  # the heading and the row; a title is wrapped


@pytest.mark.parametrize(("columns", "most"), [(None, 160), ("60", 60)])
def test_a_table_in_a_pipe_is_as_wide_as_in_a_text_or_as_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str | None, most: int
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    table = Table()
    for _ in range(3):
        table.add_column("of unbroken words " * 6)
    console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == most


def test_an_error_keeps_its_brackets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["audit", str(tmp_path / "[bold]run[/]" / "[/x]"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "[bold]run[/]" in said
    assert "[/x]" in said


@pytest.mark.parametrize(
    "more", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=str
)
def test_a_command_in_another_encoding_ends_in_a_line(tmp_path: Path, more: dict[str, str]) -> None:
    named = os.fsencode(tmp_path) + b"/\xff[/bold]\xe7\x94\xbb"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
    environment |= {"PYTHONPATH": str(SOURCE.parent), "PYTHONCOERCECLOCALE": "0"} | more
    script = "import sys; from oneway.cli import main; main(sys.argv[1:])"
    for command, code, expected in (([b"audit", named, b"--out", b"x"], 2, b"[/bold]"), ([b"--help"], 0, b"audit")):
        done = subprocess.run(
            [sys.executable, "-c", script, *command], env=environment, capture_output=True, timeout=120, check=False
        )
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.returncode == code
        assert expected in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("encoding", "way"), [("utf-8", "rename it"), ("ascii", "names are read as ascii here: set PYTHONUTF8=1")]
)
def test_a_name_that_is_no_utf_8_is_refused_before_work_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, encoding: str, way: str
) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfc\xdfe"))
    place.mkdir()
    (place / "labels.csv").write_text("image\na.png\n", encoding="utf-8")
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    monkeypatch.setenv("COLUMNS", "400")
    given = ["--labels", str(place / "labels.csv"), "--out", str(tmp_path / "out"), "--size", "32"]
    for command in (
        ["prepare", "folder", str(tmp_path), *given],
        ["protect", str(tmp_path), "--out", str(place / "run")],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2
        assert f"; {way}" in capsys.readouterr().err


def test_results_name_everything_and_are_read_again(tmp_path: Path) -> None:
    content = {name: name for name in NAMES}
    write_json(tmp_path / "results.json", content)
    assert read_json(tmp_path / "results.json") == content
    (tmp_path / "own.json").write_bytes(json.dumps({"name": "画像"}, ensure_ascii=False).encode())
    assert read_json(tmp_path / "own.json") == {"name": "画像"}


def test_text_files_state_their_encoding_and_one_module_makes_consoles() -> None:
    """A C locale would read and write what is not stated in ASCII, and a console of one's own has markup in names."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = f"{path.relative_to(SOURCE)}:{node.lineno}"
            if called == "Console":
                assert path == Path(saying.__file__), place
            if called in ("read_text", "write_text") or _opens_text(node, called):
                assert any(keyword.arg == "encoding" for keyword in node.keywords), place


def _opens_text(node: ast.Call, called: str) -> bool:
    """Say whether a call opens a text file: `open`, or a method of that name with a mode or keywords of text."""
    if called != "open":
        return False
    if isinstance(node.func, ast.Name):
        mode = node.args[1] if len(node.args) > 1 else None
    else:
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id in ("os", "tarfile", "fsspec", "Image", "Pack", "Run", "archive"):
            return False
        mode = node.args[0] if node.args else None
        if not isinstance(mode, ast.Constant) and not any(keyword.arg == "newline" for keyword in node.keywords):
            return False
    return "b" not in str(getattr(mode, "value", "r"))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["audit", "--help"]])
def test_who_reads_no_further_gets_no_traceback(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    given = [sys.executable, "-m", "oneway", *arguments]
    done = subprocess.run(given, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE
