from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from oneway.errors import InputError
from oneway.models.encoder import BACKBONES, CUTS, EncoderConfig, backbone
from oneway.models.split import features_shape, split


class Block(nn.Module):
    """Two convolutions beside a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.norm(self.first(x)))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.body = nn.Sequential(Block(4), Block(4), nn.Conv2d(4, 8, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean(dim=(2, 3)))


class Twice(nn.Module):
    """Calls one activation at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.activation = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.second(self.activation(self.first(x))))


class Positions(nn.Module):
    """Adds a weight of its own on each side of the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.before, self.after = nn.Parameter(torch.randn(6, 1, 1)), nn.Parameter(torch.randn(6, 1, 1))
        self.mixed = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(self.patches(x) + self.before) * self.after


class Branching(nn.Module):
    """Decides by the values it sees, which torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out if out.sum() > 0 else -out


class SometimesDropped(nn.Module):
    """Drops features while it is trained, by the functional form."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.dropout(self.first(x), 0.5, self.training))


def sequential() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))


def settled(module: nn.Module, size: int = 17) -> nn.Module:
    """Give BatchNorm statistics that are not the trivial ones, and switch to evaluation."""
    torch.manual_seed(1)
    module.train()(torch.rand(4, 3, size, size))
    return module.eval()


class Activated(nn.Module):
    """A network whose parts overwrite what they are given, or do not: by modules, functions, operators and views."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shift, self.first, self.second = Shift(inplace=inplace), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.activation, self.dropout = nn.ReLU(inplace=inplace), nn.Dropout(0.25, inplace=inplace)
        self.keep, self.inplace = nn.Identity(), inplace

    def forward(self, x: Tensor) -> Tensor:
        x = self.keep(self.first(self.shift(x)))
        x = x.view(x.shape).add_(0.1).neg_() if self.inplace else -(x + 0.1)
        return self.second(self.activation(F.dropout(self.dropout(x), 0.0, inplace=self.inplace)))


class Shift(nn.Module):
    """Takes half off the pictures, or off the memory where they lie."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return x.sub_(0.5) if self.inplace else x - 0.5


class Reused(nn.Module):
    """Answers in the same memory every time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.register_buffer("answer", torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.answer.resize_(len(x), 4, x.shape[2] - 2, x.shape[3] - 2).copy_(self.layer(x))
        return self.answer


HAND_MADE: list[tuple[Callable[[], nn.Module], tuple[str, ...]]] = [
    (sequential, ("0", "1", "2", "3", "4")),
    (Residual, ("stem", "body", "body.0", "body.1", "body.2", "body.3", "head")),
    (Twice, ("first", "second", "activation")),
    (Positions, ("patches", "mixed")),
]


@pytest.mark.parametrize("name", BACKBONES)
def test_the_two_parts_of_every_backbone_are_the_whole_to_the_bit(name: str) -> None:
    torch.manual_seed(0)
    whole = settled(backbone(EncoderConfig(backbone=name, width=0.125), 33), 33)
    pictures = torch.rand(2, 3, 33, 33)
    expected = whole(pictures)
    for cut in CUTS:
        encoder, rest = split(whole, cut)
        features = encoder(pictures)
        assert torch.equal(rest(features), expected), cut
        assert features_shape(encoder, 33) == tuple(features.shape[1:]), cut


@pytest.mark.parametrize(("make", "cut"), [(make, cut) for make, cuts in HAND_MADE for cut in cuts])
def test_the_two_parts_of_any_module_are_the_whole_to_the_bit(make: Callable[[], nn.Module], cut: str) -> None:
    torch.manual_seed(0)
    whole = settled(make())
    pictures = torch.rand(2, 3, 17, 17)
    encoder, rest = split(whole, cut)
    assert torch.equal(rest(encoder(pictures)), whole(pictures))


@pytest.mark.parametrize("cut", CUTS)
def test_the_encoder_ends_at_the_cut(cut: str) -> None:
    whole = settled(backbone(EncoderConfig(width=0.125), 32), 32)
    seen: list[Tensor] = []
    whole.get_submodule(cut).register_forward_hook(lambda module, given, output: seen.append(output))
    pictures = torch.rand(1, 3, 32, 32)
    whole(pictures)
    before = len(seen)
    features = split(whole, cut)[0](pictures)
    assert before == 1
    assert torch.equal(features, seen[0])


def test_each_weight_is_in_one_part_and_shared_with_the_module() -> None:
    whole = backbone(EncoderConfig(width=0.125), 32)
    encoder, rest = split(whole, "layer2")
    before, after = ({id(weight) for weight in part.parameters()} for part in (encoder, rest))
    assert before
    assert after
    assert not before & after
    assert before | after == {id(weight) for weight in whole.parameters()}


def test_training_the_parts_moves_the_statistics_of_the_module() -> None:
    whole = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    encoder, rest = split(whole, "2")
    encoder.train()
    rest.eval()
    rest(encoder(torch.rand(4, 3, 9, 9)))
    assert not torch.equal(whole[1].running_mean, torch.zeros(4))
    assert torch.equal(whole[3].running_mean, torch.zeros(4))


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), StochasticDepth(0.5, "row")], ids=["torch's", "torchvision's"])
def test_parts_cut_in_training_evaluate_as_the_module_does(layer: nn.Module) -> None:
    torch.manual_seed(0)
    whole = settled(nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))).train()
    encoder, rest = split(whole, "2")
    for part in (whole, encoder, rest):
        part.eval()
    pictures = torch.rand(16, 3, 9, 9)
    assert torch.equal(rest(encoder(pictures)), whole(pictures))


