"""Settings to be trained and audited: each is made once, and kept where every experiment of a store finds it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

from oneway.auditing.audit import audit
from oneway.auditing.config import AuditConfig
from oneway.auditing.guards import check_distinct, check_people
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.embedding import is_embedding, with_file
from oneway.judges.identification import OWN, open_verifiers
from oneway.judges.named import is_named
from oneway.models.generator import open_generator
from oneway.models.perceptual import VGG, open_perceptual
from oneway.progress import track
from oneway.protection.config import ProtectConfig
from oneway.protection.run import Run, check
from oneway.protection.train import protect
from oneway.report.reports import AuditReport, RunReport, read_report
from oneway.report.values import SCHEMA
from oneway.storage import runs
from oneway.storage.atomic import check_place, whole
from oneway.sweep.executor import Executor
from oneway.sweep.gather import Gathering, scratch

Verifiers = Path | str | Sequence[Path | str] | None
"""One judge, several, or the pack's own."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One encoder and its attackers.

    Attributes:
        protect: how the encoder is trained.
        audit: how it is attacked.
        data: the pack that it is trained on.
        attacked: the pack whose public people the attackers have, the same or one that `data.join` made of it.
        control: the setting of its unprotected twin, which is made first, if there is a leakage to be given.

    """

    protect: ProtectConfig
    audit: AuditConfig
    data: Path
    attacked: Path
    control: Setting | None = None

    @property
    def run(self) -> str:
        """Name the run by all that decides it, files by what they hold, so that equal runs are one."""
        config = _deciding(self.protect)
        alone = "game" if self.protect.game.played else "recipe"
        what = self.protect.defence.name if self.protect.active and self.protect.defence else alone
        kind = what if self.protect.protects else "none"
        return f"{self.protect.network.cut}-{kind}-{runs.digest([config, _hash(self.data)])}"

    @property
    def report(self) -> str:
        """Name the audit by all that decides it but the store's judge, and by the layout of its results."""
        config = _deciding(self.audit)
        beside = None if self.control is None else self.control.report
        return f"{self.run}-{runs.digest([SCHEMA, config, _hash(self.attacked), beside])}"


@dataclass(frozen=True, kw_only=True)
class Store:
    """A folder of runs and audits, all judged by the same verifiers.

    Attributes:
        path: the folder.
        pack: the data.
        verifiers: as `open_verifiers` takes them; the pack's own by default.
        images: keep pictures of test people in the audits.

    """

    path: Path
    pack: Path
    verifiers: tuple[Path, ...] = ()
    images: bool = False

    def run(self, setting: Setting) -> Path:
        """Say where the run of a setting is."""
        return self.path / "runs" / setting.run

    def report(self, setting: Setting) -> Path:
        """Say where the audit of a setting is."""
        return self.path / "audits" / setting.report

    def trained(self, setting: Setting) -> RunReport:
        """Read what a setting's run is good for."""
        return read_report(self.run(setting), RunReport, "oneway protect PACK --out NEW")

    def audited(self, setting: Setting) -> AuditReport:
        """Read what the audit of a setting found."""
        return read_report(self.report(setting), AuditReport, "oneway audit RUN --out NEW")

    def made(self, setting: Setting) -> bool:
        """Say whether a setting is finished."""
        return _finished(self._folders(setting, audits=True))

    def take(self, other: Path, settings: Sequence[Setting]) -> int:
        """Copy the finished runs of some settings from another store, so that they are audited without being trained.

        Returns:
            how many runs of these settings it has not.

        Raises:
            InputError: if that has none of them, or one cannot be copied.

        """
        every = {each.run: each for each in (*_controls(settings, audits=True), *settings)}.values()
        there = replace(self, path=other)
        found = [each for each in every if _finished([there.run(each)])]
        if not found:
            raise InputError(
                f"{other} holds no finished run of these settings; give a benchmark of this pack with these defences, "
                "made with the same files of weights"
            )
        for each in found:
            kept, into = there.run(each), self.run(each)
            if not _finished([into]):
                try:
                    shutil.copytree(kept, into, ignore=shutil.ignore_patterns(runs.RESULTS), dirs_exist_ok=True)
                    finished = (kept / runs.RESULTS).read_bytes()
                except OSError as error:  # of which shutil.Error is one
                    raise InputError(f"cannot copy {kept} to {into}: {error}") from error
                with whole(into / runs.RESULTS) as partial:  # last: it says that a run is finished
                    partial.write_bytes(finished)
        return len(every) - len(found)

    def check(self, settings: Sequence[Setting], *, audits: bool = True) -> None:
        """Refuse settings that cannot be made, before any is begun; nothing is left of it.

        Args:
            settings: those wanted.
            audits: whether they are to be audited.

        Raises:
            InputError: for a folder that cannot be written, people who cannot be audited, a network, a cut, a task, a
                perceptual network, a generator or a verifier that cannot be used.

        """
        check_place(self.path / runs.RESULTS)
        for attacked in {each.attacked for each in settings} if audits else ():
            check_people(Pack.open(attacked))
        for setting in {each.run: each for each in (*_controls(settings, audits=True), *settings)}.values():
            check(Pack.open(setting.data), setting.protect)
        for network in {each.audit.perceptual for each in settings} - {None, VGG}:
            open_perceptual(str(network))
        for generator in {each.audit.generator for each in settings} - {None}:
            open_generator(str(generator), Pack.open(self.pack).size)
        if self.verifiers:
            check_distinct(open_verifiers(Pack.open(self.pack), self.verifiers), Pack.open(self.pack))

    def make(self, settings: Sequence[Setting], *, executor: Executor, progress: bool, audits: bool = True) -> None:
        """Train and audit every setting that is not made yet, controls first; what was begun is continued.

        Args:
            settings: those wanted; equal ones are made once.
            executor: who makes them.
            progress: show a bar over the settings, and over the steps of each where they are made here in turn.
            audits: audit them too; else only train them.

        """
        every = list({setting.report: setting for setting in (*_controls(settings, audits), *settings)}.values())
        wanted = [setting for setting in every if not _finished(self._folders(setting, audits))]
        open_verifiers(Pack.open(self.pack), self.verifiers, progress=progress)  # trained once, here
        judged = replace(self, verifiers=self.verifiers or _own(self.pack))  # no node trains another
        gathering = None if executor.gather is None else Gathering(f"{executor.gather.rstrip('/')}/{judged.kind}")
        if gathering is None:
            work = partial(_make, judged, audits, progress and executor.alone)
        else:
            work = partial(_make_apart, judged, audits, gathering)
        before = len(every) - len(wanted)
        with track("settings", len(every), "settings", enabled=progress, before=before) as advance:
            for stage in _stages(wanted):
                for setting in executor.each(work, stage):
                    if gathering is not None:
                        for folder in self._folders(setting, audits):
                            gathering.pull(str(folder.relative_to(self.path)), folder)
                    for folder in self._folders(setting, audits):
                        if not (folder / runs.RESULTS).exists():
                            raise InputError(
                                f"{folder} was not made here; the pack and the files that settings name must be the "
                                "same and lie at the same path on every node, and without executor.gather so must the "
                                "results"
                            )
                    advance(1)

    @property
    def kind(self) -> str:
        """Name all that decides results beside the settings, so that sweeps that differ in it share no place."""
        judges = open_verifiers(Pack.open(self.pack), self.verifiers) if self.verifiers else []
        return runs.digest([[judge.fingerprint for judge in judges], self.images, version("oneway")])

    def _folders(self, setting: Setting, audits: bool) -> list[Path]:
        """Say where a setting is kept: its run, and its audit if it has one."""
        return [self.run(setting), self.report(setting)] if audits else [self.run(setting)]


