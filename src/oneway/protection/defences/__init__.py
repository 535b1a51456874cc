"""The defences, one file each; `DEFENCES` lists them by name."""

from __future__ import annotations

from oneway.protection.defences.blur import Blur
from oneway.protection.defences.cem import CEM
from oneway.protection.defences.downscale import Downscale
from oneway.protection.defences.dropout import Dropout
from oneway.protection.defences.noise import Noise
from oneway.protection.defences.nopeek import NoPeek
from oneway.protection.defences.pca import PCA
from oneway.protection.defences.pruning import Pruning
from oneway.protection.defences.vib import VIB

AnyDefence = Noise | Dropout | Pruning | NoPeek | VIB | CEM | Blur | Downscale | PCA
