"""What the bytes of a bundle are like for people whom its encoder was not trained on: statistics, never vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import Field

from oneway.config import Count, NotNegative, Several, from_dict, record
from oneway.errors import InputError
from oneway.shipping.contract import AGAIN, Contract, Floats, Numbers, Quantisation
from oneway.shipping.statistics import (
    Measured,
    Moments,
    People,
    White,
    alike,
    cells_of,
    moments,
    power,
    shares,
    short,
    white_of,
    within,
)
from oneway.storage.inputs import read_object

REFERENCE: Final = "reference.json"
LEAST_PEOPLE: Final = 8
"""Fewer say nothing of how people differ."""
Figures = Annotated[list[float], Field(min_length=1)]


@record
@dataclass(frozen=True, kw_only=True)
class Alike:
    """How alike two pictures of one person are: the mean cosine of their answers, less the mean answer.

    Attributes:
        mean: over people, -1..1.
        deviation: over people.
        people: who have several pictures.

    """

    mean: float
    deviation: NotNegative
    people: Several


@record
@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is sent of the validation people's pictures, noise and rounding included.

    Attributes:
        numbers: of an answer.
        quantisation: how they were rounded.
        pictures: how many.
        people: of whom.
        centre: the mean of the numbers, or of 128 mixtures of more, over people whom the encoder was trained on: (k,).
        whitening: makes these less the centre uncorrelated and of variance 1 over the same people: (k, k).
        average: of the k numbers that this gives.
        products: of any two of these, less their means: the covariance, each once, those of two different ones times
            the root of 2, so that squares add up to those of the whole matrix.
        power: mean square of the numbers of an answer.
        cells: the first level of each cell of neighbouring levels that hold at least 0.005 of the numbers.
        levels: share of an answer's numbers in each cell, by the root of the mean share.
        noise: standard deviation of a number over answers for one picture; 0 without noise.
        alike: of pictures of one person; none where fewer than eight have several.

    """

    numbers: Count
    quantisation: Quantisation
    pictures: Count
    people: Count
    centre: Figures
    whitening: Annotated[list[Figures], Field(min_length=1)]
    average: Moments
    products: Moments
    power: Moments
    cells: Annotated[list[int], Field(min_length=1)]
    levels: Moments
    noise: NotNegative
    alike: Alike | None

    def measures(self) -> dict[str, tuple[Measured, Moments]]:
        """Give what is measured of answers by name, and its moments."""
        return {
            "mean": (self.white, self.average),
            "covariance": (self.white.products, self.products),
            "power": (power, self.power),
            "levels": (partial(shares, self.cells, np.square(self.levels.mean), self.quantisation.step), self.levels),
        }

    @property
    def white(self) -> White:
        """Maps answers to numbers that people vary in equally."""
        return White(np.array(self.centre, dtype=np.float32), np.array(self.whitening, dtype=np.float32))


def reference_of(levels: Numbers, people: People, quantisation: Quantisation, training: Floats) -> Reference:
    """Measure what is sent.

    Args:
        levels: (pictures, answers, numbers) of each picture one answer or more, each with noise of its own.
        people: (pictures,) who is in each.
        quantisation: of the contract.
        training: (n, numbers) that are sent of people whom the encoder was trained on, from which nothing but the
            whitening is taken.

    Raises:
        InputError: if there are too few people.

    """
    num_people = len(np.unique(people))
    if num_people < LEAST_PEOPLE:
        raise InputError(
            f"a reference needs the pictures of {LEAST_PEOPLE} people, and these are of {num_people}; prepare a pack "
            "with more validation people"
        )
    vectors = quantisation.values(levels[:, 0])
    white = white_of(training)
    cells = cells_of(levels[:, 0])
    first = np.searchsorted(cells, levels[:, 0].ravel(), side="right") - 1
    share = np.bincount(first, minlength=len(cells)) / first.size
    return Reference(
        numbers=levels.shape[2],
        quantisation=quantisation,
        pictures=len(levels),
        people=num_people,
        centre=[short(each) for each in white.centre],
        whitening=[[short(each) for each in row] for row in white.whitening],
        average=moments(white, vectors, people),
        products=moments(white.products, vectors, people),
        power=moments(power, vectors, people),
        cells=cells.tolist(),
        levels=moments(partial(shares, cells, share, quantisation.step), vectors, people),
        noise=short(within(quantisation.values(levels.reshape(-1, levels.shape[2])), _repeated(levels))[0]),
        alike=_alike(white(vectors), people),
    )


def _alike(white: Floats, people: People) -> Alike | None:
    found = alike(white, np.arange(len(white)), people)
    if len(found) < LEAST_PEOPLE:
        return None
    return Alike(mean=short(found.mean()), deviation=short(found.std(ddof=1)), people=len(found))


def _repeated(levels: Numbers) -> People:
    return np.arange(len(levels)).repeat(levels.shape[1])


def read_reference(folder: Path, contract: Contract) -> Reference:
    """Read the reference of the bundle in `folder`.

    Raises:
        InputError: if there is none, it is damaged, or of another contract.

    """
    path = folder / REFERENCE
    try:
        content = read_object(path, AGAIN)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist, so nothing can be compared; {AGAIN}") from error
    found = from_dict(Reference, content, f"{path}: ", AGAIN)
    if (found.numbers, found.quantisation) != (contract.numbers, contract.quantisation):
        raise InputError(f"{path} is of another contract: {found.numbers} numbers, {found.quantisation}; {AGAIN}")
    return found
