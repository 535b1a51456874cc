"""The pages of docs/examples, and those of the start, run as they stand, commands and Python, with small budgets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import oneway
from oneway import cli
from oneway.report.sweeps import BenchmarkReport

pytestmark = pytest.mark.whole

DOCS = Path(__file__).parents[1] / "docs"
SHIPPED = "examples/ship"
"""The page whose comparison is made elsewhere, and which is gone on with from there."""
ASKED = [
    f"--set={name}"
    for name in ("attackers=mirror", "brief=true", "steps=20", "feature.width=4", "feature.batch_size=32")
]
"""What the audits of that comparison are made of, see conftest.AUDIT."""
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def coloured(path: Path, side: int, value: int, generator: np.random.Generator) -> None:
    """Write smooth random colours, of which a corner says what the picture is of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    pixels[:3, :3] = 25 * value
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR).save(path)


def cifar10(root: Path) -> None:
    """A few pictures of each class, in the folders of train and test."""
    generator = np.random.default_rng(0)
    for value, name in enumerate(CLASSES):
        for part, count in (("train", 20), ("test", 6)):
            for shot in range(count):
                coloured(root / "cifar10" / part / name / f"{shot:04d}.jpg", 32, value, generator)


def utkface(root: Path) -> None:
    """A few pictures of each age group, and their table."""
    generator = np.random.default_rng(0)
    rows = ["image,age_group,gender"]
    for number in range(300):
        group, gender = number % 10, number // 10 % 2
        coloured(root / "utkface" / "images" / f"{number:03d}.jpg", 64, group, generator)
        rows.append(f"{number:03d}.jpg,{group},{gender}")
    (root / "utkface" / "labels.csv").write_text("\n".join(rows))


def photographs(root: Path) -> None:
    """Two pictures of each person, and their table."""
    generator = np.random.default_rng(0)
    rows = ["image,person,smiling"]
    for number in range(520):
        name = f"person{number // 2}/{number % 2}.jpg"
        coloured(root / "pictures" / name, 64, number % 10, generator)
        rows.append(f"{name},person{number // 2},{number % 2}")
    (root / "labels.csv").write_text("\n".join(rows))


def nothing(root: Path) -> None:
    """It draws its own."""


DATA: dict[str, Callable[[Path], None]] = {
    "examples/cifar10": cifar10,
    "examples/dataset": nothing,
    "examples/utkface": utkface,
    "examples/vit": cifar10,
    "start/first-audit": nothing,
    "start/own-pictures": photographs,
}


def blocks(text: str) -> list[tuple[str, str]]:
    """Give the language of each fenced block, and what it holds, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def brief(command: list[str]) -> list[str]:
    """Make the budget of a command small."""
    further = {"audit": ["--set", "steps=2"], "prepare": ["--jobs", "1"]}.get(command[0], [])
    small = {r"--steps \d+": "--steps 2", r"--people \d+ --shots \d+": "--people 260 --shots 2"}
    line = reduce(lambda said, each: re.sub(*each, said), small.items(), shlex.join(command))
    return shlex.split(line) + further


def test_every_example_is_run() -> None:
    pages = {f"examples/{path.stem}" for path in (DOCS / "examples").glob("*.md")}
    assert pages | {"start/first-audit", "start/own-pictures"} == {*DATA, SHIPPED}


@pytest.mark.parametrize("name", DATA)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    DATA[name](tmp_path)
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"__name__": "__main__"}
    for language, text in blocks((DOCS / f"{name}.md").read_text()):
        if language == "python":
            small = re.sub(r"steps=\d+", "steps=2", text)
            capsys.readouterr()
            exec(compile(small, f"{name}.md", "exec"), known)
            assert capsys.readouterr().out.strip(), text
            continue
        for line in text.replace("\\\n", " ").splitlines():
            program, *command = shlex.split(line)
            if program != "oneway":
                continue  # a table
            cli.main(brief(command))
            place = Path(command[command.index("--out") + 1])
            made = {"prepare": place / "pack.json", "verifier": place}
            assert made.get(command[0], place / "results.json").is_file()


def test_what_was_picked_is_shipped_as_the_page_says(
    compared: BenchmarkReport,
    compared_at: Path,
    people: oneway.Pack,
    people_judges: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (_, comparing), (_, picking), (_, shipping) = blocks((DOCS / f"{SHIPPED}.md").read_text())
    for line in [*comparing.replace("\\\n", " ").splitlines()[1:], picking.strip()]:
        with pytest.raises(SystemExit):  # understood, but for the pack and the comparison, which are not here
            cli.main(shlex.split(line)[1:])
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(("error: faces", "error: compared")), line
    control, picked = compared.rows[0], compared.rows[-1]
    places = {"RUN": picked.run, "CONTROL": control.audit}
    known = {name: str(compared_at / place) for name, place in places.items()}
    known |= {"faces": str(people.path), "judge.safetensors": str(people_judges[0])}
    for line in shipping.splitlines():
        command = [known.get(word, word) for word in shlex.split(line)[1:]]
        if command[0] == "audit":  # asks what its control was asked
            command = [*command[: command.index("--set")], *ASKED, *command[command.index("--out") :]]
            command += ["--verifier", str(people_judges[1])]
        cli.main(command)
    assert (tmp_path / "bundle" / "card.html").is_file()
    assert "is whole; its card is of these bytes" in capsys.readouterr().out
