from __future__ import annotations

import io
import re
import sys

import pytest

from oneway import progress
from oneway.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "monotonic", clock)
    return clock


def terminal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Terminal:
    fake = Terminal()
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm", "COLUMNS": "100"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", fake)
    return fake


def lines(fake: Terminal) -> list[str]:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", fake.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if line]


def test_a_line_every_ten_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("training", 3000) as advance:
        for step in range(30):
            clock.now += 1
            advance(100, loss=1 / (step + 1), task_accuracy=0.5)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training: 1000/3000, 100 images/s, loss 0.1, task accuracy 0.5",
        "training: 2000/3000, 100 images/s, loss 0.05, task accuracy 0.5",
        "training: 3000/3000, 100 images/s, loss 0.03333, task accuracy 0.5",
    ]


def test_the_end_is_always_shown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("auditing", 4, "attacks") as advance:
        clock.now += 8
        advance(4)
    assert capsys.readouterr().err == "auditing: 4/4, 0.5 attacks/s\n"


def test_where_it_stopped_is_shown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with track("training", 8) as advance:
            advance(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert capsys.readouterr().err.startswith("training: 2/8")


def test_work_of_an_earlier_run_has_no_speed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("training", 1000, before=900) as advance:
        clock.now += 5
        advance(100)
    assert capsys.readouterr().err == "training: 1000/1000, 20 images/s\n"


def test_figures_keep_their_value(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("training", 200) as advance:
        advance(100, loss=0.25)
        clock.now += 1
        advance(100, error=float("nan"))
    assert capsys.readouterr().err == "training: 200/200, 200 images/s, loss 0.25, error nan\n"


def test_nothing_is_shown_when_disabled(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for fake in (sys.stderr, terminal(monkeypatch)):
        monkeypatch.setattr(sys, "stderr", fake)
        with track("training", 2, enabled=False) as advance:
            advance(2, loss=0.1)
    assert fake.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake = terminal(monkeypatch, NO_COLOR="1")
    with track("training [1]", 300, before=100) as advance:
        for _ in range(4):
            advance(50, loss=0.123456)
    assert "\x1b[" in fake.getvalue()
    final = lines(fake)[-1]
    for part in ("training [1]", "━━━", "300/300", "images/s", "0:00:0", "loss 0.1235"):
        assert part in final
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("width", [80, 200])
def test_nothing_is_cut_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    fake = terminal(monkeypatch, NO_COLOR="1", COLUMNS=str(width))
    with track("training", 1000) as advance:
        advance(100, task=0.5, reconstruction=0.25, accuracy=0.125)
    shown = lines(fake)[-1 if width == 200 else -4 :]
    assert all(len(line) <= width for line in shown)
    words = " ".join(shown).split()
    for part in ("training", "100/1000", "task", "0.5,", "reconstruction", "0.25,", "accuracy", "0.125"):
        assert part in words


@pytest.mark.parametrize("force", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_no_control_characters_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], force: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(force, "1")
    with track("training", 2) as advance:
        advance(2, loss=0.1)
    err = capsys.readouterr().err
    assert err.endswith("\n")
    assert err[:-1].isprintable()


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = terminal(monkeypatch, TERM="dumb")
    with track("training", 2) as advance:
        advance(2)
    assert fake.getvalue().startswith("training: 2/2, ")
    assert fake.getvalue()[:-1].isprintable()
