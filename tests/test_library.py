"""Encoders as people have them: networks of torchvision and timm, weights of a file, outputs chosen by name, tokens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import v2

import oneway
from oneway.attacks.linear import Linear
from oneway.auditing.victim import from_module, from_onnx
from oneway.config import override
from oneway.errors import InputError
from oneway.models.decoder import Decoder, stages_of_shape
from oneway.models.encoder import EncoderConfig, halves
from oneway.models.grid import Patches, laid_out
from oneway.models.inputs import InputConfig, prepared
from oneway.models.onnx import IMAGENET
from oneway.models.residual import ResidualDecoder
from oneway.models.scale import Whiten
from oneway.models.split import features_shape
from oneway.protection.run import build
from oneway.runtime import launch

Tiny = Callable[..., oneway.ProtectConfig]
VIT = "timm:vit_tiny_patch16_224,img_size=32,embed_dim=24,depth=2,num_heads=2"
MOBILENET = "torchvision:mobilenet_v2,width_mult=0.25"
NETWORKS = {VIT: "blocks.0", MOBILENET: "features.4", "timm:tinynet_e": "blocks.1", "timm:resnet10t": "layer1"}


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own exporter
        torch.manual_seed(0)
        yield


def network(name: str, **more: Any) -> EncoderConfig:
    return EncoderConfig(backbone=name, cut=NETWORKS[name], feature_width=7, **more)


# ---- networks by name


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_a_library_is_cut_and_protected_by_the_recipe(tiny: Tiny, name: str) -> None:
    config = replace(tiny(), network=network(name))
    protector = build(config, size=32, num_logits=3).eval()
    features, logits = protector(torch.rand(2, 3, 32, 32))
    assert (features.shape, logits.shape) == ((2, 128), (2, 3))
    assert not torch.equal(features, protector.encoder(torch.rand(2, 3, 32, 32)))


def test_it_takes_pictures_as_it_says_itself() -> None:
    encoder, rest = halves(network(MOBILENET), 32)
    torch.manual_seed(1)
    theirs = torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=7).eval()
    theirs.load_state_dict({key.removeprefix("module."): value for key, value in _joined(encoder, rest).items()})
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(v2.Normalize(*IMAGENET)(pictures))
        torch.testing.assert_close(rest.eval()(encoder.eval()(pictures)), expected)


def _joined(encoder: nn.Module, rest: nn.Module) -> dict[str, Tensor]:
    first = {key.removeprefix("encoder."): value for key, value in encoder.state_dict().items() if "encoder." in key}
    return first | rest.state_dict()


def test_what_is_set_of_the_pictures_goes_before_what_the_library_says() -> None:
    config = network(MOBILENET, input=InputConfig(mean=(0.5,), size=48, interpolation="nearest"))
    encoder, _ = halves(config, 32)
    assert encoder.mean.flatten().tolist() == [0.5]
    np.testing.assert_allclose(encoder.deviation.flatten(), IMAGENET[1])
    assert features_shape(encoder, 32) == features_shape(halves(network(MOBILENET), 48)[0], 48)


@pytest.mark.parametrize("size", [20, 48])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pictures_are_scaled_as_torchvision_scales_them(size: int, interpolation: Any) -> None:
    encoder = prepared(nn.Identity(), InputConfig(size=size, interpolation=interpolation, mean=IMAGENET[0]))
    scaled = v2.Resize(size, interpolation=v2.InterpolationMode(interpolation), antialias=True)
    pictures = torch.rand(2, 3, 32, 32)
    expected = v2.Normalize(IMAGENET[0], (1, 1, 1))(scaled(pictures))
    torch.testing.assert_close(encoder(pictures), expected, atol=1e-5, rtol=1e-5)


def test_without_anything_set_our_own_networks_take_pictures_as_they_are() -> None:
    encoder = nn.Conv2d(3, 2, 3)
    assert prepared(encoder, InputConfig()) is encoder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "tensorflow:resnet"}, r"backbone: library 'tensorflow' does not exist; .*torchvision"),
        ({"backbone": MOBILENET, "width": 0.5}, r"width is of resnet18, .* leave out width = 0.5"),
        ({"input": {"mean": (1.0, 2.0)}}, "mean must be one number, or one for each of three colours"),
        ({"input": {"deviation": (0.0,)}}, "deviation must be above 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        EncoderConfig(**changes | ({"input": InputConfig(**changes["input"])} if "input" in changes else {}))


@pytest.mark.parametrize(
    ("name", "cut", "said"),
    [
        ("timm:vit_teeny", "blocks.0", "timm network 'vit_teeny' does not exist; did you mean"),
        ("torchvision:fasterrcnn_resnet50_fpn", "layer1", "torchvision network 'fasterrcnn_resnet50_fpn' does not"),
        ("torchvision:resnet18,pooling=max", "layer1", r"cannot be made with \{'pooling': 'max'\}"),
        ("torchvision:resnet18,width", "layer1", "an option of a network is NAME=VALUE, not 'width'"),
        ("timm:resnet10t,checkpoint_path=evil.pth", "layer1", "the option 'checkpoint_path' cannot be given"),
        ("timm:resnet10t,pretrained=True", "layer1", "the option 'pretrained' cannot be given"),
        (MOBILENET, "features.99", "cut 'features.99' does not exist; did you mean 'features.9'"),
        ("timm:vit_tiny_patch16_224,depth=1", "blocks.0", r"cannot take pictures of 32 .*network.input.size=224"),
    ],
)
def test_a_network_that_cannot_be_made_says_why_and_the_way_out(name: str, cut: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        halves(EncoderConfig(backbone=name, cut=cut), 32)


# ---- weights of a file


@pytest.fixture
def mobilenet() -> dict[str, Tensor]:
    return torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=1000).state_dict()


@pytest.mark.parametrize("before", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.float64])
def test_weights_of_a_file_are_taken_but_for_the_last_layer(
    tmp_path: Path, mobilenet: dict[str, Tensor], before: str, kind: torch.dtype
) -> None:
    cast = {key: value.to(kind) if value.is_floating_point() else value for key, value in mobilenet.items()}
    stored = {f"{before}{key}": value for key, value in cast.items()}
    save_file(stored, tmp_path / "weights.safetensors")
    encoder, rest = halves(network(MOBILENET, weights=str(tmp_path / "weights.safetensors")), 32)
    found = _joined(encoder, rest)
    assert found["classifier.1.weight"].shape[0] == 7
    for key, value in mobilenet.items():
        if not key.startswith("classifier"):
            torch.testing.assert_close(found[key], stored[f"{before}{key}"].to(value.dtype), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("features.3.conv.1.1.weight"), "1 of .* first 'features.3.conv.1.1.weight'"),
        (lambda state: state.update(more=torch.zeros(1)), "first 'more'"),
        (lambda state: state["features.0.1.bias"].fill_(torch.nan), "features.0.1.bias is not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, mobilenet: dict[str, Tensor], change: Callable[[dict[str, Tensor]], object], said: str
) -> None:
    change(mobilenet)
    save_file(mobilenet, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=said):
        halves(network(MOBILENET, weights=str(tmp_path / "weights.safetensors")), 32)


def test_a_file_of_old_batch_normalisation_lacks_no_weight(tmp_path: Path, mobilenet: dict[str, Tensor]) -> None:
    save_file({k: v for k, v in mobilenet.items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    halves(network(MOBILENET, weights=str(tmp_path / "w.safetensors")), 32)


def test_a_pickle_is_not_opened_and_the_way_out_works(tmp_path: Path, mobilenet: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": mobilenet}, path)
    with pytest.raises(InputError, match=r"weights.pth' is not a safetensors file .*; it is converted once") as refused:
        halves(network(MOBILENET, weights=str(path)), 32)
    line = str(refused.value).partition('python -c "')[2].rpartition('"')[0]
    here = line.replace("'weights.pth'", f"'{path}'").replace("'weights.safetensors'", f"'{tmp_path}/w.safetensors'")
    exec(here)  # as the user would
    halves(network(MOBILENET, weights=str(tmp_path / "w.safetensors")), 32)


# ---- outputs, and numbers, of every kind


class Several(nn.Module):
    """Gives features beside other things, as a network of another library does."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.layer, self.head, self.form = Inner(form), nn.Linear(4, 5), form

    def forward(self, x: Tensor) -> Any:
        given = self.layer(x)
        return self.head(given["deep"]["map"] if self.form == "dict" else given[1])


