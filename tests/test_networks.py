"""Networks as people have them: each is split to the bit, or refused with the way out."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from oneway.errors import InputError
from oneway.models.copying import copy_network
from oneway.models.split import features_shape, first_part, split

SMALL_VIT: dict[str, Any] = {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}
TIMM = [
    ("vit_tiny_patch16_224", SMALL_VIT, "blocks.0"),
    ("vit_tiny_patch16_224", SMALL_VIT, "patch_embed"),
    ("vit_tiny_patch16_224", SMALL_VIT | {"drop_path_rate": 0.1, "drop_rate": 0.1, "attn_drop_rate": 0.1}, "blocks.0"),
    ("deit_tiny_distilled_patch16_224", SMALL_VIT, "blocks.0"),
    ("beit_base_patch16_224", SMALL_VIT, "blocks.0"),
    ("eva02_tiny_patch14_224", SMALL_VIT | {"img_size": 28}, "blocks.0"),
    (
        "swin_tiny_patch4_window7_224",
        {"img_size": 28, "embed_dim": 12, "depths": (1, 1), "num_heads": (1, 2)},
        "layers.0",
    ),
    ("resnet10t", {"drop_rate": 0.5}, "layer2"),
    ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}, "stages.1"),
    ("mobilenetv3_small_050", {"drop_rate": 0.2}, "blocks.2"),
    ("tinynet_e", {"drop_rate": 0.2, "drop_path_rate": 0.2}, "blocks.2"),  # an EfficientNet
]


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch calls the old weight_norm so
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(("name", "options", "cut"), TIMM, ids=[f"{name} at {cut}" for name, _, cut in TIMM])
def test_timms_networks_are_split_to_the_bit_in_both_modes(name: str, options: dict[str, Any], cut: str) -> None:
    whole = timm.create_model(name, num_classes=5, **options)
    pictures = torch.rand(3, 3, options.get("img_size", 32), options.get("img_size", 32))
    encoder, rest = split(whole, cut)
    for training in (False, True):
        for part in (whole, encoder, rest):
            part.train(training)
        torch.manual_seed(1)
        expected = whole(pictures)
        torch.manual_seed(1)
        assert torch.equal(rest(encoder(pictures)), expected), training
    assert torch.equal(first_part(whole.eval(), cut)(pictures), encoder.eval()(pictures))


@pytest.mark.parametrize(
    ("make", "cut"),
    [
        (
            lambda: torchvision.models.swin_transformer._swin_transformer(
                [2, 2], 12, [1, 1], [1, 2], [7, 7], 0.1, None, False
            ),
            "features.1",
        ),
        (lambda: torchvision.models.VisionTransformer(32, 16, 2, 2, 24, 24), "encoder.layers.encoder_layer_0"),
        (lambda: torchvision.models.googlenet(init_weights=False, aux_logits=False), "inception3a"),
    ],
    ids=["swin", "vit", "googlenet"],
)
def test_torchvisions_networks_are_split_to_the_bit(make: Callable[[], nn.Module], cut: str) -> None:
    whole = make().eval()
    pictures = torch.rand(2, 3, 32, 32)
    encoder, rest = split(whole, cut)
    assert torch.equal(rest(encoder(pictures)), whole(pictures))


def test_auxiliary_outputs_of_training_are_in_the_way_of_training_alone() -> None:
    whole = torchvision.models.googlenet(init_weights=False, aux_logits=True).eval()
    with pytest.raises(
        InputError,
        match=r"GoogLeNet cannot be trained .* at 'inception3a'.*\(auxiliary outputs, say\).*aux_logits=False",
    ):
        split(whole, "inception3a")
    seen: list[Tensor] = []
    hook = whole.inception3a.register_forward_hook(lambda module, given, output: seen.append(output))
    pictures = torch.rand(1, 3, 32, 32)
    whole(pictures)
    hook.remove()
    assert torch.equal(first_part(whole, "inception3a")(pictures), seen[0])


class Hooked(nn.Module):
    """Scales its pictures by a hook on itself, and its features by one that is a method."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.register_forward_pre_hook(lambda module, given: (2 * given[0] - 1,))
        self.layer.register_forward_hook(self.scaled)

    def scaled(self, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self.scale * output

    def forward(self, x: Tensor, mask: Tensor | None = None, *, twice: bool = False) -> Tensor:
        out: Tensor = self.head(self.layer(x))
        return 2 * out if twice else out if mask is None else out * mask


def test_hooks_of_the_network_and_of_its_layers_belong_to_the_parts() -> None:
    whole = Hooked().eval()
    pictures = torch.rand(2, 3, 8, 8)
    encoder, rest = split(whole, "layer")
    assert torch.equal(rest(encoder(pictures)), whole(pictures))


def test_a_copys_hooks_are_the_copys() -> None:
    whole = Hooked().eval()
    pictures = torch.rand(2, 3, 8, 8)
    expected = whole(pictures)
    other = copy_network(whole)
    with torch.no_grad():
        other.scale.mul_(2)  # type: ignore[union-attr]
    assert not torch.equal(other(pictures), expected)
    assert torch.equal(whole(pictures), expected)


def test_a_hook_that_holds_on_to_the_original_is_refused() -> None:
    whole = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    weight = whole[1].weight
    whole[0].register_forward_hook(lambda module, given, output: output * weight.mean())
    with pytest.raises(
        InputError, match=r"hooked to '0' holds on to a part of the network.*the module that a hook is handed"
    ):
        copy_network(whole)


def test_a_hook_that_holds_something_else_is_copied() -> None:
    seen: list[int] = []
    whole = nn.Sequential(nn.Conv2d(3, 4, 3))
    whole[0].register_forward_hook(lambda module, given, output: seen.append(len(output)))
    pictures = torch.rand(2, 3, 8, 8)
    assert torch.equal(copy_network(whole)(pictures), whole(pictures))
    assert seen == [2, 2]


def test_what_cannot_be_copied_is_said() -> None:
    whole = nn.Sequential(nn.Conv2d(3, 4, 3))
    whole.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"Sequential cannot be copied \(.*lock.*locks, files"):
        copy_network(whole)


