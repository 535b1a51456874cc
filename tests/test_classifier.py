from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from oneway.models.classifier import Classifier
from oneway.models.encoder import CUTS, EncoderConfig, backbone
from oneway.models.split import features_shape, split


def expected(classifier: Classifier, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two fully connected layers in numpy."""
    first, second = classifier.hidden, classifier.logits
    hidden = np.maximum(pooled @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    return hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy()


@pytest.mark.parametrize("shape", [(6,), (4, 6), (6, 1, 1), (6, 5, 3)])
def test_positions_are_averaged_and_two_layers_follow(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    classifier = Classifier(nn.Identity(), rest_shape=shape, num_logits=3, hidden=8)
    features = torch.randn(5, *shape)
    kept = features.numpy()
    pooled = kept.mean(axis=(2, 3)) if len(shape) == 3 else kept.reshape(5, -1)
    np.testing.assert_allclose(classifier(features).detach().numpy(), expected(classifier, pooled), atol=1e-5)


@pytest.mark.parametrize("cut", CUTS)
def test_it_continues_every_cut_and_every_weight_learns(cut: str) -> None:
    torch.manual_seed(0)
    encoder, rest = split(backbone(EncoderConfig(width=0.125, cut=cut), 32), cut)
    rest_shape = features_shape(nn.Sequential(encoder, rest), 32)
    classifier = Classifier(rest, rest_shape=rest_shape, num_logits=40)
    logits = classifier(encoder(torch.rand(4, 3, 32, 32)))
    assert logits.shape == (4, 40)
    logits.square().mean().backward()
    for name, weight in classifier.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_it_learns_a_simple_attribute() -> None:
    torch.manual_seed(0)
    classifier = Classifier(nn.Identity(), rest_shape=(6,), num_logits=1, hidden=16)
    features = torch.randn(256, 6)
    labels = (features[:, :1] * features[:, 1:2] > 0).float()  # no linear layer can tell
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.03)
    for _ in range(200):
        loss = nn.functional.binary_cross_entropy_with_logits(classifier(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((classifier(features) > 0) == labels.bool()).float().mean() > 0.9
