"""A bundle beside the trained encoder that it was made of, on every test picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from oneway.data.batches import to_pictures
from oneway.data.packed import Part
from oneway.errors import InputError
from oneway.models.onnx import Graph
from oneway.shipping.contract import AGAIN, DEVICE, SERVER, Contract
from oneway.shipping.graphs import Device, Server
from oneway.shipping.parity import NUMBER, Parity
from oneway.shipping.sent import logits_of, task_of
from oneway.tasks.task import labels_of, utility_of

BATCH = 256


@torch.no_grad()
def compare(folder: Path, contract: Contract, device: Device, server: Server, test: Part) -> Parity:
    """Compare a bundle with what it was made of, on every test picture.

    Args:
        folder: holds device.onnx and server.onnx.
        contract: of the bundle.
        device: the same in torch.
        server: the same.
        test: the test people.

    """
    graphs = Graph(folder / DEVICE, "device"), Graph(folder / SERVER, "server")
    drawn, rounded = np.random.default_rng(0), contract.quantisation
    deviation = 0.0 if contract.noise is None else contract.noise.deviation
    differs, squares = 0.0, 0.0
    answers: dict[str, list[NDArray[np.float32]]] = {"torch": [], "unrounded": [], "rounded": [], "bundle": []}
    for start in range(0, len(test), BATCH):
        pictures = test.images(slice(start, start + BATCH))
        own = device.encode(to_pictures(pictures)).numpy()
        made = graphs[0].run(np.ascontiguousarray(pictures), "vector")
        if made.shape != own.shape:
            raise InputError(f"device.onnx gives {made.shape} for {own.shape}; {AGAIN}")
        differs, squares = max(differs, float(np.abs(made - own).max())), squares + float((own**2).mean()) * len(own)
        noise = deviation * drawn.standard_normal(own.shape, dtype=np.float32)
        answers["torch"].append(server.answer(torch.from_numpy(own + noise))[1].numpy())
        answers["unrounded"].append(server.answer(torch.from_numpy(made + noise))[1].numpy())
        answers["rounded"].append(server(torch.from_numpy(rounded.levels(own + noise)))[1].numpy())
        answers["bundle"].append(graphs[1].run(rounded.levels(made + noise), "decisions"))
    found = {name: np.concatenate(parts) for name, parts in answers.items()}
    task = task_of(contract)
    labels = labels_of(task, test)
    utility = {
        name: utility_of(task, logits_of(contract, found[name]), labels, test.identities)
        for name in ("torch", "bundle")
    }
    return Parity(
        pictures=len(test),
        features=differs / max(float(np.sqrt(squares / len(test))), 1e-12),
        unrounded=_equal(contract, found["torch"], found["unrounded"]),
        sent=_equal(contract, found["rounded"], found["bundle"]),
        rounding=_equal(contract, found["torch"], found["bundle"]),
        torch=utility["torch"],
        bundle=utility["bundle"],
    )


def _equal(contract: Contract, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Give the share of decisions (n, columns) that are equal."""
    number = np.array([column.kind == "number" for column in contract.columns])
    near = np.abs(first - second) <= np.where(number, NUMBER * first.std(axis=0), 0)
    return float(near.mean())
