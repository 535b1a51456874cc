"""What an audit is said to take: as many steps as budgets have, nothing of what is not trained, no trace left."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import oneway
from conftest import RUNTIME
from oneway.attacks.access import BlackBox
from oneway.attacks.inversion import InversionConfig
from oneway.attacks.panel import KERNEL, LINEAR, attackers, trained
from oneway.auditing import foretell
from oneway.auditing.foretell import Rehearsal, judging
from oneway.auditing.measures import configured_panel
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import TorchVerifier
from oneway.runtime import launch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that every picture sent to the encoder moves by a second."""
    passed = [0]
    monkeypatch.setattr(foretell.time, "perf_counter", lambda: float(passed[0]))
    return passed


class Ticking(nn.Module):
    """An encoder whose every picture takes a second."""

    def __init__(self, clock: list[int]) -> None:
        super().__init__()
        self.clock, self.layers = clock, nn.Sequential(nn.AvgPool2d(8), nn.Flatten())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.clock[0] += len(pictures)
        features: torch.Tensor = self.layers(pictures)
        return features


@pytest.fixture
def rehearsal(people: oneway.Pack, clock: list[int]) -> Rehearsal:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 16))
    verifier = Surrogate(TorchVerifier(network, "flat"), people, torch.device("cpu"))
    fabric = launch(RUNTIME)
    access = BlackBox(Ticking(clock), fabric, people.size)
    return Rehearsal(
        access=access,
        pack=people,
        config=oneway.AuditConfig(),
        fabric=fabric,
        stages=None,
        surrogates={"flat": verifier},
    )


def test_every_step_of_the_budget_is_counted(rehearsal: Rehearsal) -> None:
    config = InversionConfig(batch_size=8, width=0.125, max_steps=300)
    assert rehearsal.training([trained("mirror", config)]) == 300 * 8
    cut = replace(rehearsal, config=oneway.AuditConfig(steps=40))
    assert cut.training([trained("mirror", config)]) == 40 * 8
    identity = replace(attackers()["identity"], trains_with=("flat",))
    assert identity.budget is not None
    assert rehearsal.training([identity]) == 16 * identity.budget
    assert rehearsal.predicting() == 64 * rehearsal.config.feature.max_steps


def test_what_is_solved_has_no_budget(rehearsal: Rehearsal) -> None:
    assert rehearsal.training([LINEAR, KERNEL]) == 0


def test_no_trace_is_left(rehearsal: Rehearsal, people: oneway.Pack) -> None:
    before, state = {path: path.stat().st_mtime_ns for path in people.path.rglob("*")}, torch.get_rng_state()
    identity = replace(attackers()["identity"], trains_with=("flat",))
    rehearsal.training([identity, attackers()["mirror"]])
    assert {path: path.stat().st_mtime_ns for path in people.path.rglob("*")} == before
    assert torch.equal(torch.get_rng_state(), state)


def test_judging_counts_validation_and_test_pictures(people: oneway.Pack, clock: list[int]) -> None:
    verifier = TorchVerifier(nn.Sequential(Ticking(clock), nn.Linear(48, 4)), "slow")
    assert judging(verifier, people) == len(people.validation) + len(people.test)


def test_each_group_of_judges_is_trained_with_by_an_attacker_of_its_own() -> None:
    config = oneway.AuditConfig(attackers=("mirror", "identity"), seed=3)
    panel = configured_panel(config, [("a", "b"), ("b",)])
    assert list(panel) == ["linear", "kernel", "mirror", "identity with a, b", "identity with b"]
    assert [each.trains_with for each in panel.values()] == [(), (), (), ("a", "b"), ("b",)]
    assert {each.seed for each in panel.values()} == {3}
    assert "identity" not in "".join(configured_panel(config, []))