@pytest.mark.parametrize(
    "wrap",
    [
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.orthogonal,
    ],
    ids=["weight norm", "spectral norm", "weight norm, parametrized", "orthogonal, parametrized"],
)
def test_reparametrized_weights_are_copied_and_split(wrap: Callable[[nn.Module], nn.Module]) -> None:
    whole = nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.ReLU(), wrap(nn.Conv2d(4, 4, 3)), nn.Flatten())
    pictures = torch.rand(2, 3, 8, 8)
    whole(pictures)  # its weights have a history now
    expected = whole.eval()(pictures)
    other = copy_network(whole)
    for cut in ("0", "1"):
        encoder, rest = split(other, cut)
        torch.testing.assert_close(rest(encoder(pictures)), expected, atol=0, rtol=0)
        rest(encoder(pictures)).sum().backward()
    assert all(weight.grad is not None for weight in other.parameters())
    assert all(weight.grad is None for weight in whole.parameters())


class Scripted(nn.Module):
    """Has a part in TorchScript, with a decision in it that torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.jit.script(Deciding())
        self.last = nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x))
        return out


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        return F.relu(out) if bool(out.sum() > 0) else out


def test_torchscript_is_a_layer_and_is_not_looked_into() -> None:
    whole = Scripted().eval()
    pictures = torch.rand(2, 3, 8, 8)
    encoder, rest = split(copy_network(whole), "first")
    assert torch.equal(rest(encoder(pictures)), whole(pictures))
    alone = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())).eval()
    assert torch.equal(split(copy_network(alone), "output")[0](pictures), alone(pictures))
    with pytest.raises(InputError, match=r"within TorchScript, which cannot be cut.*cut='output'"):
        split(alone, "0")


def test_a_layer_that_gives_a_tuple_is_refused_and_its_last_step_is_not_taken_for_it() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            out = self.layer(x)
            return out, out.mean()

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.head = Pair(), nn.Conv2d(4, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.pair(x)[0])
            return out

    with pytest.raises(InputError, match="'pair' gives no tensor but tuple"):
        split(First(), "pair")


def test_a_layer_gives_what_it_returns_and_not_what_it_computed_last() -> None:
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.told = nn.Conv2d(3, 4, 3), torch.zeros(())

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x)
            self.told = out.mean()
            return out

    whole = nn.Sequential(Watched(), nn.Conv2d(4, 2, 3))
    pictures = torch.rand(2, 3, 8, 8)
    encoder, rest = split(whole, "0")
    assert encoder(pictures).shape == (2, 4, 6, 6)
    assert torch.equal(rest(encoder(pictures)), whole(pictures))


def test_a_cut_whose_rest_asks_for_the_size_of_the_picture_says_so() -> None:
    whole = torchvision.models.VisionTransformer(32, 16, 2, 2, 24, 24)
    with pytest.raises(InputError, match="the size of what came before it; cut at a later layer"):
        split(whole, "conv_proj")
    assert features_shape(whole, 32) == (1000,)
