"""Bundles: they say what torch says, send noise that nobody draws again, and are refused where anything was changed."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from scipy.stats import kstest
from torch import Tensor, nn

import oneway
from conftest import AUDIT, RUNTIME
from oneway.config import to_dict
from oneway.data.batches import to_pictures
from oneway.data.picture import decode
from oneway.models.onnx import Graph
from oneway.models.seeded import seeded
from oneway.onnx_session import session_options
from oneway.protection.run import build
from oneway.report.reports import AuditReport, read_report
from oneway.shipping import export as exporting
from oneway.shipping.attach import attach
from oneway.shipping.card import make_card
from oneway.shipping.contract import (
    ATTACKER,
    BROWSER,
    CARD,
    CLIENT,
    CONTRACT,
    DEVICE,
    MATERIALS,
    PAGE,
    SERVER,
    Quantisation,
    bundle_hash,
    read_contract,
)
from oneway.shipping.export import export, fitted
from oneway.shipping.graphs import Device, Server, columns_of, noise_of, write_device, write_server
from oneway.shipping.kept import KEPT, open_kept
from oneway.shipping.parity import Parity, read_parity
from oneway.shipping.reference import read_reference
from oneway.shipping.sent import Sent, logits_of, task_of
from oneway.shipping.verify import verify
from oneway.tasks.attributes import Attributes
from oneway.tasks.multiclass import Multiclass
from oneway.tasks.regression import Regression
from oneway.tasks.several import Several
from oneway.watching.watch import watch
from test_contract import contract

pytestmark = pytest.mark.whole

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="module")
def shipped(once: Once, people: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig]) -> oneway.Run:
    changes = {"game.pixel": 0.0, "network.bottleneck": 32, "network.noise": 0.5}
    path = once("shipped", lambda path: oneway.protect(people, path, tiny(changes), progress=False))
    return oneway.Run.open(path, people)


@pytest.fixture(scope="module")
def attacked(once: Once, shipped: oneway.Run) -> Path:
    config = oneway.InversionConfig(width=0.25, max_steps=2, check_every=1, keep=True)
    return once("shipped-attack", lambda path: oneway.attack(shipped, path, config, runtime=RUNTIME, progress=False))


@pytest.fixture(scope="module")
def bundle(once: Once, shipped: oneway.Run, attacked: Path) -> Path:
    return once("bundle", lambda path: export(shipped, path, attack=attacked))


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), session_options())


def client_of(bundle: Path) -> Any:
    """The client of a bundle, as a module of its own, without a cache of it in the bundle."""
    told = importlib.util.spec_from_file_location("bundled_client", bundle / CLIENT)
    assert told is not None
    assert told.loader is not None
    module = importlib.util.module_from_spec(told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        told.loader.exec_module(module)
    return module


def python(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, "-B", *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout


def clean_of(run: oneway.Run) -> Any:
    pictures = to_pictures(run.pack.test.images(slice(0, 40)))
    with torch.no_grad():
        return run.load().encoder.clean(pictures).numpy()


def test_a_bundle_says_what_torch_says(bundle: Path, shipped: oneway.Run) -> None:
    assert verify(bundle) == []
    contract, parity = read_contract(bundle), read_parity(bundle)
    assert (contract.numbers, contract.num_bytes, contract.picture.size) == (32, 32, 32)
    assert contract.noise is not None
    assert contract.noise.deviation == 0.5
    assert contract.training.people == shipped.pack.private.num_people
    pictures = shipped.pack.test.images(slice(0, 40))
    device, server = (onnxruntime.InferenceSession(str(bundle / name)) for name in (DEVICE, SERVER))
    vector = device.run(["vector"], {"picture": pictures})[0]
    np.testing.assert_allclose(vector, clean_of(shipped), atol=1e-4)
    np.testing.assert_allclose(device.run(["vector"], {"picture": pictures[:1]})[0], vector[:1], atol=1e-4)
    levels = contract.quantisation.levels(vector)
    values, decisions = server.run(["values", "decisions"], {"levels": levels})
    told = oneway.load_encoder(shipped.path).decide(torch.from_numpy(contract.quantisation.values(levels)))
    answers = contract.answers(values, decisions)
    for name, expected in told.items():
        assert [answer[name]["decision"] for answer in answers] == expected.tolist()
    assert parity.pictures == len(shipped.pack.test)
    assert parity.torch.value.value == pytest.approx(shipped.report.utility.value.value, abs=0.1)  # other noise
    assert [name for name in contract.files if not (bundle / name).exists()] == []


def test_the_attacker_of_a_bundle_draws_as_the_one_that_was_kept(
    bundle: Path, shipped: oneway.Run, attacked: Path, tmp_path: Path
) -> None:
    contract = read_contract(bundle)
    about, kept = contract.attacker, open_kept(attacked, shipped)
    assert about is not None
    assert about == kept.about
    told = (about.name, about.trained_with, about.pictures, about.converged, about.seen)
    assert told == ("mirror", (), len(shipped.pack.public), False, None)
    report = json.loads((attacked / "results.json").read_text())
    assert about.ssim == report["attacks"]["inversion"]["scores"]["ssim"]["value"]
    assert about.floor == report["floors"]["mean_picture"]["ssim"]["value"]
    levels = np.random.default_rng(0).integers(-127, 128, (5, 32)).astype(np.int8)
    drawn = session(bundle / ATTACKER).run(["picture"], {"levels": levels})[0]
    expected = session(attacked / KEPT).run(["picture"], {"features": contract.quantisation.values(levels)})[0]
    assert (drawn.dtype, drawn.shape) == (np.uint8, (5, 32, 32, 3))
    assert np.abs(drawn.astype(int) - (255 * expected).round().transpose(0, 2, 3, 1)).max() <= 1
    assert drawn.std() > 0


def test_no_file_of_a_bundle_tells_where_it_was_made(bundle: Path, attacked: Path) -> None:
    home = Path(oneway.__file__).parents[1]
    for path in [*bundle.iterdir(), attacked / KEPT]:
        content = path.read_bytes()
        for told in (str(home), str(bundle.parent), 'File "', "stack_trace"):
            assert told.encode() not in content, (path.name, told)


def test_an_attacker_of_another_encoder_is_refused(shipped: oneway.Run, attacked: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(attacked, tmp_path / "attack"))
    model = onnx.load(copy / KEPT)
    onnx.helper.set_model_props(model, {"attacker": "mirror", "victim": "e" * 64})
    onnx.save(model, copy / KEPT)
    with pytest.raises(oneway.InputError, match=r"attacker.onnx draws of another encoder \(eeeeeeeeeeee\); audit"):
        open_kept(copy, shipped)
    (copy / KEPT).write_bytes(b"no network")
    with pytest.raises(oneway.InputError, match=r"attacker .*attacker.onnx' is not a readable ONNX file"):
        open_kept(copy, shipped)
    (copy / KEPT).unlink()
    with pytest.raises(
        oneway.InputError, match=r"keeps no attacker \(attacker.onnx\); .*: oneway audit RUN --set keep=true"
    ):
        open_kept(copy, shipped)
    report = json.loads((copy / "results.json").read_text())
    report["provenance"]["victim"]["hash"] = "f" * 64
    (copy / "results.json").write_text(json.dumps(report))
    with pytest.raises(oneway.InputError, match=r"attacked run .* \(ffffffffffff\), and .* is [0-9a-f]{12}; audit"):
        open_kept(copy, shipped)


def test_the_bill_of_materials_names_models_data_and_libraries(bundle: Path) -> None:
    bill, contract = json.loads((bundle / MATERIALS).read_text()), read_contract(bundle)
    parts = {each["name"]: each for each in bill["components"]}
    for name in (DEVICE, SERVER):
        assert parts[name]["type"] == "machine-learning-model"
        assert parts[name]["hashes"] == [{"alg": "SHA-256", "content": contract.files[name]}]
    assert parts[contract.training.pack]["type"] == "data"
    assert parts["onnxruntime"]["purl"] == f"pkg:pypi/onnxruntime@{onnxruntime.__version__}"


@pytest.mark.parametrize("bits", [4, 8])
def test_levels_are_where_they_lose_least(bits: Any) -> None:
    numbers = np.random.default_rng(0).normal(size=(400, 50)).astype(np.float32)
    found = fitted(numbers, bits)

    def lost(clip: float) -> float:
        other = Quantisation(bits=bits, clip=clip)
        return float(np.square(other.values(other.levels(numbers)) - numbers).mean())

    assert lost(found.clip) <= 1.02 * min(map(lost, np.linspace(0.5, 6, 200)))


def test_the_client_sends_what_torch_would_without_the_noise(
    bundle: Path, shipped: oneway.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, contract = client_of(bundle), read_contract(bundle)
    pictures, clean = shipped.pack.test.images(slice(0, 6)), clean_of(shipped)
    monkeypatch.setattr(client, "normal", np.zeros)
    for place, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / "picture.png")
        levels = contract.read(client.encode(tmp_path / "picture.png"))
        assert np.abs(levels - contract.quantisation.levels(clean[place : place + 1]).astype(int)).max() <= 1
    agreed = to_dict(contract)
    for bits in (4, 8):
        own = Quantisation(bits=bits, clip=contract.quantisation.clip)
        sent = client.message(clean[0], agreed | {"quantisation": to_dict(own)})
        assert sent == own.pack(own.levels(clean[:1])).tobytes()


def test_the_client_adds_the_noise_that_was_agreed(bundle: Path, shipped: oneway.Run) -> None:
    client, contract, clean = client_of(bundle), read_contract(bundle), clean_of(shipped)[0] * 0.5
    sent = b"".join(client.message(clean, to_dict(contract)) for _ in range(600))
    left = contract.quantisation.values(contract.read(sent)) - clean
    assert left.mean() == pytest.approx(0, abs=0.02)
    assert left.std() == pytest.approx(0.5, rel=0.03)
    assert abs(np.corrcoef(left.T) - np.eye(32)).max() < 0.25
    assert np.quantile(np.abs(left / 0.5), 0.9545) == pytest.approx(2, abs=0.08)


def test_two_processes_and_two_calls_never_share_noise(bundle: Path, shipped: oneway.Run, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(shipped.pack.test.images(slice(0, 1))[0]).save(picture)
    for name in ("first.bin", "second.bin"):
        python(bundle / CLIENT, "encode", picture, tmp_path / name)
    client = client_of(bundle)
    answers = [(tmp_path / name).read_bytes() for name in ("first.bin", "second.bin")]
    answers += [client.encode(picture) for _ in range(2)]
    assert len(set(answers)) == 4
    assert {len(each) for each in answers} == {read_contract(bundle).num_bytes}
    draw = (
        "import sys; sys.path.insert(0, sys.argv[1]); import client, json; "
        "assert not {'torch', 'oneway'} & set(sys.modules); print(json.dumps(list(client.normal(20000))))"
    )
    used, fresh = (np.array(json.loads(python("-c", draw, bundle))) for _ in range(2))
    assert abs(np.corrcoef(used, fresh)[0, 1]) < 0.04
    assert (used - fresh).std() > 1.35  # subtracting what a fresh process draws adds noise instead of taking it off
    assert not set(used) & set(fresh)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_browser_sends_the_same_bytes_and_draws_its_own_noise(bundle: Path) -> None:
    code = (
        "const {message, normal} = await import(process.argv[1]);"
        "const given = JSON.parse(process.argv[2]);"
        "const sent = given.map(([numbers, contract, drawn]) => Array.from(message(Float32Array.from(numbers), "
        "contract, drawn)));"
        "console.log(JSON.stringify([sent, Array.from(normal(20000))]))"
    )
    numbers, drawn = np.random.default_rng(0).normal(size=(2, 33)).astype(np.float32)
    given, expected = [], []
    for bits in (4, 8):
        agreed = contract(33, bits)
        given.append([numbers.tolist(), to_dict(agreed), drawn.tolist()])
        levels = agreed.quantisation.levels(numbers[None] + 0.5 * drawn[None])
        expected.append(agreed.quantisation.pack(levels)[0].tolist())
    node = ["node", "--input-type=module", "-e", code, str(bundle / BROWSER), json.dumps(given)]
    said = [json.loads(subprocess.run(node, capture_output=True, text=True, check=True).stdout) for _ in range(2)]
    assert said[0][0] == expected
    first, second = (np.array(each[1]) for each in said)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04
    for normal in (first, second):
        assert kstest(normal, "norm").pvalue > 1e-4


def test_the_client_cuts_as_packs_do(bundle: Path, tmp_path: Path) -> None:
    client = client_of(bundle)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    for fit in ("crop", "pad", "stretch"):
        agreed = {"size": 32, "fit": fit, "points": None, "crop": ""}
        expected = decode(tmp_path / "wide.png", "wide", 32, fit=fit).astype(int)
        assert np.abs(client.square(tmp_path / "wide.png", agreed) - expected).max() <= 1, fit
    with pytest.raises(SystemExit, match="must be cut first: the face; or give the --points"):
        client.square(tmp_path / "wide.png", agreed | {"fit": None, "crop": "the face"})
    from oneway.data.readers.celeba import LANDMARKS
    from oneway.data.readers.faces import aligned

    points = np.array([[38, 30], [62, 26], [52, 42], [44, 56], [64, 52]], dtype=float)
    agreed |= {"points": np.array(LANDMARKS).tolist()}
    found = client.square(tmp_path / "wide.png", agreed, points.ravel().tolist())
    expected = np.asarray(aligned(Image.fromarray(pixels), points, 32)).astype(int)
    assert np.abs(found - expected).max() <= 2


def test_what_is_audited_is_what_is_sent(bundle: Path, shipped: oneway.Run) -> None:
    sent, contract, clean = Sent(bundle, 32), read_contract(bundle), clean_of(shipped)
    pictures = to_pictures(shipped.pack.test.images(slice(0, 40)))
    features = sent(pictures)
    levels = (features / contract.quantisation.step).numpy()
    np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    assert not torch.equal(features, sent(pictures))
    with seeded(sent, 3):
        first = sent(pictures)
    with seeded(sent, 3):
        assert torch.equal(first, sent(pictures))
    flat = sent.add_noise(torch.zeros(3000, 32))
    assert float(flat.std()) == pytest.approx(0.5, rel=0.03)
    np.testing.assert_allclose(sent.clean(pictures).numpy(), clean, atol=1e-4)
    with pytest.raises(oneway.InputError, match="takes pictures of 32 x 32 pixels, and the pack's have 64 x 64"):
        Sent(bundle, 64)


def test_a_bundle_that_is_not_what_was_trained_is_not_written(
    bundle: Path, shipped: oneway.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotaged = onnx.load(bundle / DEVICE)
    weights = max(sabotaged.graph.initializer, key=lambda each: len(each.raw_data))
    weights.raw_data = (np.frombuffer(weights.raw_data, np.float32) * 0.9).astype(np.float32).tobytes()
    monkeypatch.setattr(exporting, "write_device", lambda device, size, path: onnx.save(sabotaged, path))
    monkeypatch.setattr(exporting, "write_server", lambda server, path: shutil.copyfile(bundle / SERVER, path))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(oneway.InputError, match="not what was trained, and is not written: numbers differ by up to"):
        export(shipped, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "there").mkdir()
    with pytest.raises(oneway.InputError, match="there exists; choose another --out"):
        export(shipped, tmp_path / "there")


def test_parity_fails_by_each_figure(bundle: Path) -> None:
    parity = read_parity(bundle)
    parity.check()
    worse = replace(parity.bundle, value=replace(parity.bundle.value, value=-0.9, low=-1.0, high=-0.8))
    failing: dict[str, Parity] = {
        "numbers differ": replace(parity, features=2e-3),
        "0.9980 of the decisions by unrounded": replace(parity, unrounded=0.998),
        "0.9980 of the decisions by sent": replace(parity, sent=0.998),
        "falls from": replace(parity, bundle=worse),
    }
    for said, failed in failing.items():
        with pytest.raises(oneway.InputError, match=said):
            failed.check()


def test_every_task_is_answered_as_torch_decides(tmp_path: Path) -> None:
    heads = (
        Attributes(columns=("a", "b")),
        Multiclass(columns=("hair",), classes=("black", "blond", "grey")),
        Regression(columns=("age",), mean=40.0, deviation=12.0),
        Attributes(columns=("c",)),
    )
    task = Several(columns=("a", "b", "hair", "age", "c"), heads=heads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Linear(8, task.num_logits)
    server = Server(network, task, (8,), Quantisation(bits=8, clip=3))
    write_server(server, tmp_path / SERVER)
    levels = np.random.default_rng(0).integers(-127, 128, (50, 8), dtype=np.int8)
    session = onnxruntime.InferenceSession(str(tmp_path / SERVER))
    values, decisions = session.run(["values", "decisions"], {"levels": levels})
    with torch.no_grad():
        expected = task.decide(network(torch.from_numpy(levels).float() * 3 / 127).numpy())
    agreed = replace(contract(), columns=columns_of(task))
    for place, answer in enumerate(agreed.answers(values, decisions)):
        for name in task.columns:
            told = expected[name][place].item()
            assert answer[name]["decision"] == (pytest.approx(told, abs=1e-3) if name == "age" else told)
    assert sum(answer["hair"]["probabilities"].values()) == pytest.approx(1)
    again = task_of(agreed).decide(logits_of(agreed, decisions))
    np.testing.assert_allclose(again.pop("age"), expected["age"], atol=1e-3)
    for name, found in again.items():
        np.testing.assert_array_equal(found, expected[name])


def test_what_a_graph_cannot_draw_is_refused_by_name(tiny: Callable[..., oneway.ProtectConfig]) -> None:
    for defence, said in (("dropout", "Dropping"), ("vib", "Stochastic")):
        encoder = build(tiny({"defence": defence}), size=32, num_logits=3).encoder
        with pytest.raises(oneway.InputError, match=rf"layer .*\({said}\) draws anew for every picture"):
            noise_of(encoder)
    assert noise_of(build(tiny({}), size=32, num_logits=3).encoder) is None


class Odd(nn.Module):
    """A layer that decides by the numbers that it is given."""

    def forward(self, features: Tensor) -> Tensor:
        return features if features.sum() > 0 else -features


def test_a_layer_that_cannot_be_exported_is_named(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), Odd())
    with pytest.raises(oneway.InputError, match=r"device\.onnx cannot be made: its layer encoder\.1 \(Odd\)"):
        write_device(Device(network), 8, tmp_path / DEVICE)
    assert not (tmp_path / DEVICE).exists()


def _edited(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _outside(folder: Path) -> None:
    """Let the device's weights lie in a file outside, and the contract agree to it."""
    model = onnx.load(folder / DEVICE)
    onnx.save(model, folder / DEVICE, save_as_external_data=True, location="weights", size_threshold=0)
    (folder / "weights").rename(folder.parent / "weights")
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../weights" if entry.key == "location" else entry.value
    (folder / DEVICE).write_bytes(model.SerializeToString())
    content = json.loads((folder / CONTRACT).read_text())
    content["files"][DEVICE] = oneway.storage.runs.file_hash(folder / DEVICE)  # type: ignore[attr-defined]
    (folder / CONTRACT).write_text(json.dumps(content))