class Inner(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.layer, self.form = nn.Conv2d(3, 4, 3), form

    def forward(self, x: Tensor) -> Any:
        out = self.layer(x).mean(dim=(2, 3))
        return {"logits": out[:, :1], "deep": {"map": out}} if self.form == "dict" else (out[:, :1], out)


@pytest.mark.parametrize(("form", "output"), [("dict", "deep.map"), ("tuple", "1")])
def test_one_of_several_outputs_is_chosen_by_name_or_place(form: str, output: str) -> None:
    whole, pictures = Several(form), torch.rand(2, 3, 8, 8)
    encoder, rest = halves(EncoderConfig(cut="layer", output=output), 8, whole)
    assert features_shape(encoder, 8) == (4,)
    torch.testing.assert_close(rest(encoder(pictures)), whole(pictures))
    alone, _ = halves(EncoderConfig(cut="output", output=output), 8, whole.layer)
    torch.testing.assert_close(alone(pictures), encoder(pictures))


@pytest.mark.parametrize(("form", "known"), [("dict", "logits, deep"), ("tuple", "0, 1")])
@pytest.mark.parametrize("cut", ["layer", "output"])
def test_an_output_that_is_not_chosen_or_not_there_says_which_there_are(form: str, known: str, cut: str) -> None:
    whole = Several(form) if cut == "layer" else Inner(form)
    with pytest.raises(InputError, match=rf"choose one of its outputs \({known}\) with output = NAME"):
        halves(EncoderConfig(cut=cut), 8, whole)
    with pytest.raises(InputError, match=rf"output 'absent' does not exist; known: {known}"):
        halves(EncoderConfig(cut=cut, output="absent"), 8, whole)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_of_other_precision_is_protected_in_single(tiny: Tiny, kind: torch.dtype) -> None:
    whole = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 5, 3)).to(kind)
    config = override(tiny(), {"network.cut": "0", "network.bottleneck": 6, "network.noise": 0.1})
    protector = build(config, size=16, num_logits=2, network=whole)
    features, logits = protector(torch.rand(2, 3, 16, 16))
    assert features.dtype == logits.dtype == torch.float32
    assert next(whole.parameters()).dtype == kind


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_module_of_half_precision_is_audited_as_it_is(pack: oneway.Pack, kind: torch.dtype) -> None:
    whole = nn.Conv2d(3, 4, 3).to(kind)
    victim = from_module(whole, "output", pack, launch(oneway.RuntimeConfig(device="cpu")))
    pictures = torch.rand(2, 3, 32, 32)
    assert victim.encoder is not None
    assert torch.equal(victim.encoder(pictures), whole(pictures.to(kind)).float())


