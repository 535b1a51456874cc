"""The strongest attacker of an audit, left beside its results where that is asked for."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import torch
from torch import nn

from oneway.attacks.access import Access
from oneway.attacks.panel import Attacker, Held
from oneway.auditing.context import AuditContext
from oneway.errors import InputError
from oneway.models.exporting import write_onnx
from oneway.shipping.kept import KEPT

log = logging.getLogger(__name__)


def keep(context: AuditContext, network: nn.Module, access: Access, label: str, attacker: Attacker, seen: int) -> None:
    """Write the file of one attacker, in case it is the one that counts, or why there is none.

    Args:
        context: the audit.
        network: from features (n, *shape) to pictures (n, 3, size, size).
        access: whose shape these features have.
        label: of the attacker.
        attacker: who it is.
        seen: pictures that it learned from.

    """
    path = context.steps.path(f"inversion {label}", KEPT)
    about = {
        "attacker": label,
        "victim": str(context.victim.identity["hash"]),
        "trained_with": json.dumps(attacker.trains_with),
        "pictures": str(seen),
    }
    network = _Pictures(network.network if isinstance(network, Held) else network)
    try:
        write_onnx(network, torch.zeros(2, *access.shape), path, "features", ["picture"], about)
    except (InputError, OSError) as error:  # another package's may be none that can be written
        path.unlink(missing_ok=True)
        _refusal(path).write_text(str(error), encoding="utf-8")


def leave(context: AuditContext, label: str, folder: Path) -> None:
    """Leave the file of the attacker that counts in the audit's folder, or say why it cannot be had."""
    path = context.steps.path(f"inversion {label}", KEPT)
    if path.exists():
        os.replace(path, folder / KEPT)
    else:
        log.warning("the strongest attacker, %s, cannot be kept: %s", label, _refusal(path).read_text(encoding="utf-8"))


def _refusal(path: Path) -> Path:
    return path.with_suffix(".txt")


class _Pictures(nn.Module):
    """Gives what a network draws in the type of number that its file promises."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        pictures: torch.Tensor = self.network(features)
        return pictures.float()
