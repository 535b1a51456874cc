"""What every defence is: something put on the encoder, something minimised beside utility, or both."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from oneway.config import checked
from oneway.data.packed import Private
from oneway.errors import InputError
from oneway.plugins import Unfit, blamed, origin

GROUP = "oneway.defences"


@checked
@dataclass(frozen=True, kw_only=True)
class Defence:
    """A defence that does nothing, whose parts others replace. Every one of them is its own configuration.

    At strength 0 none of its parts is called.

    Attributes:
        name: which defence it is, a `Literal` of that name alone.
        strength: the name of the field that says how strong it is; 0 there is no defence at all.
        strengths: those at which a benchmark compares it, from weak to strong; without any, it is compared only at
            those that are asked for.

    """

    name: str = ""
    strength: ClassVar[str] = "weight"
    strengths: ClassVar[tuple[float, ...]] = ()

    @property
    def level(self) -> float:
        """How strong it is: 0 is not at all."""
        return float(getattr(self, self.strength))

    def strongest(self, size: int) -> float:
        """Give the largest strength that means something for pictures of `size` pixels a side."""
        return math.inf

    def check(self, size: int) -> None:
        """Raise `InputError` for a strength that means nothing for pictures of `size` pixels a side."""
        if self.level > self.strongest(size):
            raise InputError(
                f"defence.{self.strength} must be at most {self.strongest(size):g} for pictures of {size} pixels, "
                f"not {self.level:g}"
            )

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Put on the encoder what stays there in use; `shape` is that of one picture's features."""
        return encoder

    def penalty(self, encoder: nn.Module, pictures: Tensor, features: Tensor) -> Tensor | None:
        """Give what is minimised beside utility for a batch of private pictures, strength included; or nothing.

        Args:
            encoder: as `wrap` made it, just after it mapped `pictures` to `features`.
            pictures: (n, 3, size, size) in 0..1.
            features: (n, ...), with gradients.

        """
        return None

    def finish(self, encoder: nn.Module, private: Private) -> None:
        """Set what is set after training, from the private people."""


def wrapped(defence: Defence, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Put a defence on an encoder, as `Defence.wrap` does.

    Raises:
        InputError: if another package's fails, or gives no module.

    """
    with blamed(GROUP, defence.name):
        made: object = defence.wrap(encoder, shape)
        if not isinstance(made, nn.Module):
            raise Unfit(f"must give by `wrap` an encoder, a torch.nn.Module, not {type(made).__name__}")
    return made


@contextmanager
def worn(defence: Defence | None) -> Iterator[None]:
    """Let errors about an encoder name the package that put something on it, if it is another's."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}{'' if defence is None else origin(GROUP, defence.name)}") from error


def penalty_of(defence: Defence, encoder: nn.Module, pictures: Tensor, features: Tensor) -> Tensor | None:
    """Give what a defence minimises beside utility, as `Defence.penalty` does.

    Raises:
        InputError: if another package's fails, or gives what cannot be minimised.

    """
    with blamed(GROUP, defence.name):
        term: object = defence.penalty(encoder, pictures, features)
        if term is None or (isinstance(term, Tensor) and term.dim() == 0 and term.requires_grad):
            return term
        found = f"a tensor {tuple(term.shape)}" if isinstance(term, Tensor) else repr(term)
        raise Unfit(f"must give by `penalty` one number as a tensor () with a gradient, or None, not {found}")