def test_one_of_several_outputs_of_a_module_is_audited(pack: oneway.Pack) -> None:
    whole, pictures = Several("dict").eval(), torch.rand(2, 3, 32, 32)
    victim = from_module(whole, "layer", pack, launch(oneway.RuntimeConfig(device="cpu")), "deep.map")
    assert victim.encoder is not None
    assert victim.identity["output"] == "deep.map"
    torch.testing.assert_close(victim.encoder(pictures), whole.layer(pictures)["deep"]["map"])


# ---- tokens


def test_tokens_are_laid_out_as_the_map_of_patches_that_they_are() -> None:
    whole = timm.create_model("vit_tiny_patch16_224", img_size=64, embed_dim=8, depth=1, num_heads=2)
    seen: list[Tensor] = []
    whole.patch_embed.proj.register_forward_hook(lambda module, given, output: seen.append(output))
    tokens = whole.patch_embed(torch.rand(2, 3, 64, 64))
    beside = torch.rand(2, 2, 8)
    arrange, shape = laid_out((18, 8))
    assert shape == (24, 4, 4)
    laid = arrange(torch.cat([beside, tokens], dim=1))
    assert torch.equal(laid[:, :8], seen[0])
    assert torch.equal(laid[:, 8:, 2, 3], beside.flatten(1))


