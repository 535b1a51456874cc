"""Who makes the settings of a sweep: this process, several of them, or the nodes of a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing import active_children, get_context
from multiprocessing.queues import SimpleQueue
from typing import Any, Literal, TypeVar

from oneway.config import Count, NotNegative, Positive, checked
from oneway.errors import InputError
from oneway.workers import serve

RETRIES = 3
"""How often a setting is begun again whose node or process died."""
GRACE = 3.0
"""Seconds in which the settings that fail together with one may do so, before the others are stopped."""
Item = TypeVar("Item")
Work = Callable[[Item], Any]


@checked
@dataclass(frozen=True, kw_only=True)
class Executor:
    """Who makes the settings of a sweep.

    Attributes:
        kind: `local`: processes of this machine. `ray`: the cluster that RAY_ADDRESS names, or the one running
            here; the pack, the verifiers and other files that settings
            name must lie at the same path on each of its nodes.
        jobs: settings at a time on this machine, each in a process of its own, one for each GPU.
        job_cpus: processors of a Ray cluster that a setting takes.
        job_gpus: GPUs of a Ray cluster, or a share of one, that a setting takes; one by default, if there is any.
        gather: where the nodes of a cluster that share no folder leave what they made, a URL as fsspec takes it, such
            as s3://bucket/sweep; it is brought here.

    """

    kind: Literal["local", "ray"] = "local"
    jobs: Count = 1
    job_cpus: Positive = 1.0
    job_gpus: NotNegative | None = None
    gather: str | None = None

    def __post_init__(self) -> None:
        if self.kind == "ray" and self.jobs > 1:
            raise InputError(f"jobs is for one machine, not {self.jobs} on a Ray cluster; set job_cpus and job_gpus")
        if self.job_gpus is not None and self.job_gpus > 1 and self.job_gpus % 1:
            raise InputError(f"job_gpus must be whole where it is above 1, not {self.job_gpus}")
        if self.kind == "local" and (self.job_cpus, self.job_gpus, self.gather) != (1.0, None, None):
            raise InputError("job_cpus, job_gpus and gather are for a Ray cluster; set executor.kind=ray")

    @property
    def alone(self) -> bool:
        """Say whether this process does the work itself, one setting after the other."""
        return self.kind == "local" and self.jobs == 1

    def each(self, work: Work[Item], items: Sequence[Item]) -> Iterator[Item]:
        """Do the work on every item and give each when it is done; what a failed one raised is raised here.

        Args:
            work: a function that other processes can import.
            items: in any order.

        """
        if self.alone:
            for item in items:
                work(item)
                yield item
        elif self.kind == "local":
            yield from _processes(work, items, self.jobs)
        else:
            yield from self._cluster(work, items)

    def _cluster(self, work: Work[Item], items: Sequence[Item]) -> Iterator[Item]:
        ray = _ray()
        gpus = self.job_gpus
        if gpus is None:
            gpus = min(1.0, ray.cluster_resources().get("GPU", 0.0))
        task = ray.remote(num_cpus=self.job_cpus, num_gpus=gpus, max_retries=RETRIES)(_do)
        pending = {task.remote(work, item): item for item in items}
        try:
            while pending:
                for done in ray.wait(list(pending))[0]:
                    _result(ray, done)
                    yield pending.pop(done)
        except BaseException:
            # Cancelling one just as it ends aborts this process (Ray's check "Tried to complete task that was not
            # pending"), and what one setting raised the others often raise with it.
            for left in ray.wait(list(pending), num_returns=len(pending), timeout=GRACE)[1]:
                ray.cancel(left, force=True)
            raise


HERE = Executor()
"""This process, one setting after the other."""


def _processes(work: Work[Item], items: Sequence[Item], jobs: int) -> Iterator[Item]:
    import torch

    context = get_context("spawn")
    devices = context.SimpleQueue()
    for device in islice(cycle(gpus()), jobs):
        devices.put(device)
    threads = max(1, torch.get_num_threads() // jobs)
    pool = ProcessPoolExecutor(jobs, context, _enter, (threads, devices))
    try:
        futures = {pool.submit(work, item): item for item in items}
        for done in as_completed(futures):
            done.result()
            yield futures[done]
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {jobs} processes died, perhaps for lack of memory; what is finished is kept, add --resume to the "
            "same command to continue, with fewer --jobs"
        ) from error
    except BaseException:
        for worker in active_children():  # what they were at is kept in checkpoints
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def gpus() -> list[str]:
    """Name the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; "" if there are none."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",")]
    return [str(number) for number in range(torch.cuda.device_count())] or [""]


def _enter(threads: int, devices: SimpleQueue[str]) -> None:
    """Take a share of the processors, and the next GPU."""
    serve()  # before what takes seconds to import: its parent may be gone by then
    import torch

    os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()
    torch.set_num_threads(threads)


def _ray() -> Any:
    """Join the cluster; without one, Ray makes one of this machine."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "Ray is not installed; install oneway[ray] as `oneway doctor` says, or leave executor.kind at local"
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told what is trained here
    if not ray.is_initialized():
        try:
            ray.init(logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"the Ray cluster cannot be joined ({error}); check RAY_ADDRESS") from error
    return ray


def _do(work: Work[Item], item: Item) -> None:
    """Run on a node of the cluster; Ray has given this process its processors and its GPU."""
    work(item)


def _result(ray: Any, done: Any) -> None:
    """Raise what the work raised, without the story of the cluster around it."""
    try:
        ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from None
    except ray.exceptions.RayError as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"a setting could not be made on the cluster, also not when it was begun again ({reason}); what is "
            "finished is kept, add --resume to the same command to continue"
        ) from error
