"""Who draws pictures of what a bundle sends, as its contract says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from oneway.config import Count, Names, checked

Similarity = Annotated[float, Field(ge=-1, le=1)]


@checked
@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a judge sees in what an attacker draws of test people.

    Attributes:
        judge: its name.
        similarity: mean cosine similarity to their pictures.
        floor: the same of who always draws the mean picture.
        recognised: share of the drawings that it recognises, at a false accept rate of 0.001, if it was measured.

    """

    judge: str
    similarity: Similarity
    floor: Similarity
    recognised: Annotated[float, Field(ge=0, le=1)] | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class Attacker:
    """An attacker whom an audit trained from scratch, as attacker.onnx: what its thief would draw of the bytes.

    It takes `levels`, int8 (n, numbers), as server.onnx does, to `picture`, uint8 (n, size, size, 3). It learned from
    numbers that were not rounded. Of an audit it is the one that counts: the strongest of those who did not train with
    the judge that counts. A stronger one may exist.

    Attributes:
        name: as the audit calls it.
        trained_with: names of the judges that it trained with: what these see of it is more than another would.
        pictures: of other people, which it learned from.
        converged: whether it had stopped getting better; else its budget ended it.
        ssim: mean structural similarity of what it draws of test people to their pictures.
        floor: the same of who always draws the mean picture.
        seen: what the judge that counts sees; none where there was no judge.
        results: the sha256 of the results.json of the audit.

    """

    name: str
    trained_with: Names = ()
    pictures: Count
    converged: bool
    ssim: Similarity
    floor: Similarity
    seen: Seen | None = None
    results: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
