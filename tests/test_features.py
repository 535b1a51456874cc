"""What attackers read is all that an encoder gave: nothing is rounded off or left out, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oneway
from dumps import write_dump
from oneway.attacks.access import BlackBox, FeatureDump, WhiteBox
from oneway.data.dump import read_dump
from oneway.errors import InputError
from oneway.models.features import numbers
from oneway.models.split import features_shape
from oneway.protection.run import build
from oneway.runtime import launch

pytestmark = pytest.mark.whole

FLOATS = torch.tensor([[0.5, -3.25, 1e-20], [float("nan"), float("inf"), 7.0]])
REFUSED: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "complex": (lambda x: torch.complex(x, x), r"real numbers, not torch.complex64.*view_as_real"),
    "complex of double precision": (lambda x: torch.complex(x, x).to(torch.complex128), "view_as_real"),
    "double": (lambda x: x.double() + 1e-12, r"torch.float64 and hold more than float32.*features.float\(\)"),
    "double beyond float's range": (lambda x: x.double() * 1e200, "hold more than float32"),
    "double below float's range": (lambda x: (x.double() + 1) * 1e-200, "hold more than float32"),
    "large whole numbers": (lambda x: (x * 0).long() + 2**40 + 1, "torch.int64 and hold more than float32"),
    "large whole numbers of 32 bits": (lambda x: (x * 0).int() + 2**24 + 1, "hold more than float32"),
    "sparse": (lambda x: x.to_sparse(), r"dense tensor.*to_dense"),
    "quantised": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "dequantize"),
    "a tuple": (lambda x: (x, x), "must return one tensor, not tuple"),
    "a mapping": (lambda x: {"features": x}, "must return one tensor, not dict"),
    "fewer rows": (lambda x: x[:1], r"shape \(1, .*for 2 pictures"),
    "the batch last": (lambda x: x.flatten(1).T, "for 2 pictures; it must give a row for each"),
}


class Giving(nn.Module):
    """Gives the means of the pictures' colours, made into something."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.weight, self.make = nn.Parameter(torch.tensor(1.0)), make

    def forward(self, pictures: Tensor) -> object:
        return self.make(self.weight * pictures.mean(dim=(2, 3)))


@pytest.mark.parametrize("name", REFUSED)
def test_what_attackers_could_not_read_whole_is_refused_in_every_access(
    name: str,
    pack: oneway.Pack,
    runtime: oneway.RuntimeConfig,
    tiny: Callable[..., oneway.ProtectConfig],
    tmp_path: Path,
) -> None:
    make, message = REFUSED[name]
    encoder, pictures = Giving(make), torch.rand(2, 3, 32, 32)
    with pytest.raises(InputError, match=message):
        numbers(encoder(pictures), 2)
    with pytest.raises(InputError, match=message):
        WhiteBox(encoder, torch.device("cpu"))(pictures)
    with pytest.raises(InputError):
        BlackBox(encoder, launch(runtime), 32)(pictures)
    with pytest.raises(InputError):
        build(tiny({"network.cut": "output"}), size=32, num_logits=2, network=encoder)
    with pytest.raises(InputError):
        oneway.audit(encoder, data=pack, out=tmp_path / "audit", progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8, torch.int64],
)
def test_numbers_of_every_type_are_read_as_they_are(dtype: torch.dtype) -> None:
    given = (FLOATS if dtype.is_floating_point else torch.tensor([[0, 1, 1], [1, 0, 7]])).to(dtype)
    read = numbers(given, 2)
    assert read.dtype == torch.float32
    torch.testing.assert_close(read.double(), given.double(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(4,), (1,), (2, 3, 3), (3, 1, 1), (1, 5, 1)])
def test_a_batch_of_one_is_read_as_any_other_after_squeeze(shape: tuple[int, ...]) -> None:
    given = torch.rand(6, *shape)
    rows = numbers(given.squeeze(), 6)
    assert len(rows.shape) > 1
    for number in range(6):
        assert torch.equal(numbers(given[number : number + 1].squeeze(), 1), rows[number : number + 1])


class Squeezing(nn.Module):
    """Squeezes what it pools, as many do, at the cut and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.cut = nn.AdaptiveAvgPool2d(1), nn.Flatten(0)
        self.layer, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
        self.squeezed = Squeeze()

    def forward(self, x: Tensor) -> Tensor:
        features = self.squeezed(self.pool(self.layer(x)))
        return self.head(features).unsqueeze(-1).squeeze()


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze()


@pytest.mark.parametrize("cut", ["squeezed", "layer", "output"])
def test_a_network_that_squeezes_is_protected_whatever_the_last_batch(
    cut: str, tiny: Callable[..., oneway.ProtectConfig]
) -> None:
    protector = build(tiny({"network.cut": cut}), size=32, num_logits=3, network=Squeezing()).eval()
    pictures = torch.rand(5, 3, 32, 32)
    together = protector(pictures)
    for number in range(5):
        for alone, of_all in zip(protector(pictures[number : number + 1]), together, strict=True):
            torch.testing.assert_close(alone, of_all[number : number + 1])


def test_one_number_for_each_picture_is_attacked_and_not_trained(
    runtime: oneway.RuntimeConfig, tiny: Callable[..., oneway.ProtectConfig]
) -> None:
    encoder = Giving(lambda x: x.mean(dim=1))
    assert BlackBox(encoder, launch(runtime), 8).shape == (1,)
    with pytest.raises(InputError, match=r"one number for each picture, \(n,\); let it give \(n, 1\)"):
        features_shape(encoder, 8)


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".safetensors"])
@pytest.mark.parametrize("hidden", [np.float64(1e-12), np.int64(2**40 + 1)], ids=["double", "whole"])
def test_a_dump_of_more_than_float32_holds_is_refused(
    suffix: str, hidden: np.generic, pack: oneway.Pack, tmp_path: Path
) -> None:
    names = pack.table.column("name").to_pylist()
    features = np.ones((len(names), 2), dtype=hidden.dtype)
    write_dump(tmp_path / f"a{suffix}", names, features)
    assert len(read_dump(tmp_path / f"a{suffix}", pack)["test"]) == len(pack.test)
    features[:, 1] += hidden  # type: ignore[arg-type]
    write_dump(tmp_path / f"b{suffix}", names, features)
    with pytest.raises(
        InputError, match=rf"b{suffix}: features are {hidden.dtype} and hold more .*astype\(numpy.float32\)"
    ):
        read_dump(tmp_path / f"b{suffix}", pack)


def test_complex_stored_features_are_refused(pack: oneway.Pack) -> None:
    stored = {"test": np.ones((len(pack.test), 2), dtype=np.complex64)}
    with pytest.raises(InputError, match="must be real numbers, not complex64"):
        FeatureDump(stored, torch.device("cpu")).features(pack.test, slice(None))
