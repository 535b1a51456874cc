"""The benchmark of defences: each at several strengths, audited by the same panel, as one table and one picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from oneway.auditing.config import AuditConfig
from oneway.config import Names, checked, override, to_dict
from oneway.console import console
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.identification import open_verifiers
from oneway.judges.judge import identified
from oneway.metrics.estimate import Estimate
from oneway.protection.config import ProtectConfig
from oneway.protection.recipes import prescribe, read_recipe, recipes
from oneway.report.limits import LEAKAGES, SHARES
from oneway.report.pareto import draw_pareto
from oneway.report.reports import AuditReport
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow, Choice, Shares
from oneway.report.values import AttackResult, Refused, ValidationScore, scores_of
from oneway.storage import runs
from oneway.storage.atomic import whole
from oneway.storage.claims import check_claim, claim
from oneway.sweep import timing as plan_time
from oneway.sweep.executor import HERE, Executor
from oneway.sweep.store import Setting, Store, Verifiers, absolute

TABLE, PICTURE = "table.csv", "pareto.png"
CONTROL = "none"


@checked
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

    cuts: Names = ("layer2",)
    defences: Names = ()
    protect: ProtectConfig = field(default_factory=ProtectConfig)
    audit: AuditConfig = field(default_factory=partial(AuditConfig, brief=True))

    def __post_init__(self) -> None:
        for name, strength in map(read_recipe, self.defences):
            if name not in _compared():
                raise InputError(
                    f"defences must be of {', '.join(_compared())}, not {name!r}; the unprotected control is always "
                    "there"
                )
            if strength is None and not recipes()[name].strengths:
                raise InputError(f"the defence {name!r} says no strengths to compare it at; give {name}=STRENGTH")
        if not self.cuts:
            raise InputError("cuts must name at least one layer, such as layer2")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting by the names of its row."""

    cut: str
    defence: str
    strength: float
    setting: Setting


def cells(config: DefencesConfig, data: Path) -> list[Cell]:
    """List the settings on the pack `data`, the control of each cut first."""
    plan = []
    for cut in config.cuts:
        base = override(config.protect, {"network.cut": cut})
        setting = partial(Setting, audit=config.audit, data=data, attacked=data)
        control = setting(protect=prescribe(base, CONTROL))
        plan.append(Cell(cut=cut, defence=CONTROL, strength=0.0, setting=control))
        for name, only in map(read_recipe, config.defences or _compared()):
            for strength in recipes()[name].strengths if only is None else (only,):
                made = setting(protect=prescribe(base, name, strength), control=control)
                plan.append(Cell(cut=cut, defence=name, strength=strength, setting=made))
    return plan


def _compared() -> list[str]:
    return [name for name in recipes() if name != CONTROL]


def foresee(pack: Pack, out: Path, config: DefencesConfig, *, verifier: Verifiers = None) -> plan_time.Estimate:
    """Say how long what is not made yet will take on this machine; arguments as `compare_defences` takes them."""
    data = pack.path.absolute()
    store = Store(path=out.absolute(), pack=data, verifiers=absolute(verifier))
    settings = [cell.setting for cell in cells(config, data)]
    store.check(settings)
    return plan_time.estimate(settings, store)