def test_a_forward_that_asks_whether_it_is_trained_is_not_frozen_in_one_answer() -> None:
    whole = SometimesDropped().train()
    message = "output"
    try:
        encoder, rest = split(whole, "second")
    except InputError as refused:  # as good as right
        encoder, rest, message = nn.Identity(), whole, str(refused)
    assert "output" in message
    for part in (whole, encoder, rest):
        part.eval()
    pictures = torch.rand(2, 3, 9, 9)
    assert torch.equal(rest(encoder(pictures)), whole(pictures))


def test_a_cut_that_a_skip_connection_goes_around_is_refused() -> None:
    with pytest.raises(InputError, match=r"'body\.0\.first' does not separate .*skip connection.* cut after the block"):
        split(Residual(), "body.0.first")
    with pytest.raises(InputError, match="skip connection"):
        split(backbone(EncoderConfig(width=0.125), 32), "layer2.0.conv1")


def test_an_unknown_cut_offers_the_nearest() -> None:
    whole = backbone(EncoderConfig(width=0.125), 32)
    with pytest.raises(InputError, match=r"cut 'layr3' does not exist; did you mean .*'layer3'"):
        split(whole, "layr3")
    with pytest.raises(InputError, match=r"did you mean .*'body\.3'"):
        split(Residual(), "body.33")
    with pytest.raises(InputError, match=r"known: 0, 1, output"):
        split(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "zzzzzz")


def test_a_layer_that_is_never_called_is_refused() -> None:
    whole = Twice()
    whole.idle = nn.Linear(3, 3)
    with pytest.raises(InputError, match="'idle' is never called in the forward of Twice"):
        split(whole, "idle")


def test_a_module_that_cannot_be_traced_is_refused_with_the_way_out_and_taken_whole() -> None:
    whole = Branching()
    with pytest.raises(
        InputError, match=r"Branching cannot be cut at 'layer' because torch.fx cannot trace it"
    ) as found:
        split(whole, "layer")
    assert "cut='output'" in str(found.value)
    encoder, rest = split(whole, "output")
    pictures = torch.rand(1, 3, 8, 8)
    assert encoder is whole
    assert torch.equal(rest(encoder(pictures)), whole(pictures))


def test_the_shape_of_the_features_leaves_the_mode_as_it_was() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for training in (True, False):
        encoder.train(training)
        assert features_shape(encoder, 10) == (4, 8, 8)
        assert encoder.training is training
    assert torch.equal(encoder[1].running_mean, torch.zeros(4))  # no statistics of an empty picture


def test_the_shape_of_the_features_leaves_a_frozen_layer_frozen() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    encoder[1].eval()
    features_shape(encoder, 10)
    assert encoder.training
    assert not encoder[1].training


def test_an_encoder_without_weights_has_a_shape_too() -> None:
    encoder, _ = split(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3)), "0")
    assert features_shape(encoder, 16) == (3, 8, 8)


def test_a_picture_too_small_for_the_encoder_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot take pictures of 4 x 4 pixels .* larger pictures or an earlier cut"):
        features_shape(nn.Sequential(nn.Conv2d(3, 4, 7)), 4)


def test_features_that_are_not_one_tensor_are_refused() -> None:
    class Pair(nn.Conv2d):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return x, x

    with pytest.raises(InputError, match="must return one tensor, not tuple"):
        features_shape(Pair(3, 4, 3), 8)


@pytest.mark.parametrize("cut", ["shift", "first", "keep"])
@pytest.mark.parametrize("training", [True, False])
def test_neither_part_overwrites_the_pictures_or_the_features(cut: str, training: bool) -> None:
    found = []
    for inplace in (True, False):
        encoder, rest = split(Activated(inplace=inplace).train(training), cut)
        pictures = torch.rand(6, 3, 9, 9, generator=torch.Generator().manual_seed(1))
        before = pictures.clone()
        features = encoder(pictures)
        sent = features.detach().clone()
        torch.manual_seed(2)  # of the dropout
        answer = rest(features)
        assert torch.equal(pictures, before)
        assert torch.equal(features, sent)
        assert float((sent < 0).float().mean()) > 0.2
        (features.square().sum() + answer.square().sum() + rest(features).sum()).backward()  # both have read it
        found += [[sent, answer, *(weight.grad for weight in encoder.parameters())]]
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def test_a_whole_module_overwrites_neither_its_pictures_nor_its_last_answer() -> None:
    encoder, _ = split(nn.Sequential(Shift(inplace=True), Reused()), "output")
    again, _ = split(encoder, "output")
    assert again is encoder
    first, second = torch.rand(2, 3, 9, 9), torch.rand(2, 3, 9, 9)
    before = first.clone()
    answer = encoder(first)
    kept = answer.clone()
    assert not torch.equal(encoder(second), kept)
    assert torch.equal(answer, kept)
    assert torch.equal(first, before)
