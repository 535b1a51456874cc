"""Train image encoders whose features keep a task and cannot be turned back, and measure how far that holds."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oneway.attacks.inversion import InversionConfig as InversionConfig
    from oneway.auditing.attack import attack as attack
    from oneway.auditing.audit import audit as audit
    from oneway.auditing.comparison import compare as compare
    from oneway.auditing.config import AuditConfig as AuditConfig
    from oneway.data.packed import Pack as Pack
    from oneway.data.prepare import prepare as prepare
    from oneway.errors import DivergedError as DivergedError
    from oneway.errors import InputError as InputError
    from oneway.errors import LostError as LostError
    from oneway.judges.identification import open_verifier as open_verifier
    from oneway.judges.preprocessing import Preprocessing as Preprocessing
    from oneway.metrics.estimate import Estimate as Estimate
    from oneway.models.encoder import EncoderConfig as EncoderConfig
    from oneway.protection.config import GameConfig as GameConfig
    from oneway.protection.config import ProtectConfig as ProtectConfig
    from oneway.protection.loaded import Loaded as Loaded
    from oneway.protection.loaded import load_encoder as load_encoder
    from oneway.protection.run import Run as Run
    from oneway.protection.train import protect as protect
    from oneway.report.reports import AuditReport as AuditReport
    from oneway.runtime import RuntimeConfig as RuntimeConfig
    from oneway.shipping.export import export as export

_HOMES = {
    "AuditConfig": "oneway.auditing.config",
    "AuditReport": "oneway.report.reports",
    "DivergedError": "oneway.errors",
    "EncoderConfig": "oneway.models.encoder",
    "Estimate": "oneway.metrics.estimate",
    "GameConfig": "oneway.protection.config",
    "InputError": "oneway.errors",
    "InversionConfig": "oneway.attacks.inversion",
    "Loaded": "oneway.protection.loaded",
    "LostError": "oneway.errors",
    "Pack": "oneway.data.packed",
    "Preprocessing": "oneway.judges.preprocessing",
    "ProtectConfig": "oneway.protection.config",
    "Run": "oneway.protection.run",
    "RuntimeConfig": "oneway.runtime",
    "attack": "oneway.auditing.attack",
    "audit": "oneway.auditing.audit",
    "compare": "oneway.auditing.comparison",
    "export": "oneway.shipping.export",
    "load_encoder": "oneway.protection.loaded",
    "open_verifier": "oneway.judges.identification",
    "prepare": "oneway.data.prepare",
    "protect": "oneway.protection.train",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch alone takes seconds."""
    if name == "__version__":
        from importlib.metadata import version

        return version("oneway")
    if name not in _HOMES:
        raise AttributeError(f"module 'oneway' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})