def compare_defences(
    pack: Pack,
    out: Path,
    config: DefencesConfig | None = None,
    *,
    verifier: Verifiers = None,
    executor: Executor = HERE,
    encoders: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> BenchmarkReport:
    """Train and audit every setting, and write the table and the picture of utility against leakage.

    Args:
        pack: the data.
        out: a new folder; runs and audits are kept in it, named by their settings.
        config: what is compared.
        verifier: judge of faces, or several, as `open_verifiers` takes them.
        executor: who makes the settings; by default this process, one after the other.
        encoders: another benchmark, whose finished encoders are taken instead of being trained anew, so that another
            panel attacks the same ones.
        resume: continue an unfinished benchmark: what is finished is not made again.
        progress: show a bar over the settings, and with one job over the steps of each.

    Returns:
        the report, which `results.json` holds too.

    Raises:
        InputError: for anything that cannot be used.

    """
    config = config or DefencesConfig()
    plan = cells(config, pack.path.absolute())
    verifiers = absolute(verifier)
    store = Store(path=out.absolute(), pack=pack.path.absolute(), verifiers=verifiers)
    store.check([cell.setting for cell in plan])
    check_claim(out, resume=resume)
    described = {
        "defences": runs.named(config),
        "judges": [to_dict(identified(each)) for each in open_verifiers(pack, verifiers, progress=progress)],
        "data": pack.about,
    }
    if encoders is not None and executor.gather is not None:
        raise InputError(
            "encoders lie on this machine, where no node of executor.gather finds them; leave one of them out"
        )
    with claim(out, described, resume=resume):
        if encoders is not None:
            lacking = store.take(encoders, [cell.setting for cell in plan])
            if lacking and progress:
                console().print(f"{encoders} lacks {lacking} of the encoders, which are trained", soft_wrap=True)
        store.make([cell.setting for cell in plan], executor=executor, progress=progress)
        report = BenchmarkReport(
            rows=[_row(store, cell) for cell in plan],
            decisions={cell.cut: _decisions(store, cell) for cell in plan if cell.defence == CONTROL},
            title=store.trained(plan[0].setting).utility.title,
            of_pictures=store.audited(plan[0].setting).victim.of_pictures,
            provenance=runs.provenance(**described),
        )
        _write_table(out / TABLE, report.rows)
        draw_pareto(report, out / PICTURE)
        runs.write_json(out / runs.RESULTS, to_dict(report))
        return report


def _row(store: Store, cell: Cell) -> BenchmarkRow:
    """Sum up a setting: utility and leakage on test people, and on validation people what it may be chosen by."""
    run, report = store.trained(cell.setting), store.audited(cell.setting)
    twin = cell.setting.control or cell.setting
    beside, control = store.trained(twin), store.audited(twin)
    inversion = report.attacks["inversion"]
    assert isinstance(inversion, AttackResult)
    return BenchmarkRow(
        cut=cell.cut,
        defence=cell.defence,
        strength=cell.strength,
        utility=run.utility.value,
        control_utility=beside.utility.value,
        leakage=report.leakage,
        excess=report.excess,
        strongest=inversion.strongest.get("picture_similarity"),
        picture_similarity=inversion.scores.get("picture_similarity"),
        linked=scores_of(report.attacks["linkage"]).get("tar_at_far_1e-3"),
        most_bits=scores_of(report.attacks.get("capacity")).get("most_bits"),
        verdict=report.verdict.level,
        unconverged=report.unconverged,
        validation=Choice(
            utility=run.validation.utility / held if (held := beside.validation.utility) else 0.0,
            leakage=_shares(report, control),
            excess=_shares(report, control, above_decisions=True),
        ),
        run=str(store.run(cell.setting).relative_to(store.path)),
        audit=str(store.report(cell.setting).relative_to(store.path)),
    )


def _decisions(store: Store, control: Cell) -> Shares:
    """Give what the task's decisions alone give away, as the control takes them."""
    decisions = store.audited(control.setting).decisions
    if isinstance(decisions, Refused):
        return dict.fromkeys(LEAKAGES, decisions)
    return decisions.leakage


def _shares(ours: AuditReport, theirs: AuditReport, *, above_decisions: bool = False) -> dict[str, float]:
    """Give the leakages of validation people where the control leaks at all, or what is above the decisions.

    Of several judges that can tell who is shown it is the highest that one of them gives, as on test people.
    """
    measured: dict[str, list[tuple[ValidationScore | None, ValidationScore | None]]] = {
        "linkage": [(ours.validation.get("linkage"), theirs.validation.get("linkage"))]
    }
    for judge, same in zip(ours.judges, theirs.judges, strict=True):
        if judge.blind is None:
            for name, score in judge.validation.items():
                measured.setdefault(name, []).append((score, same.validation.get(name)))
    found: dict[str, float] = {}
    for name in LEAKAGES:
        for mine, beside in measured.get(name, []):
            if mine is None or beside is None:
                continue
            least, most = (mine.decisions, mine.decisions) if above_decisions else (mine.floor, beside.floor)
            if least is not None and most is not None and beside.score > most:
                share = (mine.score - least) / (beside.score - most)
                found[name] = max(share, found.get(name, share))
    return found


def _write_table(path: Path, rows: Sequence[BenchmarkRow]) -> None:
    """Write the rows as CSV: value and ends of the interval of every figure."""
    figures = ("utility", *(f"{share}.{name}" for share in SHARES for name in LEAKAGES), "most_bits")
    header = ["cut", "defence", "strength", *(f"{name}{end}" for name in figures for end in ("", " low", " high"))]
    lines = []
    for row in rows:
        line: list[float | str] = [row.cut, row.defence, row.strength]
        shares = [shown[name] for shown in (row.leakage, row.excess) for name in LEAKAGES]
        for figure in (row.utility, *shares, row.most_bits):
            line += [figure.value, figure.low, figure.high] if isinstance(figure, Estimate) else ["", "", ""]
        lines.append(line)
    with whole(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
