"""The inversion attackers that an audit can train, each registered once; the strongest counts.

Another package adds one by an entry point of the group `oneway.attacks` that names an `Attacker`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from torch import Tensor, nn

from oneway.attacks import kernel, linear
from oneway.attacks.components import draw
from oneway.attacks.context import Context
from oneway.attacks.fit import Fitted
from oneway.attacks.generative import GenerativeConfig, imagine
from oneway.attacks.identity import IdentityConfig, draw_person
from oneway.attacks.inversion import InversionConfig, draw_decoder, invert
from oneway.attacks.pairs import Regress
from oneway.plugins import Unfit, blamed, registered

GROUP, GENERATIVE = "oneway.attacks", "generative"
FEW = 100
"""Steps at most between two checks of an attacker who has few pairs."""


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """An inversion attacker.

    Attributes:
        name: an identifier, by which audits are told to train it.
        fit: trains, or solves, a network from features (n, *shape) to pictures (n, 3, size, size) in 0..1.
        at_least: the attackers that it can represent, so that losing to one of them means that it was trained badly.
        solved: whether no optimiser can fail it: it asks for every public picture it uses as often as it may.
        few: whether it learns from a few pairs, so that it can make the query curve.
        sees: whether it needs a perceptual network.
        generates: whether it needs a generator of pictures.
        surrogate: whether it needs a face verifier to train with.
        start: the attacker from whose decoder of a map of features it goes on, which is trained before it.
        config: of the decoder that is trained, if it is one of ours.
        budget: steps at most that it is trained for, by which its time is foretold; none if that is not known.
        seed: of its weights.
        trains_with: names of the verifiers that it trains with, of those that the audit has.

    """

    name: str
    fit: Callable[[Context], Fitted[Any]]
    at_least: tuple[str, ...] = ()
    solved: bool = False
    few: bool = False
    sees: bool = False
    generates: bool = False
    surrogate: bool = False
    start: str | None = None
    config: InversionConfig | None = None
    budget: int | None = None
    seed: int = 0
    trains_with: tuple[str, ...] = ()

    def goes_on(self, shape: tuple[int, ...]) -> bool:
        """Say whether it goes on from the decoder of `start`, given the shape of one picture's features: of maps."""
        return self.start is not None and len(shape) == 3 and shape[-1] > 1


def _solve(regress: Regress[Any], context: Context) -> Fitted[Any]:
    return draw(regress, context.pairs, context.validation, context.place)


def _draw_person(config: IdentityConfig, context: Context) -> Fitted[Any]:
    return draw_person(replace(config, seed=context.seed).within(context.steps), context)


def _imagine(config: GenerativeConfig, context: Context) -> Fitted[Any]:
    return imagine(replace(config, seed=context.seed).within(context.steps), context)


def _train(config: InversionConfig, context: Context) -> Fitted[Any]:
    config = replace(config, seed=context.seed).within(context.steps)
    if context.rows is not None:
        config = replace(config, check_every=min(FEW, config.check_every), drops=1)
    decoder = draw_decoder(config, context.access.shape, context.stages, context.public.pack.size)
    return invert(
        context.access,
        context.public,
        context.validation,
        decoder,
        config,
        context.place,
        perceptual=context.perceptual if config.perceptual else None,
        rows=context.rows,
        name=context.name,
    )


def trained(name: str, config: InversionConfig, *, at_least: tuple[str, ...] = (), few: bool = False) -> Attacker:
    """Make the attacker that trains the decoder of a configuration."""
    return Attacker(
        name=name,
        fit=partial(_train, config),
        at_least=at_least,
        few=few,
        sees=config.perceptual > 0,
        config=config,
        budget=config.max_steps,
        seed=config.seed,
    )


