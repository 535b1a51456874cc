"""Whether a bundle says what the trained encoder says: features, decisions and utility, on every test picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oneway.config import Count, NotNegative, Share, from_dict, record
from oneway.data.batches import to_pictures
from oneway.data.packed import Part
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.models.onnx import Graph
from oneway.report.values import Utility
from oneway.shipping.contract import AGAIN, DEVICE, PARITY, SERVER, Contract
from oneway.shipping.graphs import Device, Server
from oneway.shipping.sent import logits_of, task_of
from oneway.storage.inputs import read_object
from oneway.tasks.task import labels_of, utility_of

TOLERANCE: Final = 1e-3
"""Largest difference of a number before the noise, as a share of the root mean square of all numbers."""
EQUAL: Final = 0.999
"""Least share of decisions that are equal."""
NUMBER: Final = 0.01
"""Largest difference of a decided number, in deviations of what is decided, at which it counts as equal."""
BATCH = 256


@record
@dataclass(frozen=True, kw_only=True)
class Parity:
    """How near a bundle is to the encoder in torch, both with the same noise, on every test picture.

    Attributes:
        pictures: how many.
        features: largest difference of a number before the noise, in root mean squares of all numbers; at most 1e-3.
        unrounded: share of decisions that torch's classifier makes alike by the numbers of device.onnx and by
            torch's own, both noisy and not rounded; at least 0.999.
        sent: share of decisions that server.onnx makes by what device.onnx and the contract send as torch makes them
            by its own numbers, rounded alike; at least 0.999.
        rounding: share of decisions of the bundle that are those of torch without any rounding: what the levels cost.
        torch: the utility of torch, nothing rounded.
        bundle: that of the bundle's answers to what is sent; the two intervals overlap.

    """

    pictures: Count
    features: NotNegative
    unrounded: Share
    sent: Share
    rounding: Share
    torch: Utility
    bundle: Utility

    @property
    def lines(self) -> list[str]:
        """Say it in words."""
        before, after = (f"{each.value:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in self._values)
        return [
            f"parity on {self.pictures:,} test pictures: numbers differ by at most {self.features:.1e} of their root "
            f"mean square; equal decisions: {self.unrounded:.5f} before rounding, {self.sent:.5f} by what is sent",
            f"rounding keeps {self.rounding:.4f} of the decisions; {self.torch.whole} {before} in torch, {after} by "
            "what is sent",
        ]

    def check(self) -> None:
        """Refuse a bundle that is not what was trained.

        Raises:
            InputError: saying which figure fails, and its limit.

        """
        failed = []
        if not self.features <= TOLERANCE:
            failed.append(f"numbers differ by up to {self.features:.2g} of their root mean square, above {TOLERANCE}")
        for name, share in (("unrounded", self.unrounded), ("sent", self.sent)):
            if not share >= EQUAL:
                failed.append(f"{share:.4f} of the decisions by {name} numbers are equal, below {EQUAL}")
        if not _overlap(self.torch.value, self.bundle.value):
            before, after = (f"{each.value:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in self._values)
            failed.append(f"the {self.torch.title} falls from {before} to {after}; give more --bits")
        if failed:
            raise InputError(f"the bundle is not what was trained, and is not written: {'; '.join(failed)}")

    @property
    def _values(self) -> tuple[Estimate, Estimate]:
        return self.torch.value, self.bundle.value


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


def _overlap(first: Estimate, second: Estimate) -> bool:
    return first.low <= second.high and second.low <= first.high


def read_parity(folder: Path) -> Parity:
    """Read how near the bundle in `folder` is to what it was made of.

    Raises:
        InputError: if it does not say, or is damaged.

    """
    try:
        content = read_object(folder / PARITY, AGAIN)
    except FileNotFoundError as error:
        raise InputError(f"{folder / PARITY} does not exist; {AGAIN}") from error
    return from_dict(Parity, content, f"{folder / PARITY}: ", AGAIN)
