"""A sweep on a Ray cluster: the figures of one process, a node that dies, nodes that share no folder."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oneway
from oneway.report.sweeps import BenchmarkReport
from oneway.storage import runs
from oneway.sweep.benchmark import DefencesConfig, compare_defences
from oneway.sweep.executor import Executor
from oneway.sweep.gather import Gathering, scratch
from oneway.sweep.store import Store

pytestmark = pytest.mark.whole

ray = pytest.importorskip("ray", reason="Ray is not installed")


class Cluster:
    """Two nodes of one processor each, as processes of this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as Nodes

        self.nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.second: Any = None
        self.complete()
        ray.init(address=self.nodes.address, log_to_driver=False)

    def complete(self) -> None:
        if self.second is None:
            self.second = self.nodes.add_node(num_cpus=1)

    def kill_second(self) -> None:
        self.nodes.remove_node(self.second, allow_graceful=False)
        self.second = None

    def stop(self) -> None:
        ray.shutdown()
        self.nodes.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # it is 15, so that a busy machine would starve them
        made = Cluster()
        yield made
        made.stop()


@pytest.fixture
def cluster(nodes: Cluster) -> Cluster:
    nodes.complete()
    return nodes


def figures(report: BenchmarkReport) -> list[dict[str, Any]]:
    return [{name: getattr(row, name) for name in ("strength", "utility", "leakage")} for row in report.rows]


def test_what_the_work_raises_on_a_node_is_raised_here(cluster: Cluster, tmp_path: Path) -> None:
    runs.write_json(tmp_path / "there", {})
    for _ in range(20):  # the one that is there ends just as the other has failed
        with pytest.raises(oneway.InputError, match=f"^{tmp_path / 'missing'} does not exist"):
            list(Executor(kind="ray").each(runs.read_json, [tmp_path / "there", tmp_path / "missing"]))


def test_what_others_are_at_is_stopped_when_one_fails(cluster: Cluster, tmp_path: Path) -> None:
    def linger(path: Path) -> None:
        """Raise where there is nothing; else write the process's number and stay."""
        runs.read_json(path)
        (path.parent / "process").write_text(str(os.getpid()))
        time.sleep(600)

    runs.write_json(tmp_path / "there", {})
    with pytest.raises(oneway.InputError, match=f"^{tmp_path / 'missing'} does not exist"):
        list(Executor(kind="ray").each(linger, [tmp_path / "there", tmp_path / "missing"]))
    process = int((tmp_path / "process").read_text())
    until = time.monotonic() + 60
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < until, "the other setting is still being made"
        time.sleep(0.1)


@pytest.mark.parametrize("shared", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_sweep_survives_a_killed_node_and_loses_nothing(
    cluster: Cluster,
    defences: DefencesConfig,
    compared: BenchmarkReport,
    people: oneway.Pack,
    people_judge: Path,
    tmp_path: Path,
    shared: bool,
) -> None:
    given: dict[str, Any] = {"verifier": people_judge, "progress": False}
    gathered = tmp_path / "gathered"
    executor = Executor(kind="ray", gather=None if shared else f"file://{gathered}")
    place = Store(path=tmp_path, pack=people.path, verifiers=(people_judge,)).kind
    folder = tmp_path / "bench" if shared else scratch(Gathering(f"file://{gathered}/{place}"))
    killed = threading.Event()

    def kill() -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            # Weights of both are there: a checkpoint while a run is trained, the encoder when it has finished.
            begun = {path.parent for path in folder.glob("runs/*-noise-*/*.safetensors")}
            if len(begun) > 1:
                break
            time.sleep(0.01)
        cluster.kill_second()
        killed.set()

    threading.Thread(target=kill, daemon=True).start()
    survived = compare_defences(people, tmp_path / "bench", defences, executor=executor, **given)
    assert killed.is_set()
    until = time.monotonic() + 120
    while len([node for node in ray.nodes() if node["Alive"]]) > 1:  # the cluster takes a while to notice
        assert time.monotonic() < until, "the killed node is still there"
        time.sleep(0.1)
    for row in survived.rows:
        assert shared or (gathered / place / row.audit / runs.RESULTS).is_file()
        assert (tmp_path / "bench" / row.run / "protector.safetensors").is_file()
    assert figures(survived) == figures(compared)


def test_a_gathering_gives_back_what_was_put_there_and_only_finished_folders(tmp_path: Path) -> None:
    gathering = Gathering("memory://sweep")
    made = tmp_path / "made"
    (made / "deeper").mkdir(parents=True)
    (made / "deeper" / "weights").write_bytes(b"\x00\x01")
    gathering.push(made, "runs/unfinished")
    assert not gathering.pull("runs/unfinished", tmp_path / "unfinished")
    assert not (tmp_path / "unfinished").exists()
    runs.write_json(made / runs.RESULTS, {"kind": "protect"})
    gathering.push(made, "runs/one")
    assert gathering.pull("runs/one", tmp_path / "again")
    assert (tmp_path / "again" / "deeper" / "weights").read_bytes() == b"\x00\x01"
    assert runs.read_json(tmp_path / "again" / runs.RESULTS) == {"kind": "protect"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"jobs": 0}, "jobs must be at least 1, not 0"),
        ({"kind": "ray", "jobs": 2}, "jobs is for one machine, not 2"),
        ({"kind": "ray", "job_cpus": 0.0}, "job_cpus must be positive, not 0.0"),
        ({"kind": "ray", "job_gpus": -1.0}, "job_gpus must be 0 or more, not -1.0"),
        ({"kind": "ray", "job_gpus": 1.5}, "job_gpus must be whole where it is above 1, not 1.5"),
        ({"gather": "s3://bucket"}, "set executor.kind=ray"),
    ],
)
def test_an_executor_that_cannot_be_is_refused_before_anything_is_written(
    fields: dict[str, Any], message: str, people: oneway.Pack, tmp_path: Path
) -> None:
    with pytest.raises(oneway.InputError, match=message):
        compare_defences(people, tmp_path / "bench", executor=Executor(**fields))
    assert not (tmp_path / "bench").exists()


def test_a_gathering_that_cannot_be_opened_is_named() -> None:
    with pytest.raises(oneway.InputError, match="gather=nowhere://x cannot be used"):
        Gathering("nowhere://x").pull("runs/one", Path("unused"))


def test_a_gathering_that_would_write_elsewhere_is_refused(tmp_path: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe_file("/odd/runs/one/results.json", b"{}")
    files.store["/odd/runs/one/../../evil"] = files.store["/odd/runs/one/results.json"]
    with pytest.raises(oneway.InputError, match="which is not below runs/one"):
        Gathering("memory://odd").pull("runs/one", tmp_path / "one")
    assert not (tmp_path / "one" / runs.RESULTS).exists()
