"""What an audit is opened from, in the process that was asked for it or in one that works beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext
from oneway.auditing.stealing import steal
from oneway.auditing.steps import Steps
from oneway.auditing.surrogates import Surrogates, open_surrogates
from oneway.auditing.victim import Victim
from oneway.data.packed import Pack
from oneway.judges.judge import Judge
from oneway.judges.placed import placed
from oneway.judges.verifier import Verifier
from oneway.models.perceptual import Distance, open_perceptual

FEATURES = "features"
"""Where stolen features lie in an audit's folder."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an audit is opened from, in whichever process.

    Attributes:
        victim: what is attacked.
        verifiers: who judge, each with a name of its own.
        config: the attacks and their budgets.
        folder: the audit's.
        images: whether pictures of people are asked for.
        other: another encoder for the same people, if one was given.

    """

    victim: Victim
    verifiers: tuple[Verifier, ...]
    config: AuditConfig
    folder: Path
    images: bool
    other: Victim | None

    def open(self, fabric: Fabric, surrogates: Surrogates | None = None, *, progress: bool) -> AuditContext:
        """Ask the victim for its features, if that was not done, and give what every step has at hand.

        Args:
            fabric: where it runs.
            surrogates: the judges that attackers train with, if they are open.
            progress: show a bar.

        Raises:
            InputError: if a judge's features say nothing whoever is shown.

        """
        pack, config = self.victim.pack, self.config
        surrogates = surrogates or open_surrogates(self.verifiers, config, pack, fabric.device)
        steps = Steps(
            self.folder,
            fabric,
            checkpoint_seconds=config.runtime.checkpoint_seconds,
            progress=progress and fabric.is_global_zero,
        )
        distance = None if config.perceptual is None else Distance(open_perceptual(config.perceptual), fabric)
        verifiers = [placed(each, pack, fabric.device) for each in self.verifiers]
        judges = open_judges(pack, verifiers, surrogates, progress=progress, distance=distance)
        stolen = steal(
            self.victim, fabric, self.folder / FEATURES, draws=config.draws, seed=config.seed, progress=progress
        )
        return AuditContext(
            victim=self.victim,
            stolen=stolen,
            judges=judges,
            surrogates=surrogates,
            config=config,
            steps=steps,
            images=self.images,
            other=self.other,
        )


def open_judges(
    pack: Pack,
    verifiers: Sequence[Verifier],
    surrogates: Surrogates,
    *,
    progress: bool,
    distance: Distance | None = None,
) -> tuple[Judge, ...]:
    """Make the judges of an audit, at least one, which may have no verifier."""
    return tuple(
        Judge(
            pack.test,
            pack.validation,
            each,
            progress=progress,
            first=place == 0,
            trained_with=each is not None and each.name in surrogates.networks,
            alone=len(verifiers) == 1,
            distance=distance if place == 0 else None,
        )
        for place, each in enumerate(verifiers or (None,))
    )
