"""What each attribute gives away: against an oracle, in the order in which to leave them out, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

import oneway
from conftest import RUNTIME
from oneway import cli
from oneway.auditing.price import Decided, by_labels, by_run, price
from oneway.report.price import Prices
from oneway.runtime import launch
from oneway.storage.runs import read_json
from oneway.tasks.registry import task_of

pytestmark = pytest.mark.whole
FABRIC = launch(RUNTIME)
PARTS = ("public", "validation", "test")


class Told:
    """A judge whose features are three bits of each picture, in lengths of their own, and nothing else."""

    name, fingerprint = "told", "three bits"
    LENGTHS = np.array([3.0, 2.0, 1.0])

    def __init__(self, bits: NDArray[np.float64]) -> None:
        self.vectors = np.concatenate([bits * self.LENGTHS, np.ones((len(bits), 1))], axis=1)
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)

    def __call__(self, pictures: Tensor, _: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        raise AssertionError("its features are given")


@pytest.fixture
def decided(people: oneway.Pack) -> Decided:
    """Four bits: three independent ones that a judge sees, and a copy of the first."""
    drawn = np.random.default_rng(0)
    told = {}
    for split in PARTS:
        bits = drawn.integers(0, 2, (len(getattr(people, split)), 3)).astype(np.float64)
        told[split] = np.concatenate([bits, bits[:, :1]], axis=1)
    columns = {name: [place] for place, name in enumerate(("large", "middle", "small", "copy"))}
    return Decided(people, told, columns, {"large": 0.5}, "four bits")


def found(decided: Decided, monkeypatch: pytest.MonkeyPatch) -> Prices:
    judges = {split: Told(2 * decided.told[split][:, :3] - 1).vectors.astype(np.float32) for split in PARTS}
    monkeypatch.setattr("oneway.auditing.price.known_features", lambda _, part, **__: judges[part.split])
    return price(decided, Told(np.zeros((1, 3))), FABRIC, progress=False)


def test_prices_are_those_of_what_is_known(decided: Decided, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = found(decided, monkeypatch)
    assert prices.similarity.value == pytest.approx(1, abs=0.01)
    # Knowing nothing, the last number alone is sure; without a bit its expectation is 0.
    length = np.linalg.norm([*Told.LENGTHS, 1])
    assert prices.floor.value == pytest.approx(1 / length, abs=0.03)
    whole = 1 - 1 / length
    saved = {each.name: each.share for each in prices.without}
    expected = {"large": 0.0, "copy": 0.0}  # each is told by the other
    for name, own in (("middle", 2.0), ("small", 1.0)):
        expected[name] = (1 - np.sqrt(length**2 - own**2) / length) / whole
    for name, value in expected.items():
        assert saved[name].value == pytest.approx(value, abs=0.03), name
        assert saved[name].low <= saved[name].value <= saved[name].high
    assert [each.name for each in prices.without][:2] == ["middle", "small"], "the dearest first"
    alone = {each.name: each.share.value for each in prices.alone}
    for name, own in (("large", 3.0), ("copy", 3.0), ("middle", 2.0), ("small", 1.0)):
        assert alone[name] == pytest.approx((np.sqrt(1 + own**2) / length - 1 / length) / whole, abs=0.03), name
    assert {each.name: each.worth for each in prices.without}["large"] == 0.5


def test_they_are_left_out_in_the_order_that_saves_most(decided: Decided, monkeypatch: pytest.MonkeyPatch) -> None:
    prices = found(decided, monkeypatch)
    order = [each.name for each in prices.left_out]
    # Of the pair that says the same neither is worth leaving out, while the other tells it.
    assert order[:2] == ["middle", "small"]
    assert len(order) == 3, "with none left nothing is given away"
    left = [each.share.value for each in prices.left_out]
    assert left == sorted(left, reverse=True)
    assert left[-1] == pytest.approx({each.name: each.share.value for each in prices.alone}["large"], abs=0.02)


def test_what_says_nothing_has_no_price(decided: Decided, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {**decided.told, "test": 1 - decided.told["test"]}  # what was learned is the contrary of what holds
    judge = {split: Told(2 * decided.told[split][:, :3] - 1).vectors.astype(np.float32) for split in PARTS}
    monkeypatch.setattr("oneway.auditing.price.known_features", lambda _, part, **__: judge[part.split])
    with pytest.raises(
        oneway.InputError, match=r"four bits tell nothing of what told sees: .* no attribute has a price"
    ):
        price(replace(decided, told=told), Told(np.zeros((1, 3))), FABRIC, progress=False)
    one = replace(decided, columns={"large": [0]})
    with pytest.raises(oneway.InputError, match="needs two attributes or more, and the task has large"):
        price(one, Told(np.zeros((1, 3))), FABRIC, progress=False)


def test_labels_and_decisions_are_told_by_the_columns_of_their_attributes(
    people: oneway.Pack, make_run: Callable[..., oneway.Run]
) -> None:
    task = task_of(people, ("Mustache", "Smiling"))
    decided = by_labels(people, task)
    assert decided.columns == {"Mustache": [0], "Smiling": [1]}
    np.testing.assert_array_equal(decided.told["test"][:, 1], people.test.labels(["Smiling"])[:, 0])
    run = make_run("unprotected", {"game.pixel": 0.0, "steps": 220, "learning_rate": 1e-2})
    ours = by_run(run, FABRIC, seed=0)
    assert list(ours.columns) == list(run.attributes)
    assert ours.told["test"].shape == (len(run.pack.test), len(run.attributes))
    assert set(ours.worth) == set(run.attributes)


def test_the_command_says_prices(
    people: oneway.Pack, people_judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = "Mustache,Smiling,Eyeglasses"
    cli.main(
        ["price", str(people.path), "--task", task, "--verifier", str(people_judge), "--out", f"{tmp_path}/p.json"]
    )
    said = capsys.readouterr().out
    assert "saved without it" in said
    written = read_json(tmp_path / "p.json")
    assert {each["name"] for each in written["without"]} == set(task.split(","))
    assert written["similarity"]["value"] > written["floor"]["value"]
    refused = {
        ("--data", "x"): "is no run; leave it out",
        ("--task", "Nose"): "Nose",
        ("--out", str(tmp_path)): "is a folder",
    }
    for more, sentence in refused.items():
        with pytest.raises(SystemExit, match="2"):
            cli.main(["price", str(people.path), "--verifier", str(people_judge), *more])
        assert sentence in capsys.readouterr().err
