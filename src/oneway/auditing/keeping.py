"""The strongest attacker of an audit, left beside its results where that is asked for."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from torch import nn

from oneway.attacks.access import Access
from oneway.attacks.panel import Held
from oneway.auditing.context import AuditContext
from oneway.errors import InputError
from oneway.models.exporting import check_exporter, write_onnx
from oneway.shipping.kept import KEPT
from oneway.storage.atomic import whole

log = logging.getLogger(__name__)


def check_keeping(*, keep: bool) -> None:
    """Refuse to keep an attacker where none can be written, before any is trained.

    Raises:
        InputError: naming the package that is missing.

    """
    if keep:
        check_exporter()


def keep(context: AuditContext, network: nn.Module, access: Access, label: str) -> None:
    """Write the file of one attacker, in case it is the strongest; another package's may be none that can be written.

    Args:
        context: the audit.
        network: from features (n, *shape) to pictures (n, 3, size, size).
        access: whose shape these features have.
        label: of the attacker.

    """
    about = {"attacker": label, "victim": str(context.victim.identity["hash"])}
    network = network.network if isinstance(network, Held) else network
    try:
        with whole(_path(context, label)) as partial:
            write_onnx(network, torch.zeros(2, *access.shape), partial, "features", ["picture"], about)
    except InputError as error:
        log.warning("the attacker %s cannot be kept: %s", label, error)


def leave(context: AuditContext, label: str, folder: Path) -> None:
    """Leave the file of the strongest attacker in the audit's folder, if there is one."""
    path = _path(context, label)
    if path.exists():
        os.replace(path, folder / KEPT)


def _path(context: AuditContext, label: str) -> Path:
    return context.steps.path(f"inversion {label}", KEPT)
