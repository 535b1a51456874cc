"""The paper's experiments: each a table beside the paper's, a picture, and a page for all of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from oneway.auditing.control import PICTURES
from oneway.auditing.reconstruction import shown
from oneway.config import to_dict
from oneway.data.join import join
from oneway.data.packed import Pack
from oneway.errors import InputError, unknown
from oneway.judges.identification import open_verifiers
from oneway.judges.judge import identified
from oneway.report.experiments import Pixels, write_experiments
from oneway.report.grid import draw_grid
from oneway.report.plots import draw_layers, draw_maps, draw_tradeoff
from oneway.report.reproduction import TITLES, reproduction
from oneway.report.sweeps import ExperimentReport, ExperimentRow
from oneway.reproduction import layers, strength, tradeoff, tsne
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.line import Line, row
from oneway.reproduction.paper import METRICS, Effect, judge
from oneway.storage import runs
from oneway.storage.atomic import whole
from oneway.storage.claims import check_claim, claim
from oneway.sweep.executor import HERE, Executor
from oneway.sweep.store import Setting, Store, Verifiers, absolute
from oneway.sweep.timing import Estimate, estimate
from oneway.tasks.registry import task_of

STORE, JOINED, TABLE, PICTURE, GRID = "store", "joined", "table.csv", "picture.png", "reconstructions.png"
PAGE, TEXT = "experiments.html", "reproduction.md"
NAMES = tuple(TITLES)


def plan(names: Sequence[str], config: ExperimentConfig, data: Path, joined: Path | None) -> dict[str, list[Line]]:
    """List the lines of experiments, by name.

    Args:
        names: of the experiments.
        config: what they are made of.
        data: the pack.
        joined: the same with more public people, if there are any.

    Raises:
        InputError: for a name that is none, or what an experiment lacks.

    """
    listed: dict[str, Callable[[], list[Line]]] = {
        "strength": lambda: strength.lines(config, data, joined),
        "tradeoff": lambda: tradeoff.lines(config, data),
        "layers": lambda: layers.lines(config, data),
        "tsne": lambda: tsne.lines(config, data),
    }
    for name in names:
        if name not in listed:
            raise unknown("experiment", name, (*NAMES, "all"))
    return {name: listed[name]() for name in names}


def foresee(
    names: Sequence[str],
    pack: Pack,
    out: Path,
    config: ExperimentConfig,
    *,
    extra: Pack | None = None,
    verifier: Verifiers = None,
) -> Estimate:
    """Say how long what is not made yet of experiments will take on this machine.

    Args: as `experiment` takes them. Nothing is written.

    """
    # More public people change no time, so the packs need not be joined for this.
    planned = plan(names, config, pack.path, None if extra is None else pack.path)
    store = Store(path=out / STORE, pack=pack.path, verifiers=absolute(verifier))
    _check(planned, pack, config, store)
    audited = _audited(planned)
    known = {setting.run for setting in audited}
    only = [line.setting for line in planned.get("tsne", []) if line.setting.run not in known]
    first, second = estimate(audited, store), estimate(only, store, audits=False)
    return Estimate(seconds=first.seconds + second.seconds, runs=first.runs + second.runs, audits=first.audits)


def experiment(
    names: Sequence[str],
    pack: Pack,
    out: Path,
    config: ExperimentConfig,
    *,
    extra: Pack | None = None,
    verifier: Verifiers = None,
    executor: Executor = HERE,
    resume: bool = False,
    progress: bool = True,
) -> dict[str, ExperimentReport]:
    """Run experiments, and write what they found beside the paper's figures.

    Args:
        names: of `NAMES`; runs that several share are made once.
        pack: the data.
        out: a new folder: `store/` with runs and audits, a folder for each experiment, and one page for all.
        config: what they are made of.
        extra: more public people, for the rows that have more of them.
        verifier: judge of faces, or several, as `open_verifiers` takes them.
        executor: who makes the settings; by default this process, one after the other.
        resume: go on where a killed one was.
        progress: show a bar.

    Returns:
        the reports by experiment.

    Raises:
        InputError: for anything that cannot be used.

    """
    if extra is not None and executor.gather is not None:
        raise InputError(
            "executor.gather: the pack that is joined of two lies beside the results, where nodes that share no folder "
            "have none; leave out the extra pack, or share the folder"
        )
    verifiers = absolute(verifier)
    _check(plan(names, config, pack.path, None), pack, config, Store(path=out, pack=pack.path, verifiers=verifiers))
    check_claim(out, resume=resume, finished=PAGE)
    described = {
        "experiments": list(names),
        "config": runs.named(config),
        "judges": [to_dict(identified(each)) for each in open_verifiers(pack, verifiers, progress=progress)],
        "data": pack.about,
        "extra": None if extra is None else extra.about,
    }
    with claim(out, described, resume=resume, finished=PAGE):
        kept, data = (out / STORE).absolute(), pack.path.absolute()
        joined = None if extra is None else join(pack, extra, out / JOINED).path.absolute()
        planned = plan(names, config, data, joined)
        images = config.images or (pack.drawn and (extra is None or extra.drawn))
        store = Store(path=kept, pack=data, verifiers=verifiers, images=images)
        audited = _audited(planned)
        store.make(audited, executor=executor, progress=progress)
        if "tsne" in planned:
            store.make([line.setting for line in planned["tsne"]], executor=executor, progress=progress, audits=False)
        found = {name: _write(name, lines, store, config, pack, out, described) for name, lines in planned.items()}
        with whole(out / TEXT) as partial:
            partial.write_text(reproduction(found), encoding="utf-8", errors="backslashreplace")
        write_experiments(found, _pictures(planned, store, pack) if images else None, out / PAGE)
        return found


def _check(planned: Mapping[str, list[Line]], pack: Pack, config: ExperimentConfig, store: Store) -> None:
    """Refuse what would be found only after encoders were trained."""
    task = task_of(pack, config.protect.task)
    if task.name != "attributes":
        raise InputError(
            f"the paper's experiments are of binary attributes, not of {task.decides}; name some of the pack's with "
            "--set protect.task=COLUMN,COLUMN"
        )
    if "tsne" in planned:
        pack.test.labels(config.shown)
    store.check(_audited(planned))
    store.check([line.setting for line in planned.get("tsne", [])], audits=False)


def _audited(planned: Mapping[str, list[Line]]) -> list[Setting]:
    """Give the settings that are attacked; the features of the others are only laid out."""
    return [line.setting for name, lines in planned.items() if name != "tsne" for line in lines]


def _write(
    name: str,
    lines: list[Line],
    store: Store,
    config: ExperimentConfig,
    pack: Pack,
    out: Path,
    described: Mapping[str, object],
) -> ExperimentReport:
    """Sum up one experiment in its folder: results, table and pictures."""
    folder = out / name
    folder.mkdir(exist_ok=True)
    if name == "tsne":
        rows = [tsne.row(line, store, config, folder, seed=config.protect.seed) for line in lines]
    else:
        rows = [row(line, store) for line in lines]
    by_id = {each.id: each for each in rows}
    claims: list[Effect] = {"strength": strength.effects, "tradeoff": tradeoff.effects, "layers": layers.effects}.get(
        name, lambda _: []
    )(lines)
    report = ExperimentReport(
        experiment=name,
        rows=rows,
        effects=[judge(effect, by_id) for effect in claims],
        provenance=runs.provenance(**described),
    )
    _write_table(folder / TABLE, rows)
    draw = {"tradeoff": draw_tradeoff, "layers": draw_layers}.get(name)
    if draw is not None:
        draw(rows, folder / PICTURE)
    if name == "tsne":
        draw_maps([(each.title, folder / str(each.map)) for each in rows], config.shown, folder / PICTURE)
    elif store.images:
        grid = {"original": pack.test.images(shown(pack))}
        grid |= {line.title: _drawn(store, line) for line in lines}
        with whole(folder / GRID) as partial:
            draw_grid(grid, partial)
    runs.write_json(folder / runs.RESULTS, to_dict(report))
    return report


def _drawn(store: Store, line: Line) -> Pixels:
    """Read what the strongest attacker of a line drew of the people that are shown."""
    drawn: Pixels = np.load(store.report(line.setting) / PICTURES, allow_pickle=False)
    return drawn


def _pictures(planned: Mapping[str, list[Line]], store: Store, pack: Pack) -> dict[str, dict[str, Pixels]]:
    """Collect the pictures that the page shows: by experiment and row, (k, size, size, 3) in 0..255."""
    found: dict[str, dict[str, Pixels]] = {"original": {"original": pack.test.images(shown(pack))}}
    for name, lines in planned.items():
        if name != "tsne":
            found[name] = {line.id: _drawn(store, line) for line in lines}
    return found


def _write_table(path: Path, rows: Sequence[ExperimentRow]) -> None:
    """Write every estimate of the rows as CSV, with the ends of its interval, and the paper's figure beside it."""
    there = {name for each in rows for name, value in each.scores.items() if value is not None}
    names = [name for name in METRICS if name in there]
    others = sorted(there - set(names))
    header = ["id", "title"]
    for name in names:
        header += [name, f"{name} low", f"{name} high", f"{name} paper"]
    for name in others:
        header += [name, f"{name} low", f"{name} high"]
    lines = []
    for each in rows:
        line: list[float | str] = [each.id, each.title]
        for name in (*names, *others):
            estimate = each.scores.get(name)
            line += ["", "", ""] if estimate is None else [estimate.value, estimate.low, estimate.high]
            if name in names:
                line.append(each.paper.get(name, ""))
        lines.append(line)
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
