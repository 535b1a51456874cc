"""What lies on a GPU is what would be read from the disk; here the processor plays the GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import oneway
from oneway.attacks.access import FeatureDump
from oneway.data import resident
from oneway.data.batches import Batches, load

CPU = torch.device("cpu")


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor's memory be a GPU's."""
    monkeypatch.setattr(resident, "room", lambda device: 1 << 30)
    monkeypatch.setattr(resident, "_held", type(resident._held)())


def test_pieces_are_put_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "_PIECE", 7)
    rows = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    monkeypatch.setattr(resident, "room", lambda device: rows.nbytes)
    held = resident.copied(20, lambda asked: rows[asked], CPU)
    assert held is not None
    np.testing.assert_array_equal(held.numpy(), rows)
    monkeypatch.setattr(resident, "room", lambda device: rows.nbytes - 1)
    assert resident.copied(20, lambda asked: rows[asked], CPU) is None


def test_a_processor_keeps_nothing(pack: oneway.Pack) -> None:
    assert resident.room(CPU) == 0
    assert resident.pixels(pack.public, CPU) is None


def test_pictures_are_those_of_the_pack(pack: oneway.Pack, roomy: None) -> None:
    index = np.array([5, 0, 5, 17])
    mirrored = np.array([True, False, False, True])
    assert resident.pixels(pack.public, CPU) is not None
    for asked in (index, slice(3, 9)):
        assert torch.equal(load(pack.public, asked, device=CPU), load(pack.public, asked))
    given, expected = load(pack.public, index, mirrored, CPU), load(pack.public, index, mirrored)
    assert torch.equal(given, expected)
    assert given.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(
        Batches(pack.public, batch_size=8, seed=0, device=CPU)(3)[0], Batches(pack.public, batch_size=8, seed=0)(3)[0]
    )


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8])
def test_stored_features_are_those_of_the_dump(pack: oneway.Pack, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    stored, turned = (draw.normal(0, 9, (len(pack.public), 4, 2, 2)).astype(kind) for _ in range(2))
    index, mirrored = np.array([3, 1, 1]), np.array([False, True, False])
    answers = []
    for most in (0, 1 << 30):
        monkeypatch.setattr(resident, "room", lambda device, most=most: most)
        dump = FeatureDump({"public": stored}, CPU, {"public": turned})
        asked = [(index, mirrored), (index, None), (slice(2, 5), None)]
        answers.append([dump.features(pack.public, rows, flips) for rows, flips in asked])
        assert any(held is not None for held in dump._held.values()) == (most > 0)
    for ours, theirs in zip(*answers, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)