def _nobody(folder: Path) -> None:
    """Let the contract say nothing of the attacker that is there."""
    content = json.loads((folder / CONTRACT).read_text())
    (folder / CONTRACT).write_text(json.dumps(content | {"attacker": None}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        *((lambda folder, name=name: (folder / name).unlink(), f"{name} is missing") for name in (DEVICE, CLIENT)),
        (lambda folder: (folder / CONTRACT).unlink(), "is no bundle"),
        *((lambda folder, name=name: _edited(folder / name), f"{name} is not the file") for name in (DEVICE, SERVER)),
        (lambda folder: (folder / SERVER).write_bytes((folder / SERVER).read_bytes()[:-9]), "cut short"),
        (lambda folder: shutil.copyfile(folder / DEVICE, folder / SERVER), "is of another bundle"),
        (lambda folder: (folder / "more.txt").write_text(""), r"more\.txt is no part of the bundle"),
        (lambda folder: (folder / CONTRACT).write_text('{"format": 7}'), "is of format 7"),
        (_nobody, r"must say whose attacker\.onnx is where there is one"),
        (_outside, r"lie in '\.\./weights', outside of the file"),
    ],
)
def test_a_bundle_that_was_changed_is_refused(copy: Path, damage: Callable[[Path], object], said: str) -> None:
    assert verify(copy) == []
    damage(copy)
    found = verify(copy)
    assert len(found) == 1
    with pytest.raises(oneway.InputError, match=said):
        Sent(copy, 32)