LINEAR = Attacker(name="linear", fit=partial(_solve, linear.regress), solved=True, few=True)
"""A ridge regression."""
KERNEL = Attacker(name="kernel", fit=partial(_solve, kernel.regress), solved=True, few=True)
"""A kernel ridge regression."""
SOLVED = (LINEAR, KERNEL)
"""Those that every audit has."""
_SMALL = ("linear", "mirror", "gan", "perceptual")
_OWN = (
    *SOLVED,
    trained("mirror", InversionConfig(drops=2), at_least=("linear",), few=True),
    trained("residual", InversionConfig(drops=2, decoder="residual", learning_rate=2e-3), at_least=_SMALL),
    trained(
        "transformer",
        InversionConfig(drops=2, decoder="transformer", width=1.5, learning_rate=2e-3),
        at_least=_SMALL,
    ),
    Attacker(
        name="identity",
        fit=partial(_draw_person, IdentityConfig()),
        surrogate=True,
        start="residual",
        budget=IdentityConfig().max_steps,
    ),
    Attacker(
        name=GENERATIVE,
        fit=partial(_imagine, GenerativeConfig()),
        generates=True,
        surrogate=True,
        budget=GenerativeConfig().max_steps,
    ),
    trained("gan", InversionConfig(drops=2, gan=2e-4), at_least=("linear",)),
    trained("perceptual", InversionConfig(drops=2, perceptual=1e-2), at_least=("linear",)),
)
"""Three decoders, each with the learning rate that suits it, two trained for the person instead of the pixels, one of
them through a generator, and the mirror with the paper's further losses."""


@cache
def attackers() -> dict[str, Attacker]:
    """Give every inversion attacker by name, those of other packages last.

    Raises:
        InputError: for another package's that cannot be used, see `plugins.registered`.

    """
    own = {attacker.name: attacker for attacker in _OWN}
    every = registered(GROUP, Attacker, own)
    for name, attacker in every.items():
        with blamed(GROUP, name):
            strange = [other for other in (*attacker.at_least, attacker.start) if other not in (*every, None)]
            if strange:
                raise Unfit(f"names an attacker {strange[0]!r} that does not exist; there are {', '.join(every)}")
    return {name: attacker if name in own else _held(attacker) for name, attacker in every.items()}


class Held(nn.Module):
    """The network of another package's attacker, held to giving pictures."""

    def __init__(self, network: nn.Module, name: str, size: int) -> None:
        super().__init__()
        self.network, self._name, self._size = network, name, size

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1, or say what is wrong with them."""
        with blamed(GROUP, self._name):
            pictures: Tensor = self.network(features)
            _check_pictures(pictures, (len(features), 3, self._size, self._size))
        return pictures


def _held(attacker: Attacker) -> Attacker:
    """Hold another package's attacker to what it must give, when it is fitted and when its network draws."""
    if attacker.config is not None:  # a decoder of ours, whose weights others may go on from
        return attacker

    def fit(context: Context) -> Fitted[Any]:
        with blamed(GROUP, attacker.name):
            fitted = attacker.fit(context)
            _check_fitted(fitted)
        return replace(fitted, network=Held(fitted.network, attacker.name, context.public.pack.size).eval())

    return replace(attacker, fit=fit)


def _check_fitted(fitted: Any) -> None:
    if not isinstance(fitted, Fitted):
        raise Unfit(f"must give an oneway.attacks.fit.Fitted, not {fitted!r:.80}")
    if not isinstance(fitted.network, nn.Module):
        raise Unfit(f"must give a network, a torch.nn.Module, not {fitted.network!r:.80}")
    if not (isinstance(fitted.validation_error, float) and math.isfinite(fitted.validation_error)):
        raise Unfit(f"must give a validation_error that is a finite float, not {fitted.validation_error!r}")
    if type(fitted.steps) is not int or type(fitted.converged) is not bool:
        raise Unfit(f"must give steps and converged, an int and a bool, not {fitted.steps!r} and {fitted.converged!r}")


def _check_pictures(pictures: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(pictures, Tensor):
        raise Unfit(f"draws {type(pictures).__name__}, not a tensor of pictures {shape}")
    if tuple(pictures.shape) != shape:
        raise Unfit(f"draws pictures {tuple(pictures.shape)}, not {shape}")
    low, high = (float(end) for end in pictures.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise Unfit(f"draws pictures in {low:g}..{high:g}, not in 0..1")
