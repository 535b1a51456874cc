from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import vgg16
from torchvision.models.feature_extraction import create_feature_extractor

from oneway import losses
from oneway.errors import InputError
from oneway.models import perceptual
from oneway.models.perceptual import Distance, Perceptual, open_perceptual
from oneway.runtime import RuntimeConfig, launch

IMAGENET = Path(__file__).parents[2] / "shared/data/weights/mobilenetv1_imagenet_through_block12.safetensors"
BACKBONE = "mobilenetv1_100,pad_type=same,bn_eps=1e-3"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def vgg() -> torch.nn.Module:
    torch.manual_seed(0)
    network = vgg16(init_weights=False).eval()
    network.classifier = torch.nn.Identity()
    return network


@pytest.fixture(scope="module")
def vgg_file(vgg: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file({f"features.{name}": weight.clone() for name, weight in vgg.features.state_dict().items()}, path)  # type: ignore[union-attr, operator]
    return path


def test_vgg_gives_the_papers_five_layers_of_pictures_as_imagenet_has_them(
    vgg: torch.nn.Module, vgg_file: Path
) -> None:
    pictures = torch.rand(2, 3, 32, 32)
    places = {f"features.{place}": str(place) for place in (3, 8, 15, 22, 29)}
    mean, deviation = (torch.tensor(colours).view(1, 3, 1, 1) for colours in (MEAN, DEVIATION))
    with torch.no_grad():
        expected = create_feature_extractor(vgg, places)((pictures - mean) / deviation)
        found = open_perceptual(vgg_file)(pictures)
    assert [feature.shape[1:] for feature in found] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    for ours, theirs in zip(found, expected.values(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_backbone_of_timm_gives_its_layers_of_pictures_as_timm_has_them(resnet_file: Path) -> None:
    pictures = torch.rand(2, 3, 32, 32)
    network = timm.create_model("resnet10t", features_only=True).eval()
    network.load_state_dict(torch_load(resnet_file), strict=False)
    settings = network.pretrained_cfg
    mean, deviation = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = network((pictures - mean) / deviation)
        found = open_perceptual(f"resnet10t:{resnet_file}")(pictures)
    assert len(found) == len(expected) == 5
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def torch_load(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    loaded: dict[str, Tensor] = load_file(path)
    return loaded


def test_a_file_without_the_last_weights_gives_the_layers_before_them(resnet_file: Path, tmp_path: Path) -> None:
    weights = torch_load(resnet_file)
    partial = tmp_path / "partial.safetensors"
    save_file(
        {name: weight for name, weight in weights.items() if not name.startswith(("layer3.0.conv2", "fc"))}, partial
    )
    pictures = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        whole, found = (
            open_perceptual(f"resnet10t:{resnet_file}")(pictures),
            open_perceptual(f"resnet10t:{partial}")(pictures),
        )
    assert len(found) == 3  # the stem, layer1 and layer2
    for ours, theirs in zip(found, whole[:3], strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(not IMAGENET.is_file(), reason=f"needs the weights {IMAGENET}")
def test_imagenets_mobilenet_sees_that_a_blurred_picture_is_nearer_than_another_one() -> None:
    network = open_perceptual(f"{BACKBONE}:{IMAGENET}")
    assert network.network.bn1.eps == 1e-3  # type: ignore[union-attr]
    generator = np.random.default_rng(0)
    coarse = torch.from_numpy(generator.random((2, 3, 8, 8), dtype=np.float32))
    pictures = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 1)
    blurred = torch.nn.functional.avg_pool2d(pictures, 3, 1, 1)
    with torch.no_grad():
        features = network(pictures)
        assert [feature.shape[1] for feature in features] == [64, 128, 256, 512]  # the 13th block is missing
        to_blurred = losses.perceptual(network(blurred), features)
        to_other = losses.perceptual(network(pictures.flip(0)), features)
    assert (to_blurred > 0).all()
    assert (to_blurred < 0.5 * to_other).all()


def test_weights_are_frozen_and_gradients_reach_the_pictures(resnet_file: Path) -> None:
    network = open_perceptual(f"resnet10t:{resnet_file}")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    pictures = torch.rand(2, 3, 32, 32, requires_grad=True)
    losses.perceptual(network(pictures), network(torch.rand(2, 3, 32, 32))).sum().backward()
    assert pictures.grad is not None
    assert (pictures.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name  # nothing is counted in passing


def test_in_units_of_the_mean_pictures_own_distance_that_picture_is_one_away_whatever_the_networks_scale(
    resnet_file: Path,
) -> None:
    fabric = launch(RuntimeConfig(device="cpu", precision="32"))
    pictures = torch.rand(16, 3, 32, 32)
    mean = pictures.mean(dim=0, keepdim=True)
    network = open_perceptual(f"resnet10t:{resnet_file}")
    louder = copy.deepcopy(network)
    louder.network = Scaled(louder.network, (0.01, 1.0, 100.0, 1000.0, 1.0))
    plain, relative, scaled = Distance(network, fabric), Distance(network, fabric), Distance(louder, fabric)
    for distance in (relative, scaled):
        distance.measure(pictures, mean)
    assert plain(pictures, mean).mean() != pytest.approx(1, abs=0.05)
    assert relative(pictures, mean).mean() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(scaled(pictures, mean), relative(pictures, mean), rtol=1e-4, atol=0)
    with pytest.raises(InputError, match=r"layer 1 of .* sees no difference"):
        plain.measure(mean, mean)


class Scaled(torch.nn.Module):
    """A network each of whose layers is so many times as large."""

    def __init__(self, network: torch.nn.Module, times: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.times = network, times

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        return [times * layer for times, layer in zip(self.times, self.network(pictures), strict=True)]


def test_vgg_takes_pictures_from_16_pixels_a_side(vgg_file: Path) -> None:
    network = open_perceptual(vgg_file)
    with torch.no_grad():
        assert network(torch.rand(1, 3, 16, 16))[-1].shape == (1, 512, 1, 1)
        with pytest.raises(InputError, match="cannot take pictures of 15 x 15 pixels"):
            network(torch.rand(1, 3, 15, 15))


def test_vgg_by_its_name_is_torchvisions_imagenet_network(
    vgg: torch.nn.Module, vgg_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def download(*, weights: object) -> torch.nn.Module:
        asked.append(weights)
        return vgg

    monkeypatch.setattr(perceptual, "vgg16", download)
    network = open_perceptual("vgg16")
    assert asked == [perceptual.VGG16_Weights.IMAGENET1K_V1]
    assert network.name == "vgg16"

    def offline(*, weights: object) -> torch.nn.Module:
        raise OSError("no route to host")

    monkeypatch.setattr(perceptual, "vgg16", offline)
    with pytest.raises(InputError, match=r"cannot be downloaded \(no route to host\); give a safetensors file"):
        open_perceptual("vgg16")


def test_the_name_says_what_it_is(vgg_file: Path, resnet_file: Path) -> None:
    assert open_perceptual(str(vgg_file)).name == "vgg16:vgg16.safetensors"
    assert open_perceptual(f"resnet10t:{resnet_file}").name == "resnet10t:resnet10t.safetensors"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("nowhere.safetensors", "'nowhere.safetensors' are not a file; give vgg16"),
        ("resnet10t:nowhere.safetensors", "'nowhere.safetensors' are not a file; give vgg16"),
        ("resnet10x:{resnet}", "timm knows no backbone 'resnet10x'"),
        ("resnet10t,colour=blue:{resnet}", "cannot be made with {'colour': 'blue'}"),
        ("{resnet}", "lacks features.0.weight, so it is no VGG-16 of torchvision's"),
        ("resnet10t:{vgg}", "lacks conv1.0.weight, with which timm's resnet10t begins"),
        ("resnet10t,stem_width=16:{resnet}", "do not fit"),
        ("{note}", "are not a safetensors file"),
    ],
)
def test_what_cannot_be_opened_is_refused(
    weights: str, message: str, resnet_file: Path, vgg_file: Path, tmp_path: Path
) -> None:
    note = tmp_path / "note.safetensors"
    note.write_text("no weights")
    for name, path in (("resnet", resnet_file), ("vgg", vgg_file), ("note", note)):
        weights = weights.replace(f"{{{name}}}", str(path))
    with pytest.raises(InputError) as error:
        open_perceptual(weights)
    assert message in str(error.value)


def test_a_path_with_a_colon_is_a_file_if_there_is_one(vgg_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "of:mine.safetensors"
    path.symlink_to(vgg_file)
    network: Perceptual = open_perceptual(str(path))
    assert network.name == "vgg16:of:mine.safetensors"