def test_everything_that_is_wrong_is_named(copy: Path) -> None:
    _edited(copy / DEVICE)
    (copy / CLIENT).unlink()
    with pytest.raises(oneway.InputError, match=r"1 more: oneway verify-bundle copy"):
        Sent(copy, 32)


def test_a_card_is_of_an_audit_of_these_bytes(
    bundle: Path, shipped: oneway.Run, copy: Path, once: Once, tmp_path: Path
) -> None:
    audited = once(
        "bundle-audit",
        lambda path: oneway.audit(bundle, data=shipped.pack, out=path, config=AUDIT, progress=False),
    )
    card = attach(copy, audited)
    assert card.bundle == bundle_hash(copy) == bundle_hash(bundle)
    assert card.utility is not None
    assert card.utility.value.value == pytest.approx(read_parity(bundle).bundle.value.value, abs=0.1)
    assert verify(copy) == []
    page = (copy / PAGE).read_text()
    for told in (card.verdict.sentence, bundle_hash(copy), "Who is assumed to hold what", "32 bytes"):
        assert told in page
    assert "whose people are in one part only" in page
    report = read_report(audited, AuditReport, "oneway audit")
    known = [guard for guard in report.guards if guard.name != "people"]
    unsure = make_card(read_contract(copy), bundle_hash(copy), replace(report, guards=known), "0" * 64, "smiling")[1]
    assert "nobody knows whether its people are in one part only" in unsure
    before = (copy / CARD).read_bytes()
    _edited(copy / PAGE)
    assert "is not the file that the card names" in verify(copy)[0]
    attach(copy, audited)
    assert (copy / CARD).read_bytes() == before
    content = json.loads((copy / CONTRACT).read_text())
    (copy / CONTRACT).write_text(json.dumps(content | {"oneway": "0.0.9"}))
    assert "is of another bundle" in verify(copy)[0]
    with pytest.raises(oneway.InputError, match=r"is no audit of the bytes that .* but of another one"):
        attach(copy, audited)


