"""Further processes that take the steps of an audit beside the first one.

Each does what the first does: it takes whatever step no other is at. What is finished lies in the audit's folder, so
they say nothing to each other, and one that ends, however it ends, leaves its step to the others.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context

import torch

from oneway.auditing.context import AuditContext
from oneway.auditing.foretell import foretell
from oneway.auditing.measures import decisions_panel, measure, panel_to_train
from oneway.auditing.opening import Work
from oneway.errors import InputError
from oneway.progress import note
from oneway.report.figure import duration
from oneway.runtime import launch
from oneway.workers import serve

WORTHWHILE = 300
"""Seconds of an audit from which it is shared out by default: each process takes some to begin."""
MOST = 4
"""Processes by default at most: each holds the judges and what attackers train with, one to two gigabytes."""


def planned(work: Work, context: AuditContext, jobs: int | None) -> int:
    """Say how many processes take the steps of an audit, and how long that will take, where anything is said.

    Args:
        work: what the audit is opened from; where it cannot be sent to another process there is one by default.
        context: the audit.
        jobs: how many were asked for; none for as many as are worth while.

    """
    threads = torch.get_num_threads()
    on_cpu = context.steps.fabric.device.type == "cpu"
    most = jobs if jobs is not None else min(MOST, threads) if on_cpu else 1
    if not context.steps.progress and jobs is not None:
        return jobs
    drawing = {f"inversion {label}": attacker for label, attacker in panel_to_train(context).items()}
    drawing |= {f"decisions {label}": attacker for label, attacker in decisions_panel(context).items()}
    left = {name: attacker for name, attacker in drawing.items() if not context.steps.taken(name)}
    with _threads(max(1, threads // most)):
        seconds = foretell(context, left)
    if jobs is None and (seconds < WORTHWHILE or not _can_be_sent(work)):
        most = 1
    if context.steps.progress:
        together = f", {most} at a time" if most > 1 else ""
        note(
            f"{len(left)} attackers to fit and to judge{together}: at most about {duration(seconds / most)} here, less "
            f"where they converge, and some minutes for what is solved and linked; {context.steps.home} keeps what is "
            "finished (--resume goes on)"
        )
    return most


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let torch use so many threads in a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def side_by_side(work: Work, jobs: int) -> Iterator[None]:
    """Let further processes take steps of an audit as long as the block lasts, each with its share of the processors.

    Args:
        work: the audit.
        jobs: how many processes there are, with this one.

    Raises:
        InputError: if a module or a judge cannot be sent to another process.

    """
    if jobs == 1:
        yield
        return
    share = max(1, torch.get_num_threads() // jobs)
    # Spawned, since a fork of a process with running threads may hang.
    context = get_context("spawn")
    sent = _pickled(work, jobs)
    processes = [context.Process(target=_join, args=(sent, share), daemon=True) for _ in range(jobs - 1)]
    try:
        for process in processes:
            process.start()
        with _threads(share):
            yield
    finally:
        for process in processes:
            process.terminate()  # what it is at is no longer wanted, or kept in a checkpoint
            process.join()


def _can_be_sent(work: Work) -> bool:
    try:
        _pickled(work, 1)
    except InputError:
        return False
    return True


def _pickled(work: Work, jobs: int) -> bytes:
    try:
        return pickle.dumps(work)
    except Exception as error:  # whatever a module of the user's own raises
        raise InputError(
            f"jobs is {jobs}, and what is audited cannot be sent to other processes ({error}); leave it at 1"
        ) from error


def _join(sent: bytes, threads: int) -> None:
    """Work on an audit in a process of its own, in silence: what goes wrong here goes wrong, and is said, there too."""
    serve()
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # of the system's numbers, since one may be closed
        os.dup2(silence, stream)
    torch.set_num_threads(threads)
    work: Work = pickle.loads(sent)
    measure(work.open(launch(work.config.runtime), progress=False))
