from __future__ import annotations

import pytest
import torch
from torch import nn

from oneway import losses
from oneway.models.discriminator import Discriminator


@pytest.mark.parametrize("size", [16, 17, 31, 32, 64, 97])
def test_it_gives_one_logit_for_each_picture_of_any_size(size: int) -> None:
    torch.manual_seed(0)
    logits = Discriminator(size, width=8)(torch.rand(3, 3, size, size))
    assert logits.shape == (3,)
    assert logits.std() > 0


def test_gradient_flows_to_every_weight_and_to_the_pictures() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(32, width=8)
    pictures = torch.rand(4, 3, 32, 32, requires_grad=True)
    losses.discrimination(discriminator(pictures[:2]), discriminator(pictures[2:])).mean().backward()
    for name, weight in discriminator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name
    assert pictures.grad is not None
    assert (pictures.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_a_picture_is_judged_without_its_neighbours_whether_it_is_trained_or_not() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(32, width=8)
    pictures = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        together = discriminator.train()(pictures)
        assert torch.equal(discriminator.eval()(pictures), together)
        for index in range(4):
            torch.testing.assert_close(discriminator(pictures[index : index + 1]), together[index : index + 1])
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in discriminator.modules())


def test_it_learns_to_tell_blurred_pictures_from_sharp_ones_it_has_not_seen() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(16, width=8)
    optimizer = torch.optim.AdamW(discriminator.parameters(), lr=2e-3)

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        pictures = torch.rand(16, 3, 16, 16)
        return nn.functional.avg_pool2d(pictures, 3, 1, 1), pictures

    for _ in range(40):
        blurred, sharp = draw()
        loss = losses.discrimination(discriminator(blurred), discriminator(sharp)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    blurred, sharp = draw()
    with torch.no_grad():
        assert (discriminator(sharp) > 0).float().mean() > 0.9
        assert (discriminator(blurred) < 0).float().mean() > 0.9
