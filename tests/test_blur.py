"""The blur, against scipy and the convolution that it replaces; in full precision whatever the precision around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2.functional import gaussian_blur

import oneway
from oneway import losses
from oneway.config import override
from oneway.protection.config import ProtectConfig, small
from oneway.protection.defences.blur import Blurred, blur, reach
from oneway.protection.run import build


class Recorded(TorchDispatchMode):
    """The names of the operations that are called, and the number types that they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, torch.dtype]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        self.called += [(name, each.dtype) for each in args if isinstance(each, Tensor) and each.is_floating_point()]
        return func(*args, **(kwargs or {}))


def drawn(size: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize("deviation", [0.3, 1.0, 3.0, 6.0, 20.0, 32.0])
def test_it_is_scipys_with_the_picture_mirrored_at_its_edge(deviation: float) -> None:
    pictures = drawn(32)
    far = reach(deviation, 32)
    theirs = pictures.double().numpy()
    for axis in (2, 3):
        theirs = gaussian_filter1d(theirs, deviation, axis=axis, mode="mirror", radius=far)
    np.testing.assert_allclose(blur(pictures, deviation).numpy(), theirs, atol=2e-6)


@pytest.mark.parametrize(("size", "deviation"), [(64, 1.0), (64, 3.0), (64, 6.0), (32, 32.0), (17, 5.0), (8, 8.0)])
def test_it_is_the_convolution_and_so_is_its_gradient(size: int, deviation: float) -> None:
    ours, theirs = (drawn(size).requires_grad_() for _ in range(2))
    weights = drawn(size + 1)[..., :size, :size]
    one, other = blur(ours, deviation), gaussian_blur(theirs, 2 * reach(deviation, size) + 1, deviation)
    torch.testing.assert_close(one, other, atol=5e-6, rtol=0)
    (one * weights).sum().backward()
    (other * weights).sum().backward()
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, atol=5e-6, rtol=0)


@pytest.mark.parametrize("deviation", [1.0, 3.0, 6.0, 64.0])
def test_under_bf16_it_computes_in_full_precision_and_convolves_nothing(deviation: float) -> None:
    pictures = drawn(64, 1).contiguous(memory_format=torch.channels_last)
    plain = blur(pictures, deviation)
    with torch.autocast("cpu", torch.bfloat16), Recorded() as recorded:
        blurred = Blurred(nn.Identity(), deviation)(pictures)
    assert recorded.called
    assert {kind for _, kind in recorded.called} == {torch.float32}
    assert not any("conv" in name for name, _ in recorded.called)
    assert torch.equal(blurred, plain)


@pytest.mark.parametrize("loss", [losses.ssim, losses.distance_correlation])
def test_no_loss_is_rounded_to_bf16(loss: Any) -> None:
    ours, theirs = drawn(24, 6), 0.8 * drawn(24, 6) + 0.2 * drawn(24, 6).flip(0)
    plain = loss(ours, theirs)
    with torch.autocast("cpu", torch.bfloat16), Recorded() as recorded:
        torch.testing.assert_close(loss(ours, theirs), plain, rtol=0, atol=0)
    assert torch.bfloat16 not in {kind for _, kind in recorded.called}


@pytest.mark.parametrize(("deviation", "taken"), [(1e9, False), (32.5, False), (32.0, True)])
def test_it_is_at_most_as_wide_as_the_picture(deviation: float, taken: bool) -> None:
    config = override(small(), {"game.pixel": 0.0, "defence": "blur", "defence.deviation": deviation})

    def make(given: ProtectConfig = config) -> None:
        build(given, size=32, num_logits=2)

    if taken:
        make()
    else:
        with pytest.raises(oneway.InputError, match=r"defence\.deviation must be at most 32 .*not"):
            make()
