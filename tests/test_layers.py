"""The direction of imports, and the walls that types put between private pictures and attackers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import oneway

pytestmark = pytest.mark.whole

ROOT = Path(oneway.__file__).parent
RANKS = (
    {"errors"},
    {"console", "devices", "laws", "onnx_session", "plugins"},
    {"config"},
    {"progress", "workers", "storage", "runtime", "synthetic"},
    {"data", "losses", "metrics"},
    {"models", "report"},
    {"judges", "tasks"},
    {"attacks", "protection"},
    {"shipping"},
    {"auditing", "watching"},
    {"serving"},
    {"sweep", "demo"},
    {"reproduction"},
    {"cli"},
    {"__main__"},
)
"""Every room imports from those above it here and from itself, never from one beside or below it."""
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package but its front door, by its dotted name below `oneway`."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = ast.parse(path.read_text())
    return found


def imported(tree: ast.Module, known: set[str], *, at_runtime: bool = False) -> set[str]:
    """Names below `oneway` that a module imports, wherever; `at_runtime` only when it is imported itself."""
    found: set[str] = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        typing_only = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if at_runtime and (typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            continue
        nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("oneway.")}
            assert all(alias.name != "oneway" for alias in node.names), "name the module that is needed"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            package, _, below = (node.module or "").partition(".")
            if package == "oneway":
                for alias in node.names:
                    whole = f"{below}.{alias.name}".strip(".")
                    found.add(whole if whole in known else below)
    return found


def crossings(room: str, names: set[str]) -> list[str]:
    """Imports of a room that point beside it or downwards."""
    return sorted(
        name for name in names if (other := name.partition(".")[0]) != room and RANK.get(other, 99) >= RANK[room]
    )


def test_no_file_is_long() -> None:
    """One file for one idea."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_values_have_types_and_json_is_at_the_edge() -> None:
    untyped = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(ROOT.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(dict|Mapping)\[str, Any\]", line)
    ]
    assert len(untyped) <= 12, f"give these a type of their own, or `object` where they are only handed on: {untyped}"


def test_every_room_has_its_place() -> None:
    assert {name.partition(".")[0] for name in modules()} == set(RANK)


def test_imports_point_upwards_only() -> None:
    trees = modules()
    for name, tree in trees.items():
        found = imported(tree, set(trees))
        assert crossings(name.partition(".")[0], found) == [], name


def test_the_walls_stand_where_they_are_wanted() -> None:
    trees = modules()
    reached = {name: imported(tree, set(trees)) for name, tree in trees.items()}

    def rooms_of(room: str) -> set[str]:
        return {other.partition(".")[0] for name in reached if name.split(".")[0] == room for other in reached[name]}

    assert not rooms_of("data") & {"models", "attacks", "protection"}
    assert "protection" not in rooms_of("attacks")
    assert "attacks" not in rooms_of("protection")
    assert not any("cli" in others for name, others in reached.items() if name != "__main__")
    assert rooms_of("cli") >= {"data", "protection", "auditing"}  # or nothing was read
    assert rooms_of("errors") == set()


def test_no_module_needs_itself_to_be_imported() -> None:
    trees = modules()
    known = set(trees)
    graph = {name: imported(tree, known, at_runtime=True) & known - {name} for name, tree in trees.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert (
        order.index("errors")
        < order.index("data.packed")
        < order.index("judges.judge")
        < order.index("auditing.attack")
    )


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("data", "from oneway.models.encoder import backbone", ["models.encoder"]),
        ("data", "def f():\n    from oneway import auditing", ["auditing"]),
        ("data", "from oneway import losses", ["losses"]),
        ("attacks", "import oneway.protection.game", ["protection.game"]),
        ("models", "if TYPE_CHECKING:\n    from oneway.judges.judge import Judge", ["judges.judge"]),
        ("auditing", "from oneway.cli import main", ["cli"]),
        ("models", "from oneway.storage import runs\nfrom oneway.data.packed import Pack\nimport torch", []),
    ],
)
def test_a_wrong_direction_is_found(room: str, source: str, wrong: list[str]) -> None:
    assert crossings(room, imported(ast.parse(source), set(modules()))) == wrong


SNIPPET = """
from oneway.attacks.access import BlackBox
from oneway.attacks.fit import Place
from oneway.attacks.inversion import InversionConfig, invert
from oneway.data.packed import Pack
from oneway.models.decoder import Decoder


def attack(access: BlackBox, pack: Pack, decoder: Decoder, place: Place) -> None:
    invert(access, pack.PUBLIC, pack.VALIDATION, decoder, InversionConfig(), place)
"""
SETTINGS = """
[mypy]
strict = True
follow_imports = silent
ignore_missing_imports = True
disallow_subclassing_any = False
warn_return_any = False
warn_unused_ignores = False
[mypy-torch.*,numpy.*,torchvision.*,lightning_fabric.*,safetensors.*,rich.*,PIL.*,pyarrow.*]
follow_imports = skip
"""


def test_private_pictures_cannot_be_handed_to_an_attacker(tmp_path: Path) -> None:
    """Held by mypy: the threat model is in the types. Other libraries are not followed, which takes seconds less."""
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    for name, public, validation in (
        ("right", "public", "validation"),
        ("private", "private", "validation"),
        ("peeking", "public", "test"),
    ):
        (tmp_path / f"{name}.py").write_text(SNIPPET.replace("PUBLIC", public).replace("VALIDATION", validation))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "right.py", "private.py", "peeking.py"],
        cwd=tmp_path,
        env={"PATH": "", "MYPYPATH": str(ROOT.parent), "MYPY_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in checked.stdout.splitlines() if ": error:" in line]
    assert not [line for line in errors if line.startswith("right.py")], checked.stdout + checked.stderr
    assert len(errors) == 2, checked.stdout + checked.stderr
    private = next(line for line in errors if line.startswith("private.py"))
    peeking = next(line for line in errors if line.startswith("peeking.py"))
    assert 'Argument 2 to "invert" has incompatible type "Private"; expected "Public"' in private
    assert 'Argument 3 to "invert" has incompatible type "Test"; expected "Validation"' in peeking
