"""The game between a protector and a simulated adversary (Xiao et al. 2020, eqs. 1 and 6 to 9): two players, two steps.

The adversary's decoder learns, on public pictures, to undo the encoder. The protector's encoder and classifier learn,
on private pictures, the task, and to make the decoder fail. Each step holds the other player fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from oneway import losses
from oneway.models.classifier import Classifier
from oneway.models.decoder import Decoder
from oneway.models.perceptual import Distance
from oneway.progress import note
from oneway.runtime import lay_out


class Protector(nn.Module):
    """The encoder and the classifier, who share the utility loss."""

    def __init__(self, encoder: nn.Module, classifier: Classifier) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Map pictures to their features and to the logits of the task."""
        features = self.encoder(pictures)
        return features, self.classifier(features)


Penalty = Callable[[nn.Module, Tensor, Tensor], Tensor | None]
"""What a further defence minimises, of the encoder, the pictures and their features."""
Network = TypeVar("Network", bound=nn.Module)


@dataclass(kw_only=True)
class Player(Generic[Network]):
    """A network, the same network as Fabric wraps it for its own step, and its optimizer."""

    network: Network
    wrapped: nn.Module
    optimizer: Optimizer


def player(fabric: Fabric, network: Network, learning_rate: float, weight_decay: float) -> Player[Network]:
    """Make a player of a network; its batch normalisation is synchronised over processes on GPUs only."""
    has_batch_norm = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if has_batch_norm and fabric.world_size > 1:
        if fabric.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        elif fabric.is_global_zero:
            note(
                "batch normalisation sees each process's part of the batch alone, so the result depends on their "
                "number; set network.norm=group for one that does not"
            )
    network = lay_out(network.train(), fabric.device)
    optimizer = AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    wrapped, optimizer = fabric.setup(network, optimizer)
    return Player(network=network, wrapped=wrapped, optimizer=optimizer)


@contextmanager
def frozen(network: Network) -> Iterator[Network]:
    """Hold a player fixed: no gradient for its weights (a third of its cost), no update of its statistics."""
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    training = [module for module in network.modules() if module.training]
    network.requires_grad_(False).eval()
    try:
        yield network
    finally:
        for weight in learning:
            weight.requires_grad_(True)
        for module in training:
            module.training = True


def adversary_steps(
    fabric: Fabric, protector: Player[Protector], adversary: Player[Decoder], batches: list[Tensor]
) -> Tensor:
    """Step the decoder once on each batch of public pictures (eq. 1); the encoder is only queried.

    Returns its mean error.
    """
    with frozen(protector.network.encoder) as encoder, torch.no_grad(), fabric.autocast():
        features = encoder(torch.cat(batches))
    mean = torch.zeros((), device=fabric.device)
    for pictures, seen in zip(batches, features.split([len(batch) for batch in batches]), strict=True):
        error = losses.reconstruction(adversary.wrapped(seen), pictures).mean()
        adversary.optimizer.zero_grad()
        fabric.backward(error)
        adversary.optimizer.step()
        mean += error.detach() / len(batches)
    return mean


def protection_term(
    reconstructed: Tensor,
    pictures: Tensor,
    mean_picture: Tensor,
    target: losses.Target,
    pixel: float,
    perceptual: float,
    distance: Distance | None,
) -> Tensor:
    """Give what the protector minimises beside utility (eq. 8): the weighted pixel and perceptual terms."""
    term = pixel * losses.protection(reconstructed, pictures, mean_picture, target=target)
    if perceptual and distance is not None:
        seen: losses.Target = "away" if target == "ssim" else target
        term = term + perceptual * losses.protection(reconstructed, pictures, mean_picture, target=seen, error=distance)
    return term


def protector_step(
    fabric: Fabric,
    protector: Player[Protector],
    adversary: Player[Decoder],
    pictures: Tensor,
    labels: Tensor,
    *,
    utility_loss: Callable[[Tensor, Tensor], Tensor] = losses.utility,
    mean_picture: Tensor,
    pixel: float,
    target: losses.Target,
    perceptual: float = 0.0,
    distance: Distance | None = None,
    penalty: Penalty | None = None,
) -> tuple[Tensor, Tensor]:
    """Step the encoder and classifier on private pictures; the decoder's weights are frozen.

    Minimises utility + pixel * protection + perceptual * protection as `distance` has it + penalty, all means over the
    batch. Returns the utility loss and the decoder's mean squared error on these pictures, detached.
    """
    features, logits = protector.wrapped(pictures)
    utility = utility_loss(logits, labels)
    error = torch.zeros((), device=fabric.device)
    loss = utility
    if pixel or perceptual:
        with frozen(adversary.network) as decoder, fabric.autocast():
            reconstructed = decoder(features)
        loss = utility + protection_term(reconstructed, pictures, mean_picture, target, pixel, perceptual, distance)
        error = losses.reconstruction(reconstructed.detach(), pictures).mean()
    further = None if penalty is None else penalty(protector.network.encoder, pictures, features)
    if further is not None:
        loss = loss + further
    protector.optimizer.zero_grad()
    fabric.backward(loss)
    protector.optimizer.step()
    return utility.detach(), error
