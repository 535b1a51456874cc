"""Company: whether what an encoder says of a picture depends on the other pictures of the batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from oneway.data.batches import load
from oneway.data.packed import Part
from oneway.errors import InputError
from oneway.models.features import numbers
from oneway.models.noise import Noisy
from oneway.models.onnx import OnnxEncoder
from oneway.models.seeded import seeded
from oneway.models.split import evaluating

ASKED = 8
"""Pictures that are asked in different company."""
DRAWS = 16
"""Answers for each company of an encoder whose noise cannot be had twice."""
BEYOND = 10.0
"""How many times what two averages in one company differ by, two in different companies may: chance goes beyond it in
fewer than one of 500 audits (F distribution, 8 and 8 degrees of freedom)."""


def check_company(encoder: nn.Module, part: Part, device: torch.device) -> None:
    """Refuse an encoder whose answer for a picture depends on the pictures that are sent beside it.

    A device sends one picture, an attacker asks for hundreds at a time: what was measured of such an encoder would be
    of another than is used. Of a noisy encoder the features before the noise are compared where they are known, else
    answers with the same draws, else averages.

    Args:
        encoder: maps pictures (n, 3, size, size) in 0..1 to features; it is asked in evaluation, without gradients.
        part: whose pictures are sent.
        device: where the encoder is moved.

    Raises:
        InputError: saying what differs.

    """
    pictures = load(part, np.linspace(0, len(part) - 1, 2 * ASKED).astype(np.int64), device=device)
    chosen, others = pictures[::2], pictures[1::2]
    noise = torch.rand(others.shape, generator=torch.Generator().manual_seed(0)).to(others)
    companies = (torch.zeros_like(others), torch.ones_like(others), noise)
    # Threads share out what an ONNX graph is asked; each is to have mixed company.
    threads = torch.get_num_threads() if isinstance(encoder, OnnxEncoder) else 1
    ask = _asker(encoder.to(device))

    def among(company: Tensor) -> Tensor:
        mixed = torch.stack([chosen, company], dim=1).flatten(0, 1)
        return torch.cat([mixed, *[company] * (2 * (threads - 1))])

    def answer(company: Tensor) -> Tensor:
        return ask(among(company))[: 2 * ASKED : 2]

    with evaluating(encoder), torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        first, again = ask(among(others)), ask(among(others))
        allowed = _rounding(first)
        settled = bool(((first - again).abs() <= allowed).all())
        if not settled:
            ask = _seeded(encoder, ask)
            first, again = ask(among(others)), ask(among(others))
        if not bool(((first - again).abs() <= allowed).all()):
            _check_averages(answer, others, companies, allowed)
            return
        usual = first[: 2 * ASKED : 2]
        for company in companies:
            _compare(usual, answer(company), allowed, "beside other pictures")
        if settled:
            _compare(usual[:2], torch.cat([ask(picture[None]) for picture in chosen[:2]]), allowed, "alone")
            moved = ask(among(others).roll(1, dims=0))[1 : 2 * ASKED : 2]
            _compare(usual, moved, allowed, "elsewhere in the batch")


def _asker(encoder: nn.Module) -> Callable[[Tensor], Tensor]:
    clean = encoder.clean if isinstance(encoder, Noisy) else encoder

    def ask(batch: Tensor) -> Tensor:
        return numbers(clean(batch), len(batch))

    return ask


def _seeded(encoder: nn.Module, ask: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Ask with the same draws every time, as far as they are torch's own."""

    def again(batch: Tensor) -> Tensor:
        with seeded(encoder, "company"):
            return ask(batch)

    return again


def _rounding(features: Tensor) -> Tensor:
    """Give for each channel by how much answers may differ and be the same: float32 sums in another order."""
    channels = features.transpose(0, 1).flatten(1)
    allowed = 1e-3 * channels.std(dim=1) + 1e-5 * channels.abs().amax(dim=1) + 1e-6 * features.abs().max()
    return allowed.view(-1, *(1 for _ in features.shape[2:]))


def _compare(usual: Tensor, found: Tensor, allowed: Tensor, how: str) -> None:
    if not bool(((usual - found).abs() <= allowed).all()):
        raise _depends(f"a picture that is sent {how} has other features")


def _check_averages(
    answer: Callable[[Tensor], Tensor], others: Tensor, companies: tuple[Tensor, ...], allowed: Tensor
) -> None:
    """Compare averages of several answers in different company with two averages in the same."""

    def average(company: Tensor) -> Tensor:
        return torch.stack([answer(company) for _ in range(DRAWS)]).mean(dim=0)

    usual = average(others)
    chance = (average(others) - usual).square().mean()
    for company in companies:
        if bool((average(company) - usual).square().mean() > BEYOND * chance + allowed.square().mean()):
            raise _depends("on average a picture that is sent beside other pictures has other features")


def _depends(how: str) -> InputError:
    return InputError(
        f"the encoder's answers depend on the batch: {how}, so nothing that is measured on batches would hold for what "
        "a device sends; use batch normalisation with running statistics (track_running_stats=True) or within the "
        "picture, export graphs in evaluation mode, and take out whatever looks across pictures"
    )
