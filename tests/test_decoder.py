from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.models.decoder import Decoder, Stage, Up, mirror, stages_of, stages_of_shape
from oneway.models.encoder import BACKBONES, CUTS, EncoderConfig, backbone
from oneway.models.residual import ResidualDecoder
from oneway.models.split import split
from oneway.models.transformer import TransformerDecoder

SIZES = (16, 17, 24, 31, 48, 97)
SHAPES = [
    ((5,), 16),
    ((6, 1, 1), 32),
    ((6, 2, 2), 32),
    ((4, 3, 3), 17),
    ((4, 5, 5), 33),
    ((6, 7, 7), 100),
    ((4, 8, 8), 64),
    ((3, 17, 17), 33),
    ((3, 32, 32), 32),
    ((3, 40, 40), 20),
    ((9, 5), 32),
    ((3, 4, 6), 24),
    ((2, 3, 4, 5), 16),
]
"""Shapes of features, and pixels a side of the picture: vectors, maps of any side, sequences and others."""
Make = Callable[[tuple[int, ...], int], Decoder | ResidualDecoder | TransformerDecoder]


def pyramid(features: tuple[int, ...], size: int) -> Decoder:
    return Decoder(features, stages_of_shape(features, size), size, width=0.5)


def residual(features: tuple[int, ...], size: int) -> ResidualDecoder:
    return ResidualDecoder(features, size, width=0.5)


def transformer(features: tuple[int, ...], size: int) -> TransformerDecoder:
    return TransformerDecoder(features, size, width=0.3, depth=2)


every_decoder = pytest.mark.parametrize("make", [pyramid, residual, transformer])


def awake(decoder: nn.Module) -> nn.Module:
    """Draw the weights that begin at zero, so that every path carries something."""
    for weight in decoder.parameters():
        if not weight.any():
            nn.init.normal_(weight)
    return decoder


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", BACKBONES)
def test_it_draws_a_picture_of_the_right_size_from_every_cut(name: str, cut: str) -> None:
    torch.manual_seed(0)
    for stem, sizes in (("small", SIZES), ("full", (32, 65))):
        config = EncoderConfig(backbone=name, cut=cut, width=0.125, stem=stem, norm="group")  # type: ignore[arg-type]
        encoder, _ = split(backbone(config, min(sizes)), cut)
        for size in sizes:
            decoder = awake(mirror(encoder, size, width=0.25))
            with torch.no_grad():
                drawn = decoder(encoder(torch.rand(2, 3, size, size)))
            assert drawn.shape == (2, 3, size, size)
            assert drawn.min() >= 0
            assert drawn.max() <= 1
            assert drawn.std() > 0


@pytest.mark.parametrize("cut", CUTS)
def test_gradient_flows_to_every_weight(cut: str) -> None:
    torch.manual_seed(0)
    encoder, _ = split(backbone(EncoderConfig(cut=cut, width=0.125, norm="group"), 33), cut)
    decoder = awake(mirror(encoder, 33, width=0.5))
    with torch.no_grad():
        features = encoder(torch.rand(3, 3, 33, 33))
    (decoder(features) - torch.rand(3, 3, 33, 33)).square().mean().backward()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("cut", ["layer2", "layer4", "fc"])
def test_a_picture_does_not_see_its_batch_nor_whether_it_is_trained(cut: str) -> None:
    torch.manual_seed(0)
    encoder, _ = split(backbone(EncoderConfig(cut=cut, width=0.125, norm="group"), 32), cut)
    decoder = awake(mirror(encoder, 32))
    with torch.no_grad():
        features = encoder(torch.rand(4, 3, 32, 32))
        decoder.whiten.observe(features)
        before = {name: value.clone() for name, value in decoder.state_dict().items()}
        training, evaluating = decoder.train()(features), decoder.eval()(features)
        assert torch.equal(training, evaluating)
        for index in range(4):
            alone = decoder(features[index : index + 1])
            torch.testing.assert_close(alone, training[index : index + 1], atol=1e-5, rtol=0)
    for name, value in decoder.state_dict().items():
        assert torch.equal(value, before[name]), name  # nothing is counted in passing
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in decoder.modules())


def test_it_can_learn_to_draw() -> None:
    torch.manual_seed(0)
    encoder, _ = split(backbone(EncoderConfig(cut="layer2", width=0.125, norm="group"), 16), "layer2")
    pictures = torch.rand(4, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        features = encoder(pictures)
    decoder = mirror(encoder, 16)
    decoder.whiten.observe(features)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=4e-3)
    for _ in range(80):
        loss = (decoder(features) - pictures).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ignorance = (pictures.mean(dim=0) - pictures).square().mean()
    assert loss < 0.1 * ignorance


