"""The fresh probe: it sees what the playing decoder cannot, and decides which weights a run keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import oneway
from oneway.data.batches import to_pictures
from oneway.metrics.estimate import Estimate
from oneway.protection.game import protector_step
from oneway.protection.probe import Probe
from oneway.protection.run import build
from oneway.protection.train import Training
from oneway.report.reports import Probed, RunReport, Validated
from oneway.report.table import probe_line
from oneway.report.values import Utility
from oneway.runtime import launch
from test_train import KilledError, differing, kill_after

pytestmark = pytest.mark.whole

Tiny = Callable[..., oneway.ProtectConfig]
PROBED = {"game.probe_every": 10, "game.probe_steps": 8, "steps": 40, "game.warmup": 0.25, "game.ramp": 0.25}


@pytest.fixture
def training(pack: oneway.Pack, tiny: Tiny, tmp_path: Path) -> Callable[..., Training]:
    def make(changes: dict[str, Any]) -> Training:
        config = tiny(changes)
        protector = build(config, size=pack.size, num_attributes=len(pack.attributes))
        return Training(launch(config.runtime), pack, pack.attributes, config, protector, tmp_path)

    return make


def probe_of(training: Training) -> Probe:
    assert training.probe is not None
    return training.probe


def test_probes_are_made_at_the_games_full_weight_and_at_the_end(training: Callable[..., Training]) -> None:
    probe = probe_of(training(PROBED | {"steps": 45}))
    assert [step for step in range(1, 46) if probe.due(step)] == [30, 40, 45]


def test_a_probe_alarms_where_the_playing_decoder_has_learned_nothing(training: Callable[..., Training]) -> None:
    played = training(PROBED | {"game.probe_steps": 120, "network.noise": 0.0, "network.bottleneck": 0})
    before = {name: weight.clone() for name, weight in played.protector.network.state_dict().items()}
    probe_of(played).make(10, played.adversaries.strongest)
    found = probe_of(played).last
    assert found is not None
    assert found.alarm
    assert found.error < 0.8 * found.playing_error
    for name, weight in played.protector.network.state_dict().items():
        assert torch.equal(weight, before[name]), name
    # A decoder that has learned as long as the probe gives no alarm.
    for step in range(60):
        batches = [played.public(2 * step)[0], played.public(2 * step + 1)[0]]
        played.adversaries.learn(played.protector, batches)
    probe_of(played).make(20, played.adversaries.strongest)
    again = probe_of(played).last
    assert again is not None
    assert not again.alarm
    assert again.error == pytest.approx(found.error, rel=0.25)


def test_the_objective_is_the_protectors_loss_against_the_fresh_decoder(training: Callable[..., Training]) -> None:
    played = training(PROBED | {"game.pixel": 2.0, "network.noise": 0.0, "game.target": "mean_face"})
    probe = probe_of(played)
    probe.make(10, played.adversaries.strongest)
    found, validation = probe.last, played.probe._pack.validation  # type: ignore[union-attr]
    assert found is not None
    utility, error, term = probe._judge(played.adversaries.strongest.network)
    assert error == pytest.approx(found.playing_error)
    pictures = to_pictures(validation.images(slice(None)))
    network = played.protector.network.eval()
    with torch.no_grad():
        features, logits = network(pictures)
        drawn = played.adversaries.strongest.network.eval()(features)
    labels = torch.from_numpy(validation.labels(played.probe._pack.attributes))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    assert utility == pytest.approx(float(expected), rel=1e-4)
    assert error == pytest.approx(float((drawn - pictures).square().mean()), rel=1e-4)
    assert term == pytest.approx(2.0 * float((drawn - played.mean_face).square().mean()), rel=1e-4)


def test_the_weights_that_did_best_against_a_fresh_decoder_are_kept(
    training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    played = training(PROBED)
    probe = probe_of(played)
    monkeypatch.setattr(probe, "_judge", lambda _: (worth.pop(0), 0.1, 0.0))
    worth = [2.0, 0.0, 1.0, 0.0, 3.0, 0.0]  # of the protector, then of the playing decoder
    states = []
    for step in (20, 30, 40):
        probe.make(step, played.adversaries.strongest)
        states.append({name: weight.clone() for name, weight in played.protector.network.state_dict().items()})
        pictures, labels = played.private(step)
        protector_step(
            played.fabric,
            played.protector,
            played.adversaries.strongest,
            pictures,
            labels,
            mean_face=played.mean_face,
            pixel=1.0,
            target="away",
        )
    assert probe.best is not None
    assert probe.best.step == 30
    probe.take_best()
    for name, weight in played.protector.network.state_dict().items():
        assert torch.equal(weight, states[1][name]), name


def test_a_killed_run_with_probes_and_several_decoders_resumes_to_the_bit(
    pack: oneway.Pack, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = PROBED | {"game.decoders": 2, "game.decoder_restart": 4, "game.decoder_gan": 0.01}
    changes |= {"game.probe_every": 3, "game.probe_steps": 4, "steps": 9}
    monkeypatch.setattr("oneway.protection.train.LOG_EVERY", 4)  # steps between two checkpoints
    straight = oneway.protect(pack, tmp_path / "straight", tiny(changes), progress=False)
    for already, steps in enumerate((7, 2)):
        with monkeypatch.context() as patch:
            kill_after(patch, steps)
            with pytest.raises(KilledError):
                oneway.protect(pack, tmp_path / "killed", tiny(changes), progress=False, resume=already > 0)
    resumed = oneway.protect(pack, tmp_path / "killed", tiny(changes), progress=False, resume=True)
    assert differing(straight, resumed) == []
    ours, theirs = (json.loads((run.path / "results.json").read_text()) for run in (straight, resumed))
    assert ours["probes"] == theirs["probes"]
    assert ours["probes"]["last"]["step"] == 9
    assert (straight.path / "log.csv").read_bytes() == (resumed.path / "log.csv").read_bytes()
    header, *rows = (straight.path / "log.csv").read_text().splitlines()
    assert header.endswith(",probe_error")
    assert rows[-1].rpartition(",")[2] == f"{ours['probes']['last']['error']:.6g}"


def test_a_run_says_what_its_last_probe_found() -> None:
    last = Probed(step=9, error=0.03, playing_error=0.06, objective=0.4, alarm=True)
    score = Estimate(value=0.5, low=0.4, high=0.6, n=9, unit="MCC")

    def line(probes: dict[str, Probed | None] | None) -> str | None:
        utility = Utility(mean_mcc=score, mcc={})
        return probe_line(
            RunReport(schema=4, utility=utility, validation=Validated(mean_mcc=0.5), probes=probes, provenance={})
        )

    assert "outran its opponent" in str(line({"last": last}))
    assert "no alarm" in str(line({"last": replace(last, alarm=False)}))
    assert line({"last": None}) is None
    assert line(None) is None
