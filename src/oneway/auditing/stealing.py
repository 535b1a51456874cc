"""What an attacker has of a victim: its features, asked for once and kept, or asked for again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from oneway.attacks.access import Access, BlackBox, FeatureDump, Renoised, WhiteBox
from oneway.attacks.pairs import Pairs
from oneway.auditing.victim import Victim
from oneway.data.batches import load
from oneway.data.finite import check_finite
from oneway.data.packed import Pack, Part, Public
from oneway.progress import track
from oneway.storage.atomic import new_array, whole

RECORD_BYTES = 8 * 2**30
"""Features of the public pictures that take more than this on disk are asked for again instead of kept."""
CLEAN = "clean"
"""Where features before the noise are kept."""


@dataclass(frozen=True, kw_only=True)
class Stolen:
    """What the attackers of one audit have.

    Attributes:
        access: the features of the public pictures to train on, and one answer for every other picture: what was
            stolen.
        fitted_on: the features of the public pictures that a solved attacker learns from: the average of several
            answers for each where the encoder adds noise, else what `access` gives.
        noisy: whether the encoder answers differently each time.
        white: the encoder itself, if it can be had.
        averaged: the same with every picture sent several times and the answers averaged; only where `noisy`.

    """

    access: Access
    fitted_on: Access
    noisy: bool
    white: WhiteBox | None
    averaged: Callable[[], Access] | None

    def pairs(self, public: Public, seed: int) -> Pairs:
        """Give what a solved attacker learns from."""
        return Pairs(access=self.access, fitted_on=self.fitted_on, public=public, noisy=self.noisy, seed=seed)

    def gallery(self) -> Access:
        """Give the best that a thief can have of a photograph: averages of several answers, where they differ."""
        return self.access if self.averaged is None else self.averaged()


def steal(victim: Victim, fabric: Fabric, folder: Path, *, draws: int, seed: int, progress: bool) -> Stolen:
    """Ask the victim for its features, and keep them in `folder`.

    A deterministic encoder is asked once for each picture, and its mirror image where it is public; every attack
    reads what it said. Of one that adds noise, validation and test people have one answer, as a thief would, and
    attackers see new answers each time, or the average of several: as many pictures as a thief
    has may be sent as often as one likes. What it draws for a file of answers depends on the seed and the file alone.
    """
    if victim.encoder is None:
        dump = FeatureDump(victim.stored, fabric.device)
        return Stolen(access=dump, fitted_on=dump, noisy=False, white=None, averaged=None)
    pack = victim.pack
    asked = BlackBox(victim.encoder, fabric, pack.size)
    sample = np.arange(min(8, len(pack.public)))
    with asked.seeded(seed, "twice"):
        first, second = asked.features(pack.public, sample), asked.features(pack.public, sample)
    noisy = differs(first, second)
    white = WhiteBox(victim.encoder, fabric.device) if victim.white else None
    size = 4 * int(np.prod(asked.shape)) * 2 * len(pack.public)
    live: Access | None = asked if noisy or size > RECORD_BYTES else None
    if noisy and asked.noise_last is not None and size <= RECORD_BYTES:
        parts: tuple[str, ...] = ("public", "public mirrored")
        ask, clean = asked.clean, folder / CLEAN
        before = _record(asked, pack, clean, live=None, seed=seed, progress=progress, parts=parts, ask=ask)
        live = Renoised(asked.noise_last, before)
    access = _record(asked, pack, folder / "single", live=live, seed=seed, progress=progress)
    if not noisy:
        return Stolen(access=access, fitted_on=access, noisy=False, white=white, averaged=None)
    several = BlackBox(victim.encoder, fabric, pack.size, draws=draws)

    def averaged() -> Access:
        live = several if size > RECORD_BYTES else None
        return _record(several, pack, folder / "averaged", live=live, seed=seed, progress=progress)

    fitted_on: Access = several
    if size <= RECORD_BYTES:
        parts = ("public",)
        fitted_on = _record(several, pack, folder / "averaged", live=None, seed=seed, progress=progress, parts=parts)
    return Stolen(access=access, fitted_on=fitted_on, noisy=True, white=white, averaged=averaged)


def differs(first: Tensor, second: Tensor) -> bool:
    """Say whether two answers for the same pictures, (n, ...), are further apart than float32 rounds.

    Each number is held to its own deviation and size, so that one of a large scale hides no noise on the others.
    """
    allowed = 1e-3 * first.std(dim=0, correction=0) + 1e-5 * first.abs().amax(dim=0) + 1e-6 * first.abs().max()
    return bool(((first - second).abs() > allowed).any())


def _record(
    asked: BlackBox,
    pack: Pack,
    folder: Path,
    *,
    live: Access | None,
    seed: int,
    progress: bool,
    parts: tuple[str, ...] = ("validation", "test", "public", "public mirrored"),
    ask: Callable[[Tensor], Tensor] | None = None,
) -> FeatureDump:
    """Keep what the encoder says of some parts, by `ask` if given, except of the public ones if it is asked `live`."""
    ask = ask or asked
    all_parts: list[tuple[str, Part, bool]] = [
        ("validation", pack.validation, False),
        ("test", pack.test, False),
        ("public", pack.public, False),
        ("public mirrored", pack.public, True),
    ]
    wanted = [each for each in all_parts if each[0] in parts and (live is None or not each[0].startswith("public"))]
    stored: dict[str, NDArray[np.generic]] = {}
    paths = {name: folder / f"{name.replace(' ', '-')}.npy" for name, _, _ in wanted}
    to_ask = sum(len(part) for name, part, _ in wanted if not paths[name].exists())
    with track("ask the encoder", to_ask, enabled=progress and to_ask > 0) as advance:
        for name, part, mirrored in wanted:
            path = paths[name]
            if not path.exists():
                with whole(path) as partial, asked.seeded(seed, folder.name, name):
                    kept = new_array(partial, np.float32, (len(part), *asked.shape))
                    for start in range(0, len(part), 256):
                        index = np.arange(start, min(start + 256, len(part)))
                        pictures = load(part, index, np.full(len(index), mirrored), asked.device)
                        kept[index] = ask(pictures).cpu().numpy()
                        advance(len(index))
                    check_finite(kept, part, "the encoder's features")
                    kept.flush()
            stored[name] = np.load(path, mmap_mode="r")
    flipped = {"public": stored.pop("public mirrored")} if "public mirrored" in stored else None
    return FeatureDump(stored, asked.device, flipped, live=live)