def _finished(folders: Sequence[Path]) -> bool:
    return all((folder / runs.RESULTS).exists() for folder in folders)


def _controls(settings: Sequence[Setting], audits: bool) -> list[Setting]:
    return [setting.control for setting in settings if setting.control is not None] if audits else []


def _stages(settings: Sequence[Setting]) -> list[list[Setting]]:
    """Divide settings so that no two of a stage share a run or need one another: each waits for those before it."""
    stages: list[list[Setting]] = []
    for setting in settings:
        needs = {setting.run} | ({setting.control.report} if setting.control is not None else set())
        after = [
            place
            for place, stage in enumerate(stages)
            if any(other.run in needs or other.report in needs for other in stage)
        ]
        place = after[-1] + 1 if after else 0
        if place == len(stages):
            stages.append([])
        stages[place].append(setting)
    return stages


def absolute(verifier: Verifiers) -> tuple[Path, ...]:
    """Give the paths of one or several verifiers so that they mean the same in every process."""
    given = [verifier] if isinstance(verifier, Path | str) else verifier or []
    return tuple(_absolute(Path(path)) for path in given)


def _absolute(path: Path) -> Path:
    if is_named(path):  # by another package, the same everywhere
        return path
    return Path(with_file(str(path), Path.absolute)) if is_embedding(path) else path.absolute()


def _own(pack: Path) -> tuple[Path, ...]:
    """Give the pack's own verifier, so that a pack joined to it is judged by no other."""
    return (pack / OWN,) if (pack / OWN).is_file() else ()


def _deciding(config: ProtectConfig | AuditConfig) -> dict[str, object]:
    """Give what decides the outcome: everything but where it is computed, and files by what they hold, not their path.

    A path would find what was made with another file that lay there; only folders have no other name. Of an audit that
    keeps no attacker, or has no generator, not that either, nor of a game that measures its perceptual distance in no
    units of its own, so that what was made before has its name still.
    """
    later = ("keep", "generator") if isinstance(config, AuditConfig) else ()
    idle = {"runtime", *(name for name in later if not getattr(config, name))}
    content = {name: value for name, value in runs.named(config).items() if name not in idle}
    if isinstance(game := content.get("game"), dict) and not game["perceptual_relative"]:
        del game["perceptual_relative"]
    renewed = getattr(config, "renewed", None)
    return content | ({"renewed": renewed} if renewed is not None and Path(renewed).is_dir() else {})


@cache
def _hash(path: Path) -> str:
    return Pack.open(path).hash


def _make(store: Store, audits: bool, bars: bool, setting: Setting) -> None:
    """Train and audit one setting, unless that is done."""
    run, report = store.run(setting), store.report(setting)
    if not (run / runs.RESULTS).exists():
        protect(Pack.open(setting.data), run, setting.protect, resume=True, progress=bars)
    if audits and not (report / runs.RESULTS).exists():
        attacked = Pack.open(setting.attacked)
        audit(
            Run.open(run, attacked),
            control=None if setting.control is None else store.report(setting.control),
            out=report,
            config=setting.audit,
            verifier=open_verifiers(attacked, store.verifiers or _own(store.pack)),
            images=store.images,
            resume=True,
            progress=bars,
        )


def _make_apart(store: Store, audits: bool, gathering: Gathering, setting: Setting) -> None:
    """Make a setting on a node's own disk, with what others left at the gathering, and leave it there too."""
    here = replace(store, path=scratch(gathering))
    own = here._folders(setting, audits)
    for folder in own if setting.control is None else [here.report(setting.control), *own]:
        gathering.pull(str(folder.relative_to(here.path)), folder)
    _make(here, audits, False, setting)
    for folder in own:
        gathering.push(folder, str(folder.relative_to(here.path)))
