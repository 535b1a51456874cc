"""The commands over many encoders: benchmarks, the paper's experiments, and what finished audits say of each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from oneway.cli.options import EXECUTOR, Data, Paths, Settings, check_out, open_executor, pairs, required, show
from oneway.console import console, marked
from oneway.errors import InputError

if TYPE_CHECKING:
    from oneway.sweep.timing import Estimate


def benchmark(
    what: Positional[str],
    data: Data = None,
    /,
    *,
    out: Path | None = None,
    cut: UseAppendAction[tuple[str, ...]] = (),
    defence: UseAppendAction[tuple[str, ...]] = (),
    preset: Literal["small", "paper"] = "small",
    verifier: Paths = (),
    encoders: Path | None = None,
    jobs: int = 1,
    dry_run: bool = False,
    show_config: bool = False,
    set: Settings = (),
    resume: bool = False,
) -> None:
    """Compare defences: train each at several strengths, audit all by the same panel, draw utility against leakage.

    Writes table.csv, pareto.png and results.json, and keeps every run and audit. `oneway recommend` reads it.

    Args:
        what: What is compared: defences.
        data: A pack made by `oneway prepare`.
        out: The new benchmark's folder.
        cut: Layer after which features leave the device; can be given several times; layer2 by default.
        defence: A defence at several strengths, or NAME=STRENGTH for one; can be given several times; all by default.
        preset: Network and budget of every setting.
        verifier: Judge of faces, as `oneway audit` takes it; can be given several times.
        encoders: Another benchmark of DATA, whose finished encoders are taken instead of being trained anew, so that
            another panel attacks the same ones.
        jobs: Settings at a time, each in a process of its own, one for each GPU.
        dry_run: Only list the settings, and how long they will take.
        show_config: Only print every field of the configuration as it would be used; DATA and --out may be left out.
        set: Any other field, such as protect.steps=600, audit.attackers=mirror, or audit.brief=false for whole audits,
            or executor.kind=ray (the cluster that RAY_ADDRESS names).
        resume: Continue a benchmark that was interrupted.
    """
    if what != "defences":
        raise InputError(f"what a benchmark compares are defences, not {what!r}: oneway benchmark defences DATA ...")
    from oneway.config import override
    from oneway.data.packed import Pack
    from oneway.protection.config import PRESETS
    from oneway.report.table import benchmark_table
    from oneway.sweep.benchmark import PICTURE, DefencesConfig, cells, compare_defences, foresee

    maker, settings = open_executor(jobs, pairs(set))
    given = {name: value for name, value in {"cuts": cut, "defences": defence}.items() if value}
    config = override(DefencesConfig(protect=PRESETS[preset]()), {**given, **settings})
    if show_config:
        show(config)
        show(maker, EXECUTOR)
        return
    data, out, said = required(data, "DATA"), required(out, "--out"), console()
    if dry_run and encoders is not None:
        raise InputError("--dry-run says how long training takes, which --encoders leaves out; give one of them")
    if dry_run:
        for cell in cells(config, data):
            said.print(f"{cell.cut}  {cell.defence}  {cell.strength:g}")
        said.print(_told(foresee(Pack.open(data), out, config, verifier=verifier), jobs))
        return
    results = compare_defences(
        Pack.open(data), out, config, verifier=verifier, executor=maker, encoders=encoders, resume=resume
    )
    said.print(benchmark_table(results))
    said.print(f"picture: {out / PICTURE}", soft_wrap=True)


def recommend(
    benchmark: Positional[Path],
    /,
    *,
    cut: str,
    utility: float | None = None,
    leakage: float | None = None,
    excess: float | None = None,
) -> None:
    """Name the defence and strength to use, from a benchmark; chosen by validation people, reported by test people.

    Where the budget ended an attacker that it met, or a guard of its audit does not hold, that is said, since what was
    attacked badly seems to leak least, and so is which other setting keeps to the same without such doubts.

    Args:
        benchmark: The folder of a finished `oneway benchmark`.
        cut: Layer after which features leave the device.
        utility: Least share of the unprotected encoder's utility, such as 0.95; the least leaking setting above it is
            named.
        leakage: Largest of the three leakages, such as 0.25; the most useful setting below it is named.
        excess: Largest of what these three are above those of the task's decisions alone, such as 0.05; likewise.
    """
    import os
    import shlex
    from dataclasses import replace

    from oneway.protection.arguments import arguments
    from oneway.protection.made import finished
    from oneway.report.reports import read_report
    from oneway.report.sweeps import BenchmarkReport
    from oneway.report.table import benchmark_table
    from oneway.sweep.choice import doubts, instead, ranked, unjudged

    report = read_report(benchmark, BenchmarkReport, "oneway benchmark defences DATA --out NEW")
    bounds, kind = {"utility": utility, "leakage": leakage, "excess": excess}, "leakage" if excess is None else "excess"
    rows = ranked(report, cut, **bounds)
    row = rows[0]
    doubtful, other = doubts(benchmark, report, row), instead(benchmark, rows, kind)
    said = console()
    said.print(benchmark_table(replace(report, rows=[row], decisions={cut: report.decisions[cut]})))
    for doubt in doubtful:
        said.print(marked("DOUBTFUL", f": {doubt}"), soft_wrap=True)
    run = benchmark / row.run
    made = finished(run)
    again = arguments(made.protect, row.defence, row.strength)
    place = made.data.path  # seen from the run
    pack = made.data.name if place is None else os.path.relpath(run.absolute() / place)
    lines = [
        *([] if other is None else [other]),
        *unjudged(report, cut, kind),
        f"trained already: {run}",
        f"its audit: {benchmark / row.audit}",
        f"train it again: {shlex.join(['oneway', 'protect', pack, *again, '--out', 'RUN'])}",
    ]
    for line in lines:
        said.print(line, soft_wrap=True)


def leaderboard(
    benchmarks: Positional[Annotated[tuple[Path, ...], arg(metavar="BENCHMARK")]],
    /,
    *,
    cut: str,
    utility: float = 0.95,
    out: Path | None = None,
) -> None:
    """Rank defences by what they give away where they keep one share of the control's utility.

    Interpolates each defence between its own strengths, over seeds, and says by rule what makes an entry doubtful.
    docs/defences.md says how to read it, and how an attack of your own makes it anew.

    Args:
        benchmarks: Folders of finished `oneway benchmark`s of one pack by one panel: a seed each, or other defences.
        cut: Layer after which features leave the device.
        utility: Share of the unprotected encoder's utility that is kept.
        out: File for the table as a page in Markdown; none by default.
    """
    import shlex

    from oneway.report.leaderboard import leaderboard_page, leaderboard_table
    from oneway.report.summary import write_summary
    from oneway.sweep.leaderboard import rank

    check_out(out)
    board, said = rank(benchmarks, cut, utility=utility), console()
    said.print(leaderboard_table(board))
    if out is not None:
        given = [*map(str, benchmarks), "--cut", cut, "--utility", str(utility), "--out", out.name]
        write_summary(out, leaderboard_page(board, shlex.join(["oneway", "leaderboard", *given])))
        said.print(f"page: {out}", soft_wrap=True)


def experiment(
    name: Positional[str],
    data: Data = None,
    /,
    *,
    out: Path | None = None,
    preset: Literal["small", "middle", "paper"] = "small",
    extra_public: Path | None = None,
    perceptual_network: str | None = None,
    verifier: Paths = (),
    jobs: int = 1,
    dry_run: bool = False,
    show_config: bool = False,
    set: Settings = (),
    resume: bool = False,
) -> None:
    """Run an experiment of the paper's and show its table beside the paper's; `all` runs every one.

    Writes results.json, table.csv and pictures for each, and experiments.html and reproduction.md for all. Runs that
    several experiments share are made once.

    Args:
        name: strength (Table 1), tradeoff (Table 2), layers (Table 3), tsne (Fig. 4), or all.
        data: A pack made by `oneway prepare`.
        out: The new folder.
        preset: Network and budgets: `small` takes two processors hours, `middle` is for one GPU, `paper` is ResNet-50.
        extra_public: A pack of further people, whose pictures the attacker has too in rows 5 to 8 of Table 1.
        perceptual_network: Through which the trade-off's perceptual term sees: vgg16 (downloaded), a safetensors file
            of VGG-16, or BACKBONE:FILE for one of timm's.
        verifier: Judge of faces, as `oneway audit` takes it; can be given several times.
        jobs: Settings at a time, each in a process of its own, one for each GPU.
        dry_run: Only list the settings, and how long they will take.
        show_config: Only print every field of the configuration as it would be used; DATA and --out may be left out.
        set: Any other field, such as protect.steps=600, audit.attackers=mirror, pixel=3, or executor.kind=ray
            (the cluster that RAY_ADDRESS names).
        resume: Continue experiments that were interrupted.
    """
    from oneway.config import override
    from oneway.data.packed import Pack
    from oneway.report.table import experiment_table
    from oneway.reproduction.config import PRESETS
    from oneway.reproduction.experiment import NAMES, PAGE, foresee, plan
    from oneway.reproduction.experiment import experiment as run_experiments

    maker, settings = open_executor(jobs, pairs(set))
    names = NAMES if name == "all" else (name,)
    given = {} if perceptual_network is None else {"perceptual_network": perceptual_network}
    config = override(PRESETS[preset](), {**given, **settings})
    if show_config:
        show(config)
        show(maker, EXECUTOR)
        return
    data, out = required(data, "DATA"), required(out, "--out")
    pack, extra = Pack.open(data), None if extra_public is None else Pack.open(extra_public)
    said = console()
    if dry_run:
        for title, lines in plan(names, config, pack.path, None if extra is None else extra.path).items():
            for line in lines:
                said.print(f"{title}  {line.id}: {line.title}", soft_wrap=True)
        said.print(_told(foresee(names, pack, out, config, extra=extra, verifier=verifier), jobs))
        return
    found = run_experiments(names, pack, out, config, extra=extra, verifier=verifier, executor=maker, resume=resume)
    for results in found.values():
        said.print(experiment_table(results))
    said.print(f"page: {out / PAGE}", soft_wrap=True)


def _told(expected: Estimate, jobs: int) -> str:
    """Say how long what is planned will take."""
    from oneway.report.figure import duration

    told = duration(expected.seconds / jobs)
    return f"{expected.runs} encoders to train, {expected.audits} to audit: about {told} here"


def compare(
    audits: Positional[Annotated[tuple[Path, ...], arg(metavar="AUDIT")]],
    /,
    *,
    out: Path | None = None,
    summary: Path | None = None,
    fail_if_worse: bool = False,
    margin: Settings = (),
) -> None:
    """Compare finished audits: is the new encoder worse than the last? Every figure with the interval of its change.

    Changes are paired by test pictures, so audits must be of one pack, by the same judges, with the same settings.
    docs/compare.md says how to read it.

    Args:
        audits: Folders of finished audits, the one to compare with first.
        out: File for the comparison as a page; none by default.
        summary: File for the comparison in Markdown, as a pull request shows it; none by default. To the file that
            GITHUB_STEP_SUMMARY names it is appended.
        fail_if_worse: End with exit code 3 where a figure of privacy is worse than the first audit's, by the lower end
            of the interval of the change.
        margin: By how much it may be worse: AMOUNT for every figure that runs to 1, NAME=AMOUNT for one, in its unit.
    """
    from oneway.auditing.comparison import compare as compare_audits
    from oneway.report.comparison import read_margins
    from oneway.report.comparison_page import write_comparison
    from oneway.report.comparison_table import comparison_table
    from oneway.report.summary import comparison_summary, write_summary

    margins, said = read_margins(margin), console()
    found = compare_audits(*audits)
    said.print(comparison_table(found))
    if out is not None:
        write_comparison(found, out)
        said.print(f"page: {out}", soft_wrap=True)
    checks = found.checks(margins) if fail_if_worse else []
    if summary is not None:
        write_summary(summary, comparison_summary(found, checks))
    failed = [check for check in checks if not check.passed]
    for check in failed:
        said.print(marked("FAILED", f": {check.message}"), soft_wrap=True)
    if failed:
        sys.exit(3)
    if checks:
        said.print(f"passed: none of {len(checks)} figures is worse", soft_wrap=True)