@pytest.mark.parametrize(
    ("features", "shape"),
    [
        *[((7,), (7,)), ((3, 5, 5), (3, 5, 5)), ((5, 5, 3), (3, 5, 5)), ((3, 4, 5), (3, 4, 5)), ((16, 6), (6, 4, 4))],
        *[((24, 6), (54, 4, 4)), ((27, 6), (18, 5, 5)), ((15, 6), (42, 3, 3)), ((62, 6), (62, 6)), ((3, 6), (3, 6))],
    ],
)
def test_what_is_no_map_stays_as_it_is_and_nothing_is_lost(features: tuple[int, ...], shape: tuple[int, ...]) -> None:
    arrange, laid = laid_out(features)
    given = torch.rand(2, *features)
    assert laid == shape == tuple(arrange(given).shape[1:])
    assert set(given.flatten().tolist()) == set(arrange(given).flatten().tolist())


@pytest.mark.parametrize("features", [(17, 12), (4, 4, 12), (12, 4, 4), (12,)])
def test_no_channel_of_any_shape_is_hidden_by_its_scale(features: tuple[int, ...]) -> None:
    """The last numbers of tokens are channels, as the first of a map are."""
    axis = features.index(12)
    scale = torch.logspace(-2, 2, 12).view([12 if place == axis else 1 for place in range(len(features))])
    given = scale * torch.randn(2000, *features)
    whiten, linear = Whiten(features), Linear(features, 2)
    whiten.observe(given)
    linear.standardise.observe(given)
    for read in (whiten(given), linear.standardise(given)):
        deviations = read.movedim(1 + axis, 0).flatten(1).std(dim=1)
        torch.testing.assert_close(deviations, torch.ones(12), atol=0.05, rtol=0)


def test_decoders_read_tokens_by_convolutions_and_not_by_one_matrix_of_all() -> None:
    for decoder in (ResidualDecoder((65, 192), 64), Decoder((65, 192), stages_of_shape((65, 192), 64), 64)):
        assert isinstance(decoder.arrange, Patches)
        assert isinstance(decoder.read, nn.Conv2d)
        assert decoder(torch.rand(1, 65, 192)).shape == (1, 3, 64, 64)


# ---- audits


@pytest.mark.parametrize("name", [VIT, MOBILENET])
def test_a_module_and_its_onnx_file_are_the_same_victim(pack: oneway.Pack, tmp_path: Path, name: str) -> None:
    encoder, rest = halves(network(name), 32)
    fabric = launch(oneway.RuntimeConfig(device="cpu", precision="32"))
    victim = from_module(nn.Sequential(encoder, rest), "0", pack, fabric)
    assert victim.encoder is not None
    grey, free = torch.rand(2, 3, 32, 32), {"pictures": {0: "n"}, "features": {0: "n"}}
    torch.onnx.export(
        encoder.eval(),
        (grey,),
        tmp_path / "encoder.onnx",
        dynamo=False,
        dynamic_axes=free,
        input_names=["pictures"],
        output_names=["features"],
    )
    exported = from_onnx(tmp_path / "encoder.onnx", pack, "0..1", None)
    assert exported.encoder is not None
    pictures = torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(exported.encoder(pictures), victim.encoder(pictures), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [VIT, MOBILENET])
def test_a_run_with_such_a_network_needs_neither_pack_nor_weights_afterwards(
    pack: oneway.Pack, tmp_path: Path, tiny: Tiny, name: str
) -> None:
    fresh, rest = halves(network(name), 32)
    state = _joined(fresh, rest)
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "w.safetensors")
    cut = {"network.backbone": name, "network.cut": NETWORKS[name], "network.feature_width": 7, "network.width": 1.0}
    recipe = {"steps": 3, "network.bottleneck": 16, "network.noise": 0.2, "game.warmup": 0.0}
    config = override(tiny(), {**cut, **recipe, "network.weights": str(tmp_path / "w.safetensors")})
    run = oneway.protect(pack, tmp_path / "run", config, progress=False)
    (tmp_path / "w.safetensors").unlink()
    loaded = oneway.load_encoder(tmp_path / "run")
    features = loaded.encode(pack.test.images(slice(0, 2)))
    assert features.shape == (2, 16)
    assert set(loaded.decide(features)) == set(pack.attributes)
    assert run.load().encoder.state_dict().keys() == loaded.protector.encoder.state_dict().keys()
