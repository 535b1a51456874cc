from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import oneway

pytestmark = pytest.mark.whole


def declared() -> dict[str, str]:
    """Names and homes of the imports that type checkers see."""
    tree = ast.parse(Path(oneway.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name  # what makes it a re-export
            found[alias.name] = str(node.module)
    return found


def python(code: str) -> str:
    """Run code in an interpreter of its own and give what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_public_names_are_these() -> None:
    assert sorted(oneway.__all__) == [
        "AuditConfig",
        "AuditReport",
        "DivergedError",
        "EncoderConfig",
        "Estimate",
        "GameConfig",
        "InputError",
        "InversionConfig",
        "Loaded",
        "LostError",
        "Pack",
        "Preprocessing",
        "ProtectConfig",
        "Run",
        "RuntimeConfig",
        "attack",
        "audit",
        "compare",
        "export",
        "load_encoder",
        "open_verifier",
        "prepare",
        "protect",
    ]


@pytest.mark.parametrize("name", oneway.__all__)
def test_each_is_what_its_home_defines(name: str) -> None:
    home = import_module(oneway._HOMES[name])
    assert getattr(oneway, name) is vars(home)[name]
    assert getattr(oneway, name).__module__ == home.__name__  # defined there, not passed on
    assert getattr(oneway, name).__doc__


def test_type_checkers_see_the_names_that_are_there() -> None:
    assert declared() == oneway._HOMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'oneway' has no attribute 'protcet'"):
        oneway.protcet  # noqa: B018
    assert not hasattr(oneway, "torch")


def test_importing_the_package_does_not_import_torch() -> None:
    heavy = python("import oneway, sys; oneway.InputError; print({'torch', 'numpy', 'rich'} & set(sys.modules))")
    assert heavy == "set()"


def test_all_names_come_with_a_star() -> None:
    names: dict[str, object] = {}
    exec("from oneway import *", names)
    assert set(oneway.__all__) <= set(names)
    assert names["Pack"] is oneway.Pack


def test_dir_lists_the_names_before_they_are_imported() -> None:
    listed = python("import oneway; print(*dir(oneway))").split()
    assert {*oneway.__all__, "__version__"} <= set(listed)
    assert listed == sorted(set(listed))


def test_the_version_is_the_installed_one() -> None:
    assert oneway.__version__ == version("oneway")


@pytest.mark.parametrize("start", [["-m", "oneway"], ["-c", "from oneway.cli import main; main()"]])
def test_the_command_says_its_version(start: list[str]) -> None:
    done = subprocess.run([sys.executable, *start, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"oneway {version('oneway')}\n", "")


def test_importing_and_helping_take_under_half_a_second(tmp_path: Path) -> None:
    """Of processor time, once Python has kept the bytecode; the least of three, as other work slows caches down."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)

    def seconds(start: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", start], capture_output=True, check=False, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # A busy machine takes longer for everything, so its own start is the measure there.
    limit = max(0.5, 25 * min(seconds("pass") for _ in range(5)))
    for start in ("from oneway.cli import main; main(['--help'])", "import oneway; dir(oneway); oneway.__version__"):
        assert min(seconds(start) for _ in range(3)) < limit, start


def test_importing_the_command_line_imports_no_processes() -> None:
    assert python("import oneway.cli, sys; print({'asyncio', 'multiprocessing'} & set(sys.modules))") == "set()"
