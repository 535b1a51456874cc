"""What the two sides of a bundle have agreed: the picture, the noise, the bytes that are sent, what is answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from oneway.config import AsTuple, Count, Names, Positive, Share, Whole, checked, from_dict
from oneway.data.picture import Fit
from oneway.errors import InputError
from oneway.shipping.attacker import Attacker
from oneway.storage.inputs import file_hash, read_object

FORMAT: Final = 1
"""Of the contract; one of another number is refused."""
CONTRACT, DEVICE, SERVER, CLIENT, PARITY = "contract.json", "device.onnx", "server.onnx", "client.py", "parity.json"
BROWSER, CARD, PAGE, MATERIALS, ATTACKER = "client.mjs", "card.json", "card.html", "sbom.json", "attacker.onnx"
AGAIN = "make the bundle again with `oneway export`"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
Point = Annotated[tuple[float, float], AsTuple]
Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int8]
Floats = NDArray[np.float32]


@checked
@dataclass(frozen=True, kw_only=True)
class Picture:
    """What device.onnx takes: `picture`, uint8 (n, size, size, 3), red, green and blue in 0..255.

    Attributes:
        size: pixels a side.
        crop: in words, what of a photograph the pictures of the pack show.
        fit: how a photograph becomes a square before it is scaled; none where the pictures were cut out otherwise, so
            that a device must cut them so too: by its `points`, if there are any.
        points: where the five points of a face lie in it (eyes, nose, corners of the mouth), as fractions (x, y) of
            its side; none where they lie elsewhere in every picture, or the pack has none.

    """

    size: Count
    crop: str
    fit: Fit | None = None
    points: Annotated[tuple[Point, Point, Point, Point, Point], AsTuple] | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class Training:
    """What the encoder was trained on.

    Attributes:
        pack: its name.
        hash: of its pictures and labels.
        pictures: of the people it was trained on.
        people: how many at most; each picture whose person is unknown counts as one.

    """

    pack: str
    hash: str
    pictures: Count
    people: Count


@checked
@dataclass(frozen=True, kw_only=True)
class Noise:
    """What the device adds to every number, after device.onnx and before the numbers are rounded.

    Attributes:
        distribution: of each number, independent of all others, with mean 0.
        deviation: its standard deviation.
        drawn: from what. A seed, or noise that is used twice, can be taken off by who knows it.

    """

    distribution: Literal["gaussian"] = "gaussian"
    deviation: Positive
    drawn: Literal["from the operating system's entropy, new for each answer"] = (
        "from the operating system's entropy, new for each answer"
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """How numbers, noise included, become levels: round(number / step), halves to even, held to -top..top.

    Attributes:
        bits: of a level. Of 8, each byte is one, in two's complement. Of 4, each byte is two: the first in its lower
            half, and the upper half of the last byte is 0 where their number is odd.
        clip: the largest number that is told apart from larger ones, fixed on the people whom the encoder was
            trained on: the one of least squared error.

    """

    bits: Literal[4, 8]
    clip: Positive

    @property
    def top(self) -> int:
        """The largest level; the smallest is its negative."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def step(self) -> float:
        """What one level is worth."""
        return self.clip / self.top

    def levels(self, numbers: NDArray[np.floating]) -> Numbers:
        """Round numbers (...) to levels (...)."""
        found = np.rint(numbers.astype(np.float32) / np.float32(self.step))
        levels: Numbers = np.clip(found, -self.top, self.top).astype(np.int8)
        return levels

    def values(self, levels: Numbers) -> Floats:
        """Give the numbers (...) that levels (...) stand for."""
        return levels.astype(np.float32) * np.float32(self.step)

    def pack(self, levels: Numbers) -> Bytes:
        """Make the bytes (n, k) that are sent of levels (n, numbers)."""
        if self.bits == 8:
            return np.ascontiguousarray(levels).view(np.uint8)
        halves = np.pad(levels.view(np.uint8) & 15, [(0, 0), (0, levels.shape[1] % 2)])
        packed: Bytes = halves[:, ::2] | (halves[:, 1::2] << 4)
        return packed

    def unpack(self, sent: Bytes, numbers: int) -> Numbers:
        """Read levels (n, numbers) from bytes (n, k), as `pack` made them; levels may lie below -top."""
        if self.bits == 8:
            return sent.view(np.int8)
        halves = np.stack([sent & 15, sent >> 4], axis=-1).reshape(len(sent), -1)[:, :numbers]
        return ((halves ^ 8).astype(np.int16) - 8).astype(np.int8)


