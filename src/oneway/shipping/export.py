"""From a finished run to a bundle that runs without oneway."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from oneway.config import to_dict
from oneway.data.batches import load
from oneway.data.description import read_description
from oneway.data.packed import Pack, Part, Private
from oneway.data.picture import CROPS
from oneway.errors import InputError
from oneway.models.noise import Noisy
from oneway.models.onnx import Graph
from oneway.models.seeded import seeded
from oneway.protection.loaded import Loaded, load_encoder
from oneway.protection.run import Run
from oneway.shipping import client
from oneway.shipping.comparison import compare
from oneway.shipping.contract import (
    ATTACKER,
    BROWSER,
    CLIENT,
    CONTRACT,
    DEVICE,
    MATERIALS,
    PARITY,
    SERVER,
    Contract,
    Floats,
    Noise,
    Picture,
    Quantisation,
    Training,
)
from oneway.shipping.graphs import (
    Device,
    Server,
    columns_of,
    noise_of,
    write_attacker,
    write_device,
    write_server,
)
from oneway.shipping.kept import open_kept
from oneway.shipping.materials import bill
from oneway.shipping.parity import Parity
from oneway.shipping.reference import REFERENCE, reference_of
from oneway.shipping.signature import read_private, sign
from oneway.shipping.statistics import blocks
from oneway.storage import runs
from oneway.storage.atomic import check_place

PICTURES = 4096
"""Pictures of the people it was trained on by which levels are fixed, at most."""


def export(
    run: Run | Path | str,
    out: Path | str,
    *,
    bits: Literal[4, 8] = 8,
    network: nn.Module | None = None,
    key: Path | None = None,
    attack: Path | str | None = None,
) -> Parity:
    """Make a bundle of a run: two ONNX files, the contract between them, and a client; checked against torch.

    Args:
        run: a finished protect run, or its folder; its pack must be there, to fix levels and to check the bundle.
        out: the new folder.
        bits: of a level: one number is sent in so many.
        network: a module of the class that the run protects, if it is one of your own.
        key: a private key (PEM, Ed25519) to sign the contract by.
        attack: the folder of an audit of the run, or of an attack on it, that has kept its strongest attacker, which
            becomes attacker.onnx: it shows what a thief would draw, and turns what is sent into pictures for whoever
            has it.

    Returns:
        how near the bundle is to torch, which parity.json holds too.

    Raises:
        InputError: for what cannot be exported, naming the layer, and for a bundle that is not what was trained;
            nothing is written then.

    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists; choose another --out, or delete it")
    check_place(out)
    signer = None if key is None else read_private(key)
    opened = run if isinstance(run, Run) else Run.open(run)
    loaded = load_encoder(opened.path, network=network)
    kept = None if attack is None else open_kept(Path(attack), opened)
    columns, deviation = columns_of(loaded.task), noise_of(loaded.protector.encoder)
    sent = _noisy(loaded, opened.pack.private)
    quantisation = fitted(sent, bits)
    device = Device(loaded.protector.encoder).eval()
    server = Server(loaded.protector.classifier, loaded.task, loaded.shape, quantisation).eval()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as home:
        folder = Path(home) / out.name
        folder.mkdir()
        write_device(device, loaded.size, folder / DEVICE)
        write_server(server, folder / SERVER)
        if kept is not None:
            write_attacker(kept.path, loaded.shape, quantisation, folder / ATTACKER)
            Graph(folder / ATTACKER, "attacker")  # which a browser is to open
        shutil.copyfile(client.__file__, folder / CLIENT)
        shutil.copyfile(Path(client.__file__).with_name(BROWSER), folder / BROWSER)
        contract = Contract(
            oneway=version("oneway"),
            training=_training(opened.pack),
            picture=_picture(opened.pack),
            numbers=torch.Size(loaded.shape).numel(),
            noise=None if deviation is None else Noise(deviation=deviation),
            quantisation=quantisation,
            columns=columns,
            attacker=None if kept is None else kept.about,
            files={},
        )
        parity = compare(folder, contract, device, server, opened.pack.test)
        parity.check()
        runs.write_json(folder / PARITY, to_dict(parity))
        _write_reference(folder, contract, opened.pack.validation, sent)
        (folder / MATERIALS).write_text(bill(contract, out.name, _hashes(folder)), encoding="utf-8")
        files = _hashes(folder)
        runs.write_json(folder / CONTRACT, to_dict(replace(contract, files=files)))
        if signer is not None:
            sign(folder / CONTRACT, signer)
        os.replace(folder, out)
    return parity


def _hashes(folder: Path) -> dict[str, str]:
    return {each.name: runs.file_hash(each) for each in sorted(folder.iterdir())}


def fitted(numbers: Floats, bits: Literal[4, 8]) -> Quantisation:
    """Choose the levels that lose least: of all ranges, the one whose rounded numbers have the least squared error.

    Args:
        numbers: (n, numbers), noise included.
        bits: of a level.

    """
    most = max(float(np.abs(numbers).max()), 1e-6)
    tried = [Quantisation(bits=bits, clip=most * share) for share in np.linspace(0.2, 1, 41)]
    errors = [float(np.square(each.values(each.levels(numbers)) - numbers).mean()) for each in tried]
    return tried[int(np.argmin(errors))]


@torch.no_grad()
def _noisy(loaded: Loaded, private: Private) -> Floats:
    """Give what the device sends of people it was trained on, before it is rounded: (n, numbers)."""
    rows = np.sort(np.random.default_rng(0).permutation(len(private))[:PICTURES])
    encoder = loaded.protector.encoder
    with seeded(encoder, 0, "levels"):
        parts = [encoder(load(private, part)).float().flatten(1) for part in np.array_split(rows, -(-len(rows) // 256))]
    found: Floats = torch.cat(parts).numpy()
    return found


def _training(pack: Pack) -> Training:
    private = pack.private
    return Training(pack=pack.path.absolute().name, hash=pack.hash, pictures=len(private), people=private.num_people)


def _picture(pack: Pack) -> Picture:
    """Say what the pictures of a pack show."""
    points = None if pack.landmarks is None else tuple((float(x), float(y)) for x, y in pack.landmarks)
    crop = read_description(pack.path).crop
    fit = next((name for name, said in CROPS.items() if said == crop), None)
    return Picture(size=pack.size, crop=crop, fit=fit, points=points)  # type: ignore[arg-type]


@torch.no_grad()
def _write_reference(folder: Path, contract: Contract, part: Part, training: Floats) -> None:
    """Ask device.onnx in `folder` twice for every picture of a part, and keep what the answers are like.

    The noise is drawn by a seed, so that one run always makes the same bundle: it protects nobody, since no answer is
    kept.

    Args:
        folder: of the bundle.
        contract: of it.
        part: people whom the encoder was not trained on.
        training: see `reference_of`.

    Raises:
        InputError: if they are too few.

    """
    graph = Graph(folder / DEVICE, "device")
    noise = Noisy(nn.Identity(), 0.0 if contract.noise is None else contract.noise.deviation)
    rows = []
    with seeded(noise, 0, "reference"):
        for block in blocks(len(part)):
            vectors = torch.from_numpy(graph.run(np.ascontiguousarray(part.images(block)), "vector"))
            answers = [contract.quantisation.levels(noise.add_noise(vectors).numpy()) for _ in range(2)]
            rows.append(np.stack(answers, axis=1))
    found = reference_of(np.concatenate(rows), part.identities, contract.quantisation, training)
    runs.write_json(folder / REFERENCE, to_dict(found))