@pytest.mark.parametrize("cut", CUTS)
def test_a_picture_too_small_for_the_cut_is_refused(cut: str) -> None:
    pixels = CUTS[cut]
    network = backbone(EncoderConfig(cut=cut, width=0.125, stem="full"), pixels)
    encoder, _ = split(network, cut)
    assert mirror(encoder, pixels, width=0.25)(encoder.eval()(torch.rand(1, 3, pixels, pixels))).shape[-1] == pixels
    with pytest.raises(InputError, match="too small"):
        backbone(EncoderConfig(cut=cut, width=0.125, stem="full"), pixels - 1)
    with pytest.raises(InputError, match="cannot take pictures of 3 x 3 pixels"):
        mirror(nn.Sequential(nn.Conv2d(3, 4, 5)), 3)


def test_the_stages_are_the_spatial_convolutions_up_to_a_quarter_of_the_side() -> None:
    encoder = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 64 positions: left to the last layer
        nn.Conv2d(4, 6, 3, stride=2, padding=1),  # 32: likewise
        nn.Conv2d(6, 8, 3, stride=2, padding=1),  # 16
        nn.Conv2d(8, 12, 1),  # not spatial
        nn.Conv2d(12, 10, 3, padding=1),  # 16
        nn.Conv2d(10, 32, 3, stride=2, padding=1),  # 8
    )
    assert stages_of(encoder, 64) == [Stage(8, 32, 1), Stage(16, 10, 2)]


def test_stages_are_put_between_resolutions_far_apart() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 64, 32, stride=32))
    stages = stages_of(encoder, 128)
    assert [stage.side for stage in stages] == [4, 8, 16, 32]
    for coarse, fine in pairwise(stages):
        assert fine.channels <= coarse.channels


@pytest.mark.parametrize("size", [16, 33, 64])
@pytest.mark.parametrize(
    "make",
    [
        lambda size: nn.Sequential(nn.Flatten(), nn.Linear(3 * size**2, 9)),
        lambda size: nn.Sequential(nn.Conv2d(3, 6, 1)),
        lambda size: nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.Flatten(2)),
        lambda size: nn.Sequential(nn.Conv2d(3, 6, 8, stride=8)),
        lambda size: nn.Sequential(nn.Conv2d(3, 6, 5, stride=5)),
        lambda size: nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.AdaptiveAvgPool2d(1)),
        lambda size: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 6, 3, padding=1)),
    ],
    ids=["linear", "pointwise", "tokens", "patches", "odd patches", "pooled", "enlarged"],
)
def test_any_encoder_has_a_mirror(make: object, size: int) -> None:
    encoder = make(size)  # type: ignore[operator]
    decoder = mirror(encoder, size, width=0.25)
    assert decoder(encoder(torch.rand(2, 3, size, size))).shape == (2, 3, size, size)


def test_the_width_widens_every_stage() -> None:
    def weights(width: float) -> int:
        decoder = Decoder((8, 4, 4), [Stage(4, 64, 2), Stage(8, 32, 2)], 16, width=width)
        return sum(weight.numel() for weight in decoder.parameters())

    assert weights(0.5) < weights(1.0) < weights(2.0)
    assert 3 < weights(2.0) / weights(1.0) < 5  # two sides of a matrix


def test_the_encoder_is_left_as_it_was() -> None:
    encoder = backbone(EncoderConfig(width=0.125), 32).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    mirror(encoder, 32, width=0.25)
    assert encoder.training
    assert all(not module._forward_hooks for module in encoder.modules())
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_trace_too_fine_for_bf16_is_read_nevertheless() -> None:
    torch.manual_seed(0)
    plain = torch.randn(8, 6, 4, 4)
    drawn = []
    for features in (plain, 100 + 0.01 * plain):  # bf16 has steps of 0.5 at 100
        torch.manual_seed(1)
        decoder = awake(Decoder((6, 4, 4), [Stage(4, 16, 2)], 8))
        decoder.whiten.observe(features)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            drawn.append(decoder(features).float())
    between_pictures = drawn[0].std(dim=0).mean()
    assert between_pictures > 0.02
    assert (drawn[0] - drawn[1]).abs().mean() < 0.2 * between_pictures


@every_decoder
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_features_of_any_shape_become_a_picture(make: Make, shape: tuple[int, ...], size: int) -> None:
    torch.manual_seed(0)
    decoder = awake(make(shape, size))
    features = torch.randn(3, *shape)
    drawn = decoder(features)
    assert drawn.shape == (3, 3, size, size)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.std(dim=0).mean() > 0
    drawn.square().mean().backward()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@every_decoder
@pytest.mark.parametrize("shape", [(12,), (6, 8, 8), (9, 5)])
def test_no_decoder_sees_its_batch_nor_whether_it_is_trained(make: Make, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    decoder, features = awake(make(shape, 32)), torch.randn(4, *shape)
    decoder.whiten.observe(features)
    with torch.no_grad():
        training = decoder.train()(features)
        assert torch.equal(decoder.eval()(features), training)
        for index in range(4):
            torch.testing.assert_close(
                decoder(features[index : index + 1]), training[index : index + 1], atol=1e-5, rtol=0
            )


@every_decoder
def test_no_decoder_rounds_features_away_or_is_blinded_by_their_scale(make: Make) -> None:
    plain = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 6, 4, 4)).astype(np.float32))
    drawn = []
    for features in (plain, 100 + 0.01 * plain):  # bf16 has steps of 0.5 at 100
        torch.manual_seed(1)
        decoder = awake(make((6, 4, 4), 16))
        decoder.whiten.observe(features)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            drawn.append(decoder(features).float())
    between_pictures = drawn[0].std(dim=0).mean()
    assert between_pictures > 0.02
    assert (drawn[0] - drawn[1]).abs().mean() < 0.2 * between_pictures


