"""The defences, one file each; `DEFENCES` lists them by name."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from oneway.protection.defences.blur import Blur
from oneway.protection.defences.cem import CEM
from oneway.protection.defences.defence import Defence
from oneway.protection.defences.downscale import Downscale
from oneway.protection.defences.dropout import Dropout
from oneway.protection.defences.noise import Noise
from oneway.protection.defences.nopeek import NoPeek
from oneway.protection.defences.pca import PCA
from oneway.protection.defences.pruning import Pruning
from oneway.protection.defences.vib import VIB

AnyDefence = Annotated[
    Noise | Dropout | Pruning | NoPeek | VIB | CEM | Blur | Downscale | PCA, Field(discriminator="name")
]
DEFENCES: dict[str, type[Defence]] = {kind.name: kind for kind in get_args(get_args(AnyDefence)[0])}
