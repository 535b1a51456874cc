"""A server watches what it is sent: figures and alarms for Prometheus, and nothing of anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import oneway
from oneway.serving.app import make_app
from oneway.serving.config import ServeConfig
from oneway.serving.decider import Decider
from oneway.storage.inputs import file_hash
from test_serving import decided, got
from test_watching import NUMBERS, ROUNDED, SHOTS, World, bundle, world

__all__ = ["bundle"]


def figures(app: object) -> dict[str, float]:
    lines = got(app, "/metrics").content.decode().splitlines()  # type: ignore[arg-type]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_what_a_server_receives_is_held_to_what_was_audited(bundle: Path) -> None:
    drawn = World(world().encoder, np.random.default_rng(3))
    decider = Decider(bundle)
    app = make_app([decider], ServeConfig(watch=300, batch=60))
    told = f'bundle="{decider.bundle}"'

    def send(people: int, deviation: float) -> None:
        clean = drawn.clean(people)
        levels = ROUNDED.levels(clean + deviation * drawn.rng.normal(size=clean.shape))
        for start in range(0, len(levels), 60):
            part = levels[start : start + 60]
            assert decided(app, decider, part.tobytes(), oneway_batch=str(len(part))).status == 200

    send(80, 0.4)
    assert not [name for name in figures(app) if name.startswith("oneway_watch_figure")], "240 answers are too few"
    send(20, 0.4)
    found = figures(app)
    for check in ("mean", "covariance", "power", "levels"):
        assert found[f'oneway_watch_alarm{{{told},check="{check}"}}'] == 0, check
        assert f'oneway_watch_bound{{{told},check="{check}",side="high"}}' in found
    assert found[f"oneway_watch_answers{{{told}}}"] == 100 * SHOTS
    assert found[f'oneway_watches_total{{alarm="no",{told}}}'] == 1
    send(100, 0.0)
    found = figures(app)
    assert found[f'oneway_watch_alarm{{{told},check="power"}}'] == 1
    assert found[f'oneway_watches_total{{alarm="yes",{told}}}'] == 1
    assert found["oneway_messages_total"] == 200 * SHOTS


def test_a_server_can_leave_the_watch_out(bundle: Path) -> None:
    decider = Decider(bundle)
    assert decider.contract.numbers == NUMBERS
    app = make_app([decider], ServeConfig(watch=0))
    assert not [name for name in figures(app) if name.startswith("oneway_watches")]
    with pytest.raises(oneway.InputError, match="watch is 99; a watch needs 100 answers or more, and 0 makes none"):
        ServeConfig(watch=99)


def test_a_reference_of_another_bundle_is_not_served(bundle: Path) -> None:
    assert file_hash(bundle / "reference.json") == Decider(bundle).contract.files["reference.json"]
    (bundle / "reference.json").write_text("{}")
    with pytest.raises(oneway.InputError, match="is not the file that the contract names"):
        Decider(bundle)
