"""Protect an encoder: play the game step by step, logged, checkpointed, resumable."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from oneway import losses, runs
from oneway.data.batches import Batches, mean_picture
from oneway.data.packed import Pack
from oneway.errors import DivergedError
from oneway.models.classifier import Classifier
from oneway.models.decoder import mirror
from oneway.models.split import features_shape, split
from oneway.protection.config import ProtectConfig
from oneway.protection.game import Player, Protector, adversary_steps, protector_step

LOG_EVERY = 20
CHECKPOINT_EVERY = 200
COLUMNS = ("step", "utility_loss", "protector_error", "adversary_error", "mean_picture_error", "pixel_weight")
Report = Callable[[int, dict[str, float]], None]
"""Called now and then with the step reached and the averages since the last call."""
...
