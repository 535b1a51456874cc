"""The one place where something is said: whatever names are in it and whoever listens, nothing raises."""

from __future__ import annotations

import io
import os
import sys

from rich.console import Console, RenderableType
from rich.text import Text

WIDE = 160
"""Characters of a line where nothing says how many there is room for: in a file, a pipe, a text."""


def console(*, stderr: bool = False) -> Console:
    """Make a console on stdout or stderr, in which brackets are brackets and no markup."""
    allow_every_character()
    there = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, markup=False, highlight=False, width=None if there else WIDE)


def as_text(renderable: RenderableType, *, width: int = WIDE) -> str:
    """Write a table as plain text of at most so many characters a line."""
    plain = Console(width=width, markup=False, highlight=False, color_system=None)
    with plain.capture() as captured:
        plain.print(renderable)
    return captured.get()


def allow_every_character() -> None:
    """Let stdout and stderr write a character that their encoding lacks, or a byte of a name, as its escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def marked(word: str, rest: str, *, style: str = "bold") -> Text:
    """Give a line that begins with a word in a style."""
    return Text.assemble((word, style), rest)
