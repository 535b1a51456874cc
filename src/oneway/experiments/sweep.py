"""Settings to be trained and audited: each is made once, and kept where every experiment of a store finds it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from multiprocessing import active_children, get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch

from oneway import runs
from oneway.auditing.audit import audit
from oneway.auditing.config import AuditConfig
from oneway.data.packed import Pack
from oneway.models.identification import OWN, open_verifier
from oneway.progress import track
from oneway.protection.config import ProtectConfig
from oneway.protection.run import Run
from oneway.protection.train import protect
from oneway.runtime import RuntimeConfig
from oneway.workers import serve


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
        """Name the run by all that decides it, so that equal runs are one."""
        config = runs.to_dict(replace(self.protect, runtime=RuntimeConfig()))
        what = self.protect.defence.name if self.protect.active and self.protect.defence else "game"
        kind = what if self.protect.protects else "none"
        return f"{self.protect.network.cut}-{kind}-{runs.digest([config, _hash(self.data)])}"

    @property
    def report(self) -> str:
        """Name the audit by all that decides it."""
        config = runs.to_dict(replace(self.audit, runtime=RuntimeConfig()))
        beside = None if self.control is None else self.control.report
        return f"{self.run}-{runs.digest([config, _hash(self.attacked), beside])}"


@dataclass(frozen=True, kw_only=True)
class Store:
    """A folder of runs and audits, all judged by one verifier.

    Attributes:
        path: the folder.
        pack: the data.
        verifier: as `open_verifier` takes it; the pack's own by default.
        images: keep pictures of test people in the audits.

    """

    path: Path
    pack: Path
    verifier: Path | None = None
    images: bool = False

    def run(self, setting: Setting) -> Path:
        """Say where the run of a setting is."""
        return self.path / "runs" / setting.run

    def report(self, setting: Setting) -> Path:
        """Say where the audit of a setting is."""
        return self.path / "audits" / setting.report

    def results(self, setting: Setting) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the results of a setting's run and of its audit."""
        return runs.read_json(self.run(setting) / runs.RESULTS), runs.read_json(self.report(setting) / runs.RESULTS)

    def made(self, setting: Setting) -> bool:
        """Say whether a setting is finished."""
        return all((path / runs.RESULTS).exists() for path in (self.run(setting), self.report(setting)))

    def make(self, settings: Sequence[Setting], *, jobs: int, progress: bool, audits: bool = True) -> None:
        """Train and audit every setting that is not made yet, controls first; what was begun is continued.

        Args:
            settings: those wanted; equal ones are made once.
            jobs: settings at a time, each in a process of its own with its share of the processors, or with a GPU
                of its own where there are several.
            progress: show a bar over the settings, and with one job over the steps of each.
            audits: audit them too; else only train them.

        """
        wanted = list({setting.report: setting for setting in (*_controls(settings, audits), *settings)}.values())
        open_verifier(Pack.open(self.pack), self.verifier, progress=progress)  # before several processes train it
        with track("settings", len(wanted), "settings", enabled=progress) as advance:
            for stage in _stages(wanted):
                for _ in self._each(stage, jobs, progress and jobs == 1, audits):
                    advance(1)

    def _each(self, stage: Sequence[Setting], jobs: int, bars: bool, audits: bool) -> Iterator[None]:
        """Make the settings of a stage, here or in processes, and say when each is done."""
        if jobs == 1:
            for setting in stage:
                _make(self, setting, bars, audits)
                yield
            return
        context = get_context("spawn")
        devices = context.SimpleQueue()
        for device in islice(cycle(gpus()), jobs):
            devices.put(device)
        threads = max(1, torch.get_num_threads() // jobs)
        pool = ProcessPoolExecutor(jobs, context, _enter, (threads, devices))
        try:
            for made in as_completed([pool.submit(_make, self, setting, bars, audits) for setting in stage]):
                yield made.result()
        except BaseException:
            for worker in active_children():  # what they were at is kept in checkpoints
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


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


def _own(pack: Path) -> Path | None:
    """Give the pack's own verifier, so that a pack joined to it is judged by no other."""
    return pack / OWN if (pack / OWN).is_file() else None


def gpus() -> list[str]:
    """Name the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; "" if there are none."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",")]
    return [str(number) for number in range(torch.cuda.device_count())] or [""]


def _enter(threads: int, devices: SimpleQueue[str]) -> None:
    """Take a share of the processors, and the next GPU."""
    serve()
    os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()
    torch.set_num_threads(threads)


@cache
def _hash(path: Path) -> str:
    return Pack.open(path).hash


def _make(store: Store, setting: Setting, bars: bool, audits: bool) -> None:
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
            verifier=open_verifier(attacked, store.verifier or _own(store.pack)),
            images=store.images,
            resume=True,
            progress=bars,
        )