@checked
@dataclass(frozen=True, kw_only=True)
class Column:
    """One answer of server.onnx: a column of its `decisions`, and some of its `values`.

    Attributes:
        name: of the attribute.
        kind: `binary`: the decision is 1 or 0, the value a probability. `classes`: the decision is the place of a
            class, the values their probabilities. `number`: decision and value are that number.
        first: the first of its values.
        classes: their names, in the order of the values; none unless it is of `classes`.
        threshold: the value above which a binary decision is 1. The threshold that was calibrated on validation
            people is part of the graph, so that it is 0.5 here; none unless it is `binary`.

    """

    name: str
    kind: Literal["binary", "classes", "number"]
    first: Whole
    classes: Names = ()
    threshold: Share | None = None

    def __post_init__(self) -> None:
        if (self.kind == "classes") != (len(self.classes) > 1) or (self.kind == "binary") != bool(self.threshold):
            raise InputError(f"kind of {self.name} is {self.kind}, and its classes and threshold are of another")

    @property
    def num_values(self) -> int:
        """How many values it has."""
        return max(1, len(self.classes))

    def answer(self, values: Floats, decision: float) -> dict[str, object]:
        """Give one picture's answer in JSON, of all its values and this column's decision."""
        own = [float(value) for value in values[self.first : self.first + self.num_values]]
        if self.kind == "binary":
            return {"decision": bool(decision), "probability": own[0]}
        if self.kind == "classes":
            probabilities = dict(zip(self.classes, own, strict=True))
            return {"decision": self.classes[int(decision)], "probabilities": probabilities}
        return {"decision": float(decision)}


@checked
@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a device sends and a server answers. The sha256 of contract.json names the bundle.

    A message is the bytes of one picture's levels, `num_bytes` of them; a batch is messages one after the other.

    Attributes:
        format: of this file.
        oneway: the version that wrote it.
        training: what the encoder was trained on.
        picture: what the device takes.
        numbers: that it sends of each picture: `vector` of device.onnx, float32 (n, numbers), is these without noise.
        noise: what is added to them; none for an encoder that adds none.
        quantisation: how they become bytes: `levels` of server.onnx, int8 (n, numbers), is these.
        columns: what is answered: `values` of server.onnx, float32 (n, all values), and `decisions`, float32
            (n, columns).
        attacker: who draws pictures of what is sent, as attacker.onnx does; none where there is no such file.
        files: the sha256 of every file of the bundle but this one, and what is said of the bundle afterwards: the
            card and signatures.

    """

    format: Literal[1] = FORMAT
    oneway: str
    training: Training
    picture: Picture
    numbers: Count
    noise: Noise | None
    quantisation: Quantisation
    columns: Annotated[tuple[Column, ...], Field(min_length=1), AsTuple]
    attacker: Attacker | None = None
    files: dict[Name, Sha256]

    def __post_init__(self) -> None:
        places = [place for each in self.columns for place in range(each.first, each.first + each.num_values)]
        names = [each.name for each in self.columns]
        if places != list(range(len(places))) or len(set(names)) < len(names):
            raise InputError("columns must each have another name, and their values stand one after the other")

    @property
    def num_bytes(self) -> int:
        """How long one message is."""
        return -(-self.numbers * self.quantisation.bits // 8)

    @property
    def num_values(self) -> int:
        """How many values server.onnx gives for one picture."""
        return sum(each.num_values for each in self.columns)

    def read(self, messages: bytes) -> Numbers:
        """Read one message or more: levels (n, numbers).

        Raises:
            InputError: if they are not so many bytes, or hold a level that no device sends.

        """
        if not messages or len(messages) % self.num_bytes:
            raise InputError(
                f"a message is {self.num_bytes} bytes, {self.numbers} numbers of {self.quantisation.bits} bits each, "
                f"and a batch is messages one after the other; these are {len(messages)} bytes"
            )
        rows = np.frombuffer(messages, np.uint8).reshape(-1, self.num_bytes)
        levels = self.quantisation.unpack(rows, self.numbers)
        odd = self.quantisation.bits == 4 and self.numbers % 2 == 1
        if (levels < -self.quantisation.top).any() or (odd and (rows[:, -1] >> 4).any()):
            raise InputError(
                f"messages hold levels out of {-self.quantisation.top}..{self.quantisation.top}, or bits that say "
                "nothing, as no device of this bundle sends; encode as its client.py does"
            )
        return levels

    def answers(self, values: Floats, decisions: Floats) -> list[dict[str, dict[str, object]]]:
        """Give the answer to every message in JSON, of what server.onnx says: by column.

        Args:
            values: (n, num_values).
            decisions: (n, columns).

        """
        return [
            {each.name: each.answer(own, decided) for each, decided in zip(self.columns, row, strict=True)}
            for own, row in zip(values, decisions, strict=True)
        ]


def read_contract(folder: Path) -> Contract:
    """Read the contract of the bundle in `folder`; that files are as it says, `verify` finds.

    Raises:
        InputError: if there is none, it is damaged, or a newer version wrote it.

    """
    path = folder / CONTRACT
    if not path.is_file():
        raise InputError(f"{folder} is no bundle: {path} does not exist; give the --out of `oneway export`")
    content = read_object(path, AGAIN)
    written = content.get("format")
    if isinstance(written, int) and written > FORMAT:
        raise InputError(
            f"{path} is of format {written}, of oneway {content.get('oneway')}, and this version reads {FORMAT}; "
            "install that version"
        )
    return from_dict(Contract, content, f"{path}: ", AGAIN)


def is_bundle(folder: Path) -> bool:
    """Say whether a folder is a bundle, whole or not."""
    return (folder / CONTRACT).exists()


def bundle_hash(folder: Path) -> str:
    """Name the bundle in `folder`: the sha256 of its contract, which names all that decides what is sent."""
    return file_hash(folder / CONTRACT)