def test_signatures(bundle: Path, copy: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    from oneway.shipping.signature import read_private, sign

    for name in ("ours", "theirs"):
        key = Ed25519PrivateKey.generate()
        (tmp_path / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
    ours, theirs = tmp_path / "ours.pub", tmp_path / "theirs.pub"
    assert "is not signed: " in verify(copy, ours)[0]
    sign(copy / CONTRACT, read_private(tmp_path / "ours"))
    assert verify(copy, ours) == []
    assert "another key signed it" in verify(copy, theirs)[0]
    (copy / CONTRACT).write_text((copy / CONTRACT).read_text() + " ")
    assert "another key signed it" in verify(copy, ours)[0]
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "other").write_bytes(other)
    for path, said in ((tmp_path / "other", "another kind"), (ours, "no private key"), (tmp_path / "no", "be read")):
        with pytest.raises(oneway.InputError, match=said):
            read_private(path)


def test_a_bundle_knows_what_it_sends(bundle: Path, shipped: oneway.Run, tmp_path: Path) -> None:
    contract, told = read_contract(bundle), read_reference(bundle, read_contract(bundle))
    assert told.people == shipped.pack.validation.num_people
    assert told.noise == pytest.approx(np.hypot(0.5, contract.quantisation.step / math.sqrt(12)), rel=0.02)
    pictures, names = shipped.pack.test.images(slice(None)), shipped.pack.test.names
    device, drawn = Graph(bundle / DEVICE, "device"), np.random.default_rng(0)
    nearer = pictures.repeat(2, axis=1)[:, 16:48].repeat(2, axis=2)[:, :, 16:48]
    for crop, alarms in ((pictures, set()), (nearer, {"mean"})):
        vectors = device.run(np.ascontiguousarray(crop), "vector")
        levels = contract.quantisation.levels(vectors + 0.5 * drawn.normal(size=vectors.shape))
        np.savez(tmp_path / "today.npz", names=np.array(names), features=levels)
        found = {each.name for each in watch(bundle, tmp_path / "today.npz").alarms}
        assert found >= alarms if alarms else not found
