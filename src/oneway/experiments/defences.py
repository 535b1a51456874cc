"""The benchmark of defences: each at several strengths, audited by the same panel, as one table and one picture."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from oneway import runs
from oneway.auditing.audit import audit
from oneway.auditing.config import AuditConfig
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.models.identification import open_verifier
from oneway.progress import track
from oneway.protection.config import ProtectConfig
from oneway.protection.recipes import RECIPES, prescribe, read_recipe
from oneway.protection.run import Run
from oneway.protection.train import protect
from oneway.report.pareto import draw_pareto
from oneway.runs import override
from oneway.runtime import RuntimeConfig

TABLE, PICTURE = "table.csv", "pareto.png"
LEAKAGES = ("face_similarity", "feature_similarity", "linkage")
CONTROL = "none"


@dataclass(frozen=True, kw_only=True)
class DefencesConfig:
    """What is compared.

    Attributes:
        cuts: layers after which the features leave the device.
        defences: each the NAME of one of `protection.recipes` at all strengths worth comparing, or NAME=STRENGTH; all
            by default.
        protect: the network and its budget, which every defence has.
        audit: the panel, which every defence meets; what leakage is not made of is left out by default.

    """

    cuts: tuple[str, ...] = ("layer2",)
    defences: tuple[str, ...] = ()
    protect: ProtectConfig = field(default_factory=ProtectConfig)
    audit: AuditConfig = field(default_factory=partial(AuditConfig, brief=True))

    def __post_init__(self) -> None:
        for name, _ in map(read_recipe, self.defences):
            if name not in RECIPES or name == CONTROL:
                raise InputError(
                    f"defences must be of {', '.join(known for known in RECIPES if known != CONTROL)}, not {name!r}; "
                    "the unprotected control is always there"
                )
        if not self.cuts:
            raise InputError("cuts must name at least one layer, such as layer2")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting: an encoder to be trained and audited, and the key of its control, unless it is one."""

    cut: str
    defence: str
    strength: float
    protect: ProtectConfig
    control: str | None = None

    @property
    def key(self) -> str:
        """Name its folders by all that decides it."""
        digest = runs.digest(runs.to_dict(replace(self.protect, runtime=RuntimeConfig())))
        return f"{self.cut}-{self.defence}-{self.strength:g}-{digest}"


def cells(config: DefencesConfig) -> list[Cell]:
    """List the settings, the control of each cut first."""
    plan = []
    for cut in config.cuts:
        base = override(config.protect, {"network.cut": cut})
        control = Cell(cut=cut, defence=CONTROL, strength=0.0, protect=prescribe(base, CONTROL))
        plan.append(control)
        for name, only in map(read_recipe, config.defences or [name for name in RECIPES if name != CONTROL]):
            for strength in RECIPES[name].strengths if only is None else (only,):
                made = prescribe(base, name, strength)
                plan.append(Cell(cut=cut, defence=name, strength=strength, protect=made, control=control.key))
    return plan


