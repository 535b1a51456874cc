from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from oneway.errors import InputError
from oneway.models.encoder import BACKBONES, CUTS, EncoderConfig, backbone
from oneway.models.split import features_shape, split


@pytest.fixture(scope="module")
def resnet34(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of torchvision's names and shapes, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet34.safetensors"
    save_file(torchvision.models.resnet34(num_classes=10).state_dict(), path)
    return path


def full(name: str, **more: object) -> EncoderConfig:
    return EncoderConfig(backbone=name, width=1.0, stem="full", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BACKBONES)
def test_at_width_1_it_is_the_network_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(weights=None).eval()
    ours = backbone(full(name, feature_width=1000), 64).eval()
    state = theirs.state_dict()
    assert {key: value.shape for key, value in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    ours.load_state_dict(state)
    pictures = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(pictures), theirs(pictures))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_width_multiplies_every_number_of_channels(name: str) -> None:
    whole, half = (backbone(EncoderConfig(backbone=name, width=width), 64) for width in (1.0, 0.5))
    halved = dict(half.named_modules())
    convolutions = [key for key, module in whole.named_modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) >= 20
    for key in convolutions:
        assert halved[key].out_channels * 2 == whole.get_submodule(key).out_channels, key


def test_channels_are_multiples_of_eight_and_at_least_eight() -> None:
    for width in (0.01, 0.13, 0.3, 0.77, 1.5):
        network = backbone(EncoderConfig(width=width), 64)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                assert module.out_channels % 8 == 0
                assert module.out_channels >= 8


@pytest.mark.parametrize("stem", ["full", "small"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_has_one_position_for_as_many_pixels_as_said(cut: str, stem: str) -> None:
    pixels = CUTS[cut] if stem == "full" or cut == "conv1" else CUTS[cut] // 2
    config = EncoderConfig(cut=cut, stem=stem, width=0.125, feature_width=7)  # type: ignore[arg-type]
    shape = features_shape(split(backbone(config, 2 * pixels), cut)[0], 2 * pixels)
    if cut == "fc":
        assert shape == (7,)
    elif cut == "avgpool":
        assert shape == (64, 1, 1)
    else:
        assert shape[1:] == (2, 2)


@pytest.mark.parametrize("stem", ["full", "small"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_picture_without_one_position_is_refused(cut: str, stem: str) -> None:
    pixels = CUTS[cut] if stem == "full" or cut == "conv1" else CUTS[cut] // 2
    config = EncoderConfig(cut=cut, stem=stem, width=0.125)  # type: ignore[arg-type]
    assert features_shape(split(backbone(config, pixels), cut)[0], pixels)
    with pytest.raises(InputError, match=f"pictures of {pixels - 1} pixels are too small for the cut '{cut}'"):
        backbone(config, pixels - 1)


def test_with_group_norm_a_picture_does_not_see_its_batch() -> None:
    torch.manual_seed(0)
    network = backbone(EncoderConfig(width=0.125, norm="group"), 32).train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == 20
    assert all(norm.num_channels == 8 * norm.num_groups for norm in norms)
    pictures = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        together = network(pictures)
        for index in range(3):
            torch.testing.assert_close(network(pictures[index : index + 1]), together[index : index + 1])


def test_unknown_names_offer_the_nearest_and_a_width_must_be_positive() -> None:
    with pytest.raises(InputError, match=r"backbone = 'resnet20' does not exist; did you mean .*'resnet"):
        EncoderConfig(backbone="resnet20")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"cut 'layer5' does not exist; did you mean .*'layer4'"):
        backbone(EncoderConfig(cut="layer5"), 64)
    for width in (0.0, -1.0):
        with pytest.raises(InputError, match=f"width must be positive, not {width}"):
            EncoderConfig(width=width)


def test_weights_of_a_file_are_loaded_but_for_the_last_layer(resnet34: Path) -> None:
    torch.manual_seed(1)
    network = backbone(full("resnet34", weights=str(resnet34), feature_width=6), 64).eval()
    torch.manual_seed(1)
    fresh = backbone(full("resnet34", feature_width=6), 64)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet34(num_classes=10).eval()
    pictures = torch.rand(1, 3, 64, 64)
    assert torch.equal(network.fc.weight, fresh.fc.weight)
    encoder, _ = split(network, "avgpool")
    theirs.fc = nn.Identity()
    with torch.no_grad():
        assert torch.equal(encoder(pictures).flatten(1), theirs(pictures))


def test_weights_of_another_network_are_refused(resnet34: Path) -> None:
    with pytest.raises(InputError, match=r"do not fit resnet50 of width 1.0 .* first '.*'"):
        backbone(full("resnet50", weights=str(resnet34)), 64)
    with pytest.raises(InputError, match=r"do not fit resnet34 of width 0\.5"):
        backbone(EncoderConfig(backbone="resnet34", width=0.5, stem="full", weights=str(resnet34)), 64)


@pytest.mark.parametrize(("name", "norm"), [("resnet18", "batch"), ("resnet34", "group")])
def test_weights_of_a_larger_network_are_refused_though_ours_are_among_them(
    resnet34: Path, name: str, norm: str
) -> None:
    with pytest.raises(InputError, match="do not fit"):
        backbone(full(name, norm=norm, weights=str(resnet34)), 64)


def test_a_file_of_no_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.safetensors' is not a file; give a safetensors file or 'imagenet'"):
        backbone(EncoderConfig(weights=str(tmp_path / "absent.safetensors")), 64)
    (tmp_path / "text.safetensors").write_text("these are no weights")
    with pytest.raises(InputError, match=r"text\.safetensors' is not a safetensors file"):
        backbone(EncoderConfig(weights=str(tmp_path / "text.safetensors")), 64)
