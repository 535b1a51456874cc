"""The site of docs/: every page is in its navigation, every command and configuration in its reference."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

import oneway
from oneway.cli import COMMANDS
from oneway.data.readers.layouts import layouts

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
UNSET = {"contract.py", "attacker.py", "made.py", "task.py", "defence.py", "fit.py", "identity.py", "generative.py"}
"""Files whose checked classes nobody sets: read from what was written, or a base of others, or an attacker's own."""


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    """The script that makes the pages of reference."""
    sys.path.insert(0, str(DOCS))
    try:
        import pages

        yield pages
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def made(maker: ModuleType) -> dict[str, str]:
    pages: dict[str, str] = maker.pages()
    return pages


def checked_classes() -> set[str]:
    """Name the configurations of the package by reading its files."""
    found = set()
    for path in (ROOT / "src" / "oneway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            decorators = [ast.unparse(each) for each in getattr(node, "decorator_list", [])]
            if isinstance(node, ast.ClassDef) and "checked" in decorators and path.name not in UNSET:
                found.add(node.name)
    return found


def trees(text: str) -> list[str]:
    """Give the entries of every toctree of a page."""
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]


def test_every_page_is_in_the_navigation(made: dict[str, str]) -> None:
    index = trees((DOCS / "index.md").read_text())
    written = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    written = {name for name in written if not name.startswith("reference/")} - {"index"}
    generated = {f"reference/{name}" for name in made}
    below = [f"reference/{entry}" for content in made.values() for entry in trees(content)]
    assert sorted([*index, *below]) == sorted(written | generated)


def test_every_command_has_its_page_with_every_flag(made: dict[str, str]) -> None:
    for name in COMMANDS:
        page = made[f"commands/{name}"]
        assert f"usage: oneway {name}" in page
        assert f"commands/{name}" in trees(made["commands"])
        flags = {flag.replace("_", "-") for flag in COMMANDS[name].__kwdefaults__ or {}}
        described = re.findall(r"^`--([\w-]+)[^`]*`\n: \S.+$", page, flags=re.MULTILINE)
        assert flags <= set(described)
    for layout in layouts():
        assert f"usage: oneway prepare {layout}" in made["commands/prepare"]
    assert "`--fail-above STR`\n: NAME=LIMIT: end with exit code 3 unless" in made["commands/audit"]


def test_every_configuration_has_its_fields_with_default_and_meaning(made: dict[str, str]) -> None:
    settings = "\n".join(content for name, content in made.items() if name.startswith("settings/"))
    described = set(re.findall(r"^## (\w+)", settings, flags=re.MULTILINE))
    classes = checked_classes()
    assert len(classes) > 20
    assert classes - described == set()
    entries = re.findall(r"^`[\w.]+`, (?:required|by default .+)\n: (.+)$", settings, flags=re.MULTILINE)
    assert len(entries) == len(re.findall(r"^`[\w.]+`", settings, flags=re.MULTILINE)) > 150
    assert [entry for entry in entries if not re.fullmatch(r".+?\. [^ ].*", entry)] == []
    # One of them, by hand: what it is called, what it is, what it may be, what it means.
    assert (
        "`game.decoder_steps`, by default `4`\n: whole number, 1 or more. Steps of the adversary for each" in settings
    )


def test_the_public_names_have_their_descriptions(made: dict[str, str]) -> None:
    assert set(re.findall(r"^\.\. auto\w+:: oneway\.(\w+)$", made["python"], flags=re.MULTILINE)) == set(oneway.__all__)
    for name in ("attacks.panel.Attacker", "metrics.registry.Metric", "tasks.task.Task", "judges.verifier.Verifier"):
        assert f":: oneway.{name}\n" in made["extension-points"]


def test_the_schemas_have_every_record_and_field(made: dict[str, str], maker: ModuleType) -> None:
    for page, described in (
        ("results-schema", maker.results_schema()),
        ("contract-schema", maker.contract_schema()),
    ):
        for record, inside in described["$defs"].items():
            (section,) = re.findall(rf"^## {record}\n(.*?)(?=^## |\Z)", made[page], flags=re.DOTALL | re.MULTILINE)
            shown = re.findall(r"^`(\w+)`(?: \(may be left out\))?\n: \S", section, flags=re.MULTILINE)
            assert shown == list(inside.get("properties", {}))


class Page(HTMLParser):
    """What a page asks for: scripts, styles, pictures and frames; where it leads; where one can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "index", "search", "next", "prev"):
            self.asked.append(given["href"])
        elif "src" in given:
            self.asked.append(given["src"])


@pytest.mark.whole
def test_the_site_is_built_without_a_warning_and_asks_nobody_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*build, str(DOCS), str(tmp_path / "site")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pages = {path.resolve(): Page(path.read_text()) for path in (tmp_path / "site").rglob("*.html")}
    assert len(pages) > 50
    for path, page in pages.items():
        for asked in page.asked:
            assert not urlsplit(asked).netloc, (path, asked)
            assert (path.parent / urlsplit(asked).path).is_file(), (path, asked)
        for link in page.links:
            led = urlsplit(link)
            if not led.scheme:
                there = (path.parent / led.path).resolve() if led.path else path
                assert there.is_file(), (path, link)
                assert not led.fragment or there not in pages or led.fragment in pages[there].anchors, (path, link)
    for style in (tmp_path / "site").rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)|@import[^;]*//", style.read_text()) == []