def compare_defences(
    pack: Pack,
    out: Path,
    config: DefencesConfig | None = None,
    *,
    verifier: Path | None = None,
    jobs: int = 1,
    resume: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train and audit every setting, and write the table and the picture of utility against leakage.

    Args:
        pack: the data.
        out: a new folder; runs and audits are kept in it, named by their settings.
        config: what is compared.
        verifier: judge of faces, as `open_verifier` takes it.
        jobs: settings at a time, each in a process of its own with its share of the processors.
        resume: continue an unfinished benchmark: what is finished is not made again.
        progress: show a bar over the settings, and with one job over the steps of each.

    Returns:
        what `results.json` holds: `rows`, one a setting, as docs/results.md describes them.

    Raises:
        InputError: for anything that cannot be used.

    """
    config = config or DefencesConfig()
    plan = cells(config)
    described = {
        "defences": runs.to_dict(config),
        "verifier": None if verifier is None else str(verifier),
        "data": {"path": str(pack.path.absolute()), "hash": pack.hash},
    }
    runs.claim(out, described, resume=resume)
    open_verifier(pack, verifier)  # trained once, before several processes ask for it
    controls = [cell for cell in plan if cell.control is None]
    others = [cell for cell in plan if cell.control is not None]
    with track("benchmark", len(plan), "settings", enabled=progress) as advance:
        for stage in (controls, others):
            for _ in _made(pack.path, out, stage, config.audit, verifier, jobs, progress and jobs == 1):
                advance(1)
    results: dict[str, Any] = {
        "schema": runs.SCHEMA,
        "kind": "benchmark",
        "rows": [_row(out, cell) for cell in plan],
        "provenance": runs.provenance(**described),
    }
    _write_table(out / TABLE, results["rows"])
    draw_pareto(results["rows"], out / PICTURE)
    runs.write_json(out / runs.RESULTS, results)
    return results


def _made(
    pack: Path, out: Path, stage: Sequence[Cell], config: AuditConfig, verifier: Path | None, jobs: int, bars: bool
) -> Iterator[None]:
    """Make the settings of a stage, here or in processes, and say when each is done."""
    given = [(pack, out, cell, config, verifier, bars) for cell in stage]
    if jobs == 1:
        for each in given:
            _make(*each)
            yield
        return
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for made in as_completed([pool.submit(_make, *each) for each in given]):
            made.result()
            yield


def _make(pack: Path, out: Path, cell: Cell, config: AuditConfig, verifier: Path | None, bars: bool) -> None:
    """Train and audit one setting, unless that is done."""
    opened = Pack.open(pack)
    run, report = out / "runs" / cell.key, out / "audits" / cell.key
    if not (run / runs.RESULTS).exists():
        protect(opened, run, cell.protect, resume=True, progress=bars)
    if not (report / runs.RESULTS).exists():
        audit(
            Run.open(run, opened),
            control=None if cell.control is None else out / "audits" / cell.control,
            out=report,
            config=config,
            verifier=open_verifier(opened, verifier),
            images=False,
            resume=True,
            progress=bars,
        )


def _row(out: Path, cell: Cell) -> dict[str, Any]:
    """Sum up a setting: utility and leakage on test people, and on validation people what it may be chosen by."""
    run = runs.read_json(out / "runs" / cell.key / runs.RESULTS)
    audited = runs.read_json(out / "audits" / cell.key / runs.RESULTS)
    control = runs.read_json(out / "audits" / (cell.control or cell.key) / runs.RESULTS)
    beside = runs.read_json(out / "runs" / (cell.control or cell.key) / runs.RESULTS)
    return {
        "cut": cell.cut,
        "defence": cell.defence,
        "strength": cell.strength,
        "mean_mcc": run["utility"]["mean_mcc"],
        "control_mean_mcc": beside["utility"]["mean_mcc"],
        "leakage": audited["leakage"],
        "strongest": audited["attacks"]["inversion"]["strongest"].get("face_similarity"),
        "face_similarity": audited["attacks"]["inversion"].get("face_similarity"),
        "tar_at_far_1e-3": audited["attacks"]["linkage"].get("tar_at_far_1e-3"),
        "verdict": audited["verdict"]["level"],
        "validation": {
            "utility": run["validation"]["mean_mcc"] / beside["validation"]["mean_mcc"],
            "leakage": _shares(audited["validation"], control["validation"]),
        },
        "run": f"runs/{cell.key}",
        "audit": f"audits/{cell.key}",
    }


def _shares(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Give the leakages of validation people, where the control leaks at all."""
    shares = {}
    for name in LEAKAGES:
        if name in ours and name in theirs and theirs[name]["score"] > theirs[name]["floor"]:
            excess = theirs[name]["score"] - theirs[name]["floor"]
            shares[name] = (ours[name]["score"] - ours[name]["floor"]) / excess
    return shares


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as CSV: value and ends of the interval of every figure."""
    figures = ("mean_mcc", *(f"leakage.{name}" for name in LEAKAGES))
    header = ["cut", "defence", "strength", *(f"{name}{end}" for name in figures for end in ("", " low", " high"))]
    lines = []
    for row in rows:
        given = [row["mean_mcc"], *(row["leakage"][name] for name in LEAKAGES)]
        ends = [estimate.get(end, "") for estimate in given for end in ("value", "low", "high")]
        lines.append([row["cut"], row["defence"], row["strength"], *ends])
    with runs.whole(path) as unfinished, unfinished.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])


def recommend(
    results: Mapping[str, Any], cut: str, *, utility: float | None = None, leakage: float | None = None
) -> dict[str, Any]:
    """Name the setting that leaks least at a utility, or is most useful at a leakage, as validation people have it.

    Args:
        results: of `compare_defences`.
        cut: the layer.
        utility: least share of the control's mean MCC.
        leakage: largest of the leakages of faces and of linkage.

    Returns:
        the row, whose figures on test people had no part in the choice.

    Raises:
        InputError: if neither or both bounds are given, or no setting keeps to it.

    """
    if (utility is None) == (leakage is None):
        raise InputError("give either the least utility or the largest leakage")
    rows = [row for row in results["rows"] if row["cut"] == cut and row["defence"] != CONTROL]
    if not rows:
        known = ", ".join(sorted({row["cut"] for row in results["rows"]}))
        raise InputError(f"the benchmark has no cut {cut!r}; it has {known}")

    def leaks(row: Any) -> float:
        shares = row["validation"]["leakage"]
        return max((shares[name] for name in ("face_similarity", "linkage") if name in shares), default=float("inf"))

    if utility is not None:
        kept = [row for row in rows if row["validation"]["utility"] >= utility]
        if not kept:
            most = max(row["validation"]["utility"] for row in rows)
            raise InputError(f"no setting keeps {utility:g} of the control's utility at {cut}; the most is {most:.3f}")
        return dict(min(kept, key=lambda row: leaks(row)))
    assert leakage is not None
    kept = [row for row in rows if leaks(row) <= leakage]
    if not kept:
        raise InputError(f"no setting leaks at most {leakage:g} at {cut}; the least is {min(map(leaks, rows)):.3f}")
    return dict(max(kept, key=lambda row: float(row["validation"]["utility"])))