@every_decoder
@pytest.mark.parametrize("shape", [(48,), (3, 4, 4)])
def test_every_decoder_can_learn_to_draw(make: Make, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    coarse = torch.rand(8, 3, 4, 4)
    pictures = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    features, decoder = coarse.view(8, *shape), make(shape, 16)
    decoder.whiten.observe(features)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=4e-3)
    for _ in range(100):
        loss = (decoder(features) - pictures).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * (pictures.mean(dim=0) - pictures).square().mean()


def test_an_unknown_encoder_is_given_stages_from_its_features_to_a_quarter_of_the_picture() -> None:
    assert stages_of_shape((32, 16, 16), 64) == [Stage(16, 32, 4)]  # as a quarter-width ResNet-18 has them
    assert stages_of_shape((128, 4, 4), 64) == [Stage(4, 128, 4), Stage(8, 64, 4), Stage(16, 32, 4)]
    assert stages_of_shape((512,), 64) == [Stage(4, 128, 4), Stage(8, 64, 4), Stage(16, 32, 4)]
    assert stages_of_shape((65, 192), 64) == stages_of_shape((2 * 192, 8, 8), 64)  # patches, and a class beside each
    assert stages_of_shape((2048, 7, 7), 224)[0] == Stage(7, 256, 4)
    assert stages_of_shape((64, 64, 64), 64) == [Stage(64, 16, 4)]


@pytest.mark.parametrize("size", [16, 33, 100, 224])
@pytest.mark.parametrize("shape", [(7,), (9, 1, 1), (600, 3, 3), (16, 8, 8), (8, 50, 50), (9, 4, 5)])
def test_stages_of_a_shape_double_their_side_and_never_widen(shape: tuple[int, ...], size: int) -> None:
    stages = stages_of_shape(shape, size)
    if len(shape) == 3 and shape[1] == shape[2]:
        assert stages[0].side == shape[1]
    for coarse, fine in pairwise(stages):
        assert 1 < fine.side / coarse.side <= 2
        assert fine.channels <= coarse.channels
    assert 4 * stages[-1].side >= size
    assert all(16 <= stage.channels <= 256 for stage in stages)
    assert Decoder(shape, stages, size, width=0.25)(torch.rand(2, *shape)).shape == (2, 3, size, size)


def ramp(side: int, target: int) -> Tensor:
    """Grow a map whose every position says how far right it lies, between 0 and 1."""
    up = Up(1, 1, side, target)
    convolution = up.grow[0]
    assert isinstance(convolution, nn.Conv2d)
    nn.init.dirac_(convolution.weight)
    with torch.no_grad():
        convolution.weight[:] = convolution.weight[:1]  # every sub-pixel repeats its position
        convolution.bias.zero_()  # type: ignore[union-attr]
        grown: Tensor = up((torch.arange(side) + 0.5).div(side).expand(1, 1, side, side))
    return grown[0, 0, 0]


@pytest.mark.parametrize(("side", "target"), [(4, 16), (15, 31), (4, 13), (5, 16), (15, 32), (10, 31), (7, 3)])
def test_every_position_draws_where_it_looked(side: int, target: int) -> None:
    drawn = ramp(side, target)
    assert drawn.shape == (target,)
    factor = -(-target // side)
    cropped = factor * side - target < factor  # an odd size, of which the last position saw but a part
    scale = target / (factor * side) if cropped else 1
    expected = (torch.arange(target) + 0.5) / target * scale
    assert (drawn - expected).abs().max() < 1 / side


def test_stages_between_are_those_of_an_encoder_that_halves_odd_sides() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 64, 16, stride=16, padding=8))  # 100 pixels: 7 positions
    assert [stage.side for stage in stages_of(encoder, 100)] == [7, 13, 25]


def test_the_residual_decoder_has_several_times_the_mirrors_weights() -> None:
    def weights(decoder: nn.Module) -> int:
        return sum(weight.numel() for weight in decoder.parameters())

    plain = Decoder((32, 16, 16), [Stage(16, 32, 4)], 64, width=2.0)
    assert weights(ResidualDecoder((32, 16, 16), 64)) > 4 * weights(plain)
    assert weights(ResidualDecoder((32, 16, 16), 64, width=1.0)) < weights(ResidualDecoder((32, 16, 16), 64))


@pytest.mark.parametrize("size", [32, 64, 224])
@pytest.mark.parametrize("shape", [(64,), (8, 1, 1), (8, 7, 7), (8, 56, 56), (50, 12)])
def test_a_transformer_never_has_more_than_256_tokens(shape: tuple[int, ...], size: int) -> None:
    decoder = TransformerDecoder(shape, size, width=0.3, depth=1)
    assert decoder.positions.shape[0] <= 256
