"""The head reads features of any shape: square maps by convolutions, all else as the vector that it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import oneway
from conftest import RUNTIME
from oneway.attacks import feature, information, kernel
from oneway.attacks.access import FeatureDump
from oneway.attacks.fit import Place
from oneway.attacks.inference import InferenceConfig, infer, predict_attributes
from oneway.attacks.pairs import Pairs
from oneway.auditing.config import AuditConfig
from oneway.auditing.foretell import Rehearsal
from oneway.metrics.classification import utility
from oneway.models.head import Head
from oneway.runtime import launch

OBLONG = ((64, 2, 4), (32, 1, 4), (3, 64, 16), (8, 5, 4), (2, 4, 9))
QUICK = {"width": 8, "batch_size": 32, "check_every": 25}


def convolves(head: Head) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in head.modules())


@pytest.mark.parametrize("shape", [*OBLONG, (16,), (3, 7), (4, 2, 2), (2, 3, 4, 5), (5, 1, 1)])
def test_what_is_no_square_map_is_read_as_if_it_lay_flat(shape: tuple[int, ...]) -> None:
    features = torch.rand(3, *shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = Head(shape, 5, width=8)
        torch.manual_seed(0)
        flat = Head((math.prod(shape),), 5, width=8)
    assert not convolves(head)
    torch.testing.assert_close(head(features), flat(features.flatten(1)))


@pytest.mark.parametrize("shape", [(8, 4, 4), (2, 9, 9), (7, 7, 32), (50, 6)])
def test_what_is_a_square_map_is_read_as_one(shape: tuple[int, ...]) -> None:
    head = Head(shape, 5, width=8)
    assert convolves(head)
    assert head(torch.rand(3, *shape)).shape == (3, 5)


@pytest.mark.whole
def test_every_attacker_with_a_head_reads_maps_whose_sides_differ(people: oneway.Pack, tmp_path: Path) -> None:
    rng, parts = np.random.default_rng(0), (people.public, people.validation, people.test)
    told = {part.split: part.labels(("Smiling",))[:, :, None, None] for part in parts}
    noise = {split: 0.1 * rng.normal(size=(len(bits), 8, 2, 4)) for split, bits in told.items()}
    access = FeatureDump(
        {split: (bits + noise[split]).astype(np.float32) for split, bits in told.items()}, torch.device("cpu")
    )
    fabric = launch(RUNTIME)

    def place(name: str) -> Place:
        return Place(fabric=fabric, checkpoint=tmp_path / name, checkpoint_seconds=math.inf, progress=False)

    public, validation, test = parts
    probe = infer(access, public, validation, ("Smiling",), InferenceConfig(**QUICK, max_steps=150), place("inference"))
    predicted = predict_attributes(access, probe.network, test)
    assert utility(predicted, test.labels(("Smiling",)), test.identities, ("Smiling",))[0].value > 0.95
    known = {split: np.where(bits[:, :, 0, 0], [[1, 0]], [[0, 1]]).astype(np.float32) for split, bits in told.items()}
    pairs = Pairs(access=access, fitted_on=access, public=public)
    solved = feature.solve(kernel.regress, pairs, validation, known).network
    learned = feature.learn(
        access, public, validation, known, solved, feature.FeatureConfig(**QUICK, max_steps=150), place("feature")
    )
    assert learned.validation_error < 0.05  # 1 - cosine
    config = information.InformationConfig(**QUICK, max_steps=25)
    critic = information.new_critic(access.shape, people.size, config)
    fitted = information.learn(access, public, validation, critic, config, place("information"))
    assert math.isfinite(fitted.validation_error)
    rehearsal = Rehearsal(access=access, pack=people, config=AuditConfig(), fabric=fabric, stages=None)
    assert rehearsal.predicting() >= 0
