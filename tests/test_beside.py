"""Several processes take the steps of one audit: each step once, by whichever is free, with the same results."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import nn

import oneway
from conftest import RUNTIME
from oneway.attacks.panel import attackers
from oneway.auditing import beside, measures
from oneway.auditing.beside import side_by_side
from oneway.auditing.measures import measure
from oneway.auditing.opening import Work
from oneway.auditing.steps import Steps, refused
from oneway.auditing.victim import Victim, from_module, from_onnx, from_run
from oneway.judges.verifier import Verifier
from oneway.runtime import launch
from oneway.storage.atomic import held
from test_auditing import BRIEF, Changed
from test_onnx_encoder import export

pytestmark = pytest.mark.whole
FABRIC = launch(RUNTIME)


@pytest.fixture
def work(people: oneway.Pack, judge: Verifier, tmp_path: Path) -> Work:
    victim = from_module(Changed(), "output", people, FABRIC)
    return Work(victim=victim, verifiers=(judge,), config=BRIEF, folder=tmp_path, images=False, other=None)


def test_a_step_that_another_process_is_at_is_not_taken(tmp_path: Path) -> None:
    steps = Steps(tmp_path, FABRIC, checkpoint_seconds=60, progress=False)
    with held(steps.path("floors", "lock")) as mine:
        assert mine
        assert steps.take("floors", lambda place: pytest.fail("it is another's")) is None
    taken = steps.take("floors", lambda place: refused("no reason"))
    assert taken is not None
    assert taken.facts.refused == "no reason"
    with held(steps.path("floors", "lock")):
        again = steps.take("floors", lambda place: pytest.fail("it is taken"))
    assert again == taken, "what is finished can be read by everybody"


def test_a_further_process_takes_steps_and_finds_what_this_one_does(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with threadpool_limits(1):  # as in the other process: sums of several threads round otherwise
        alone = measure(replace(work, folder=tmp_path / "alone").open(FABRIC, progress=False))
    work = replace(work, folder=tmp_path / "shared")
    last = work.folder / "parts" / "renewal.json"
    with side_by_side(work, 2):
        until = time.monotonic() + 120
        while not last.exists():  # this process does nothing
            assert time.monotonic() < until, "the other process took no step"
            time.sleep(0.1)
    monkeypatch.setattr(Steps, "_make", lambda *_: pytest.fail("every step is taken"))
    shared = measure(work.open(FABRIC, progress=False))
    assert list(shared) == list(alone)
    for name, step in alone.items():
        assert replace(shared[name].facts, seconds=None) == replace(step.facts, seconds=None), name
        for array, values in step.arrays.items():
            assert torch.equal(*(torch.from_numpy(each[array]) for each in (step.arrays, shared[name].arrays))), array
            assert len(values)


def test_an_audit_ends_though_the_further_processes_die(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_join", dict.fromkeys)  # which ends at once, with no step taken
    with side_by_side(work, 3):
        found = measure(work.open(FABRIC, progress=False))
    assert found["linkage"].refusal is None


def test_attackers_that_train_begin_first_and_after_what_they_go_on_from() -> None:
    steps = {
        "a": measures.Step(lambda *_: refused("a")),
        "b": measures.Step(lambda *_: refused("b"), after=("c",), long=True),
        "c": measures.Step(lambda *_: refused("c"), long=True),
    }

    class Taken:
        def take(self, name: str, make: object) -> object:
            return name

    class Context:
        steps = Taken()

    taken: dict[str, object] = {}
    order = [measures._next(Context(), steps, taken) for _ in steps]  # type: ignore[arg-type]
    assert order == ["c", "b", "a"]


def victims(make_run: Callable[..., oneway.Run], people: oneway.Pack, folder: Path) -> Iterator[Victim]:
    yield from_run(make_run("noisy", {"network.noise": 1.0, "steps": 2}), FABRIC, seed=0)
    yield from_module(Changed(), "layers.0", people, FABRIC)
    yield from_module(Changed(), "output", people, FABRIC)
    file = export(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)), folder / "encoder.onnx")
    yield from_onnx(file, people, "0..1", None)


def test_another_process_opens_the_encoder_anew(
    make_run: Callable[..., oneway.Run], people: oneway.Pack, tmp_path: Path
) -> None:
    for victim in victims(make_run, people, tmp_path):
        received = pickle.loads(pickle.dumps(victim))
        pictures = torch.rand(4, 3, victim.pack.size, victim.pack.size, generator=torch.Generator().manual_seed(0))
        found = []
        for each in (victim, received):
            assert each.encoder is not None
            with torch.no_grad(), each.seeded(1):
                found.append(each.encoder(pictures.clone()))
        assert torch.equal(*found), victim.kind
        assert received.encoder is not victim.encoder
        assert (received.identity, received.stages) == (victim.identity, victim.stages)


def test_what_cannot_be_sent_to_another_process_is_refused(
    work: Work, people: oneway.Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Changed()
    module.own = lambda pictures: pictures  # type: ignore[assignment]
    sealed = replace(work, victim=from_module(module, "output", people, FABRIC))
    message = r"jobs is 2, and what is audited cannot be sent .*; leave it at 1"
    with pytest.raises(oneway.InputError, match=message), side_by_side(sealed, 2):
        pass
    context = work.open(FABRIC, progress=False)
    monkeypatch.setattr(beside, "foretell", lambda *_: 3600.0)
    with beside._threads(2):
        assert beside.planned(sealed, context, None) == 1, "by default nothing fails that can be done alone"
        assert beside.planned(work, context, None) == 2


def test_fewer_than_one_process_is_refused(people: oneway.Pack, judge: Verifier, tmp_path: Path) -> None:
    with pytest.raises(oneway.InputError, match="jobs must be 1 or more, not 0"):
        oneway.audit(Changed(), data=people, out=tmp_path / "audit", config=BRIEF, verifier=judge, jobs=0)


@pytest.mark.parametrize(
    ("shape", "after"), [((8, 4, 4), ("inversion residual",)), ((8, 1, 1), ()), ((8,), ()), ((16, 8), ())]
)
def test_an_attacker_waits_for_another_only_where_it_goes_on_from_it(
    shape: tuple[int, ...], after: tuple[str, ...]
) -> None:
    access = SimpleNamespace(shape=shape)
    context: Any = SimpleNamespace(stolen=SimpleNamespace(access=access), config=SimpleNamespace(keep=False))
    panel = {name: attackers()[name] for name in ("residual", "identity")}
    assert measures._drawing("identity", panel["identity"], panel, context).after == after
    assert measures._drawing("residual", panel["residual"], panel, context).after == ()
    del panel["residual"]
    assert measures._drawing("identity", attackers()["identity"], panel, context).after == ()
