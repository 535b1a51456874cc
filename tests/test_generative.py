"""An attacker who draws with a generator stays among what it can draw, and finds the person there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

import oneway
from conftest import RUNTIME, attacking
from oneway.attacks.access import BlackBox
from oneway.attacks.context import Context
from oneway.attacks.fit import Fitted
from oneway.attacks.generative import GenerativeConfig, imagine
from oneway.attacks.panel import attackers
from oneway.auditing.config import AuditConfig
from oneway.config import to_dict
from oneway.data.batches import load, mean_picture
from oneway.errors import InputError
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import Verifier
from oneway.models.exporting import write_onnx
from oneway.models.generator import open_generator
from oneway.protection.config import small
from oneway.report.values import SCHEMA
from oneway.runtime import launch
from oneway.storage import runs
from oneway.storage.runs import file_hash, read_json
from oneway.sweep.store import Setting

pytestmark = pytest.mark.whole

QUICK = GenerativeConfig(width=128, check_every=40, max_steps=160, drops=1)
LATENTS = 24


def write_generator(
    path: Path,
    basis: np.ndarray,
    mean: np.ndarray,
    *,
    side: int,
    layers: int | None = None,
    batch: int | str = "n",
    rows: int = -1,
) -> Path:
    """Write a linear generator: mean + latents @ basis, of one layer or of the mean of several."""
    shape = (batch, basis.shape[0]) if layers is None else (batch, layers, basis.shape[0])
    arrays = {"basis": basis, "mean": mean, "shape": np.array([rows, 3, side, side])}
    taken = "latents"
    nodes = []
    if layers is not None:
        nodes.append(helper.make_node("ReduceMean", ["latents"], ["one"], axes=[1], keepdims=0))
        taken = "one"
    nodes += [
        helper.make_node("Gemm", [taken, "basis", "mean"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["pictures"]),
    ]
    graph = helper.make_graph(
        nodes,
        "generator",
        [helper.make_tensor_value_info("latents", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("pictures", onnx.TensorProto.FLOAT, (batch, 3, side, side))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def components(people: oneway.Pack) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of public pictures, each as long as its deviation, and their mean."""
    pictures = load(people.public, slice(None)).flatten(1).numpy()
    mean = pictures.mean(axis=0)
    _, lengths, axes = np.linalg.svd(pictures - mean, full_matrices=False)
    basis = (lengths[:LATENTS, None] / len(pictures) ** 0.5 * axes[:LATENTS]).astype(np.float32)
    return basis, mean.astype(np.float32)


@pytest.fixture(scope="module")
def drawn(
    people: oneway.Pack, components: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A generator of such pictures; so that no pixel leaves 0..1, they vary by a third."""
    basis, mean = components
    return write_generator(tmp_path_factory.mktemp("generator") / "faces.onnx", basis / 3, mean, side=people.size)


@pytest.fixture(scope="module")
def context(people: oneway.Pack, judge: Verifier, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 32), nn.ReLU())
    access = BlackBox(encoder, launch(RUNTIME), people.size)
    surrogate = Surrogate(judge, people, torch.device("cpu"))
    plain = attacking(access, people, surrogate, tmp_path_factory.mktemp("generative") / "state")
    return replace(plain, generator=open_generator(drawn, people.size))


def pictures(network: nn.Module, context: Context) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = network(context.access.features(context.public.pack.test, slice(None)))
    return found


def similarity(drawn: torch.Tensor, context: Context) -> float:
    """Mean cosine of the surrogate's features of drawings of test people and of these."""
    test, surrogate = context.public.pack.test, context.surrogates[0]
    with torch.no_grad():
        return float((surrogate(drawn, None) * surrogate.known(test, torch.device("cpu"))).sum(dim=1).mean())


def test_it_finds_the_person_among_what_the_generator_can_draw(
    context: Context, components: tuple[np.ndarray, np.ndarray]
) -> None:
    fitted = imagine(QUICK, context)
    found = pictures(fitted.network, context)
    test = context.public.pack.test
    floor = similarity(mean_picture(context.public, torch.device("cpu")).expand(len(test), -1, -1, -1), context)
    assert similarity(found, context) > floor + 0.1
    inside = (found > 0) & (found < 1)  # what is clipped leaves the plane
    whole = inside.flatten(1).all(dim=1)
    assert bool(whole.any())
    basis, mean = (torch.from_numpy(array) for array in components)
    away = found[whole].flatten(1) - mean
    left = away - away @ torch.linalg.pinv(basis) @ basis
    assert float(left.abs().max()) < 1e-4


def test_a_heavier_prior_keeps_latents_nearer_to_those_that_the_generator_was_trained_on(
    context: Context, tmp_path: Path
) -> None:
    lengths = []
    for prior in (1e-3, 1.0):
        place = replace(context.place, checkpoint=tmp_path / str(prior))
        network = imagine(replace(QUICK, prior=prior), replace(context, place=place)).network
        with torch.no_grad():
            latents = network.latents(context.access.features(context.public.pack.test, slice(None)))
        lengths.append(float(latents.square().mean()))
    assert lengths[1] < lengths[0] / 2


def test_it_resumes_to_the_same_weights_and_the_generator_is_never_trained(context: Context, tmp_path: Path) -> None:
    def fit(name: str, steps: int = 30) -> Fitted[nn.Module]:
        place = replace(context.place, checkpoint=tmp_path / name, checkpoint_seconds=0.0)
        return imagine(replace(QUICK, check_every=15, max_steps=steps), replace(context, place=place))

    assert context.generator is not None
    before = {name: tensor.clone() for name, tensor in context.generator.state_dict().items()}
    whole = fit("whole").network.state_dict()
    assert fit("cut off", 15).steps == 15
    for name, tensor in fit("cut off").network.state_dict().items():
        assert torch.equal(tensor, whole[name]), name
    for name, tensor in before.items():
        assert torch.equal(whole[f"generator.{name}"], tensor), name


def test_layers_and_sides_of_a_generator_are_its_own(people: oneway.Pack, tmp_path: Path) -> None:
    flat = np.full(3 * 16 * 16, 0.25, dtype=np.float32)
    path = write_generator(
        tmp_path / "layers.onnx", np.zeros((5, len(flat)), np.float32) + 0.01, flat, side=16, layers=4
    )
    generator = open_generator(path, people.size)
    assert generator.latents == (4, 5)
    given = torch.ones(3, 4, 5)
    assert generator(given).shape == (3, 3, people.size, people.size)
    assert torch.allclose(generator(given), torch.tensor(0.30), atol=1e-5)  # 0.25 and five times 0.01
    assert torch.equal(generator(given * 1000), torch.ones(3, 3, people.size, people.size))


class Drawing(nn.Module):
    """A generator as people write them, with a reshape that keeps the batch free."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 128), nn.ConvTranspose2d(8, 3, 2, stride=2)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        x = nn.functional.leaky_relu(self.first(latents)).reshape(latents.shape[0], 8, 4, 4)
        return nn.functional.pixel_shuffle(self.last(x).sigmoid().repeat(1, 4, 1, 1), 2)


class Normalised(nn.Module):
    """A generator that divides by the length of its latents, which may be 0."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        unit = latents / latents.square().mean(dim=1, keepdim=True).sqrt()
        return unit.sigmoid()[:, :3, None, None].expand(-1, -1, 8, 8)


def test_a_generator_that_torch_exports_draws_as_it_did(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, latents = Drawing().eval(), torch.randn(5, 6)
    write_onnx(network, torch.zeros(2, 6), tmp_path / "drawing.onnx", "latents", ["pictures"], {})
    generator = open_generator(tmp_path / "drawing.onnx", 16)
    assert torch.allclose(generator(latents), network(latents), atol=1e-5)
    assert not generator.train().network.training
    smaller = open_generator(tmp_path / "drawing.onnx", 8)(latents)
    assert torch.allclose(smaller.mean(dim=(2, 3)), network(latents).mean(dim=(2, 3)), atol=0.02)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("no file", "is not a file"),
        ("bytes", "is not a readable ONNX file"),
        ("batch", "takes 1 latents at a time; export it with a free batch"),
        ("range", "draws pixels in -.*; export it with pixels in 0..1"),
        ("blind", "gives no gradients for its latents"),
        ("inner batch", "export it with a free batch"),
        ("no latents", "draws pixels in nan..nan; export it with pixels in 0..1, and for latents of 0 too"),
        ("judge", "it must take standard normal latents in float32"),
    ],
)
def test_another_file_is_refused(
    people: oneway.Pack,
    people_judge: Path,
    components: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    broken: str,
    said: str,
) -> None:
    basis, mean = components
    path = tmp_path / "faces.onnx"
    if broken == "bytes":
        path.write_bytes(b"no network")
    elif broken == "batch":
        write_generator(path, basis / 3, mean, side=people.size, batch=1)
    elif broken == "range":
        write_generator(path, basis * 6, mean * 2 - 1, side=people.size)
    elif broken == "blind":
        write_generator(path, basis * 0, mean, side=people.size)
    elif broken == "inner batch":
        write_generator(path, basis / 3, mean, side=people.size, rows=4)
    elif broken == "no latents":
        write_onnx(Normalised(), torch.ones(2, 6), path, "latents", ["pictures"], {})
    elif broken == "judge":
        path = people_judge
    with pytest.raises(InputError, match=said):
        open_generator(path, people.size)


def test_of_a_map_it_reads_what_a_regression_finds(context: Context, people: oneway.Pack, tmp_path: Path) -> None:
    place = replace(context.place, checkpoint=tmp_path / "map")
    access = BlackBox(nn.AvgPool2d(4), launch(RUNTIME), people.size)
    on_map = replace(context, access=access, fitted_on=access, place=place)
    network = imagine(QUICK, on_map).network
    floor = similarity(mean_picture(context.public, torch.device("cpu")).expand(len(people.test), -1, -1, -1), context)
    assert similarity(pictures(network, on_map), context) > floor + 0.1
    assert network.read[0].in_features == 256


@pytest.fixture(scope="module")
def run(
    once: Callable[[str, Callable[[Path], object]], Path],
    tiny: Callable[..., oneway.ProtectConfig],
    people: oneway.Pack,
) -> oneway.Run:
    config = tiny({"game.pixel": 0.0, "steps": 2})
    trained = once("imagined-run", lambda path: oneway.protect(people, path, config, progress=False))
    return oneway.Run.open(trained, people)


def test_an_audit_draws_with_it_and_says_with_which(
    run: oneway.Run, judge: Verifier, drawn: Path, tmp_path: Path
) -> None:
    settings = AuditConfig(
        attackers=("generative",), generator=str(drawn), steps=2, brief=True, surrogates=1, runtime=RUNTIME
    )
    oneway.audit(run, out=tmp_path / "audit", config=settings, verifier=judge, progress=False)
    found = read_json(tmp_path / "audit" / "results.json")
    assert found["provenance"]["audit"]["generator"] == f"faces.onnx@{file_hash(drawn)[:12]}"
    way = found["attacks"]["inversion"]["ways"]["generative"]
    assert way["course"]["steps"] == 2
    (told,) = found["judges"]
    assert told["trained_with"]


def test_a_generator_brings_its_attacker_and_is_needed_by_it() -> None:
    with pytest.raises(InputError, match="the attacker 'generative' needs a generator"):
        AuditConfig(attackers=("generative",))
    assert AuditConfig(generator="faces.onnx").panel == ("residual", "identity", "generative")
    assert AuditConfig(generator="faces.onnx", attackers=("generative", "gan")).panel == ("generative", "gan")
    assert attackers()["generative"].surrogate


def test_an_audit_without_a_judge_to_train_with_is_refused(
    run: oneway.Run, judge: Verifier, drawn: Path, tmp_path: Path
) -> None:
    settings = AuditConfig(attackers=("generative",), generator=str(drawn), surrogates=0, runtime=RUNTIME)
    with pytest.raises(InputError, match="is trained through a judge, and there is none that attackers train with"):
        oneway.audit(run, out=tmp_path / "audit", config=settings, verifier=judge)
    assert not (tmp_path / "audit").exists()


def test_a_benchmark_names_an_audit_by_the_generator_itself(people: oneway.Pack, drawn: Path, tmp_path: Path) -> None:
    def name(generator: Path | None) -> str:
        attackers = ("residual",) if generator is None else ("residual", "generative")
        config = AuditConfig(attackers=attackers, generator=None if generator is None else str(generator))
        return Setting(protect=small(), audit=config, data=people.path, attacked=people.path).report

    elsewhere = tmp_path / drawn.name
    elsewhere.write_bytes(drawn.read_bytes())
    assert name(elsewhere) == name(drawn) != name(None)
    elsewhere.write_bytes(b"another")
    assert name(elsewhere) != name(drawn)


def test_a_benchmark_finds_what_was_trained_and_audited_before_there_were_generators(people: oneway.Pack) -> None:
    """The names of folders are those that the version before gave: all settings but where it is computed."""
    setting = Setting(protect=small(), audit=AuditConfig(), data=people.path, attacked=people.path)
    trained = {name: value for name, value in to_dict(setting.protect).items() if name != "runtime"}
    audited = {
        name: value for name, value in to_dict(setting.audit).items() if name not in ("runtime", "keep", "generator")
    }
    assert trained["keep"] is False
    assert trained["game"].pop("perceptual_relative") is False  # no run of before had it
    assert setting.run.endswith(f"-{runs.digest([trained, people.hash])}")
    assert setting.report.endswith(f"-{runs.digest([SCHEMA, audited, people.hash, None])}")
