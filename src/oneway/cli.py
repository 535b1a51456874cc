"""The command line: one function a command, which says what it takes and hands over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from tyro.conf import Positional, UseAppendAction

from oneway.errors import DivergedError, InputError, LostError
from oneway.experiments.executor import Executor
from oneway.layouts import Celeba, Folder, Huggingface, Lfw, Synthetic, Webdataset

if TYPE_CHECKING:
    from oneway.experiments.estimate import Estimate

Settings = UseAppendAction[tuple[str, ...]]
Device = Literal["auto", "cpu", "cuda", "mps"]


def prepare(
    layout: Annotated[Celeba, tyro.conf.subcommand("celeba")]
    | Annotated[Lfw, tyro.conf.subcommand("lfw")]
    | Annotated[Folder, tyro.conf.subcommand("folder")]
    | Annotated[Huggingface, tyro.conf.subcommand("huggingface")]
    | Annotated[Webdataset, tyro.conf.subcommand("webdataset")]
    | Annotated[Synthetic, tyro.conf.subcommand("synthetic")],
) -> None:
    """Turn a dataset into a pack: pictures of one size in one file, people divided into private, public and test."""
    from oneway.data.prepare import prepare as pack

    made = pack(
        layout.source(),
        layout.out,
        size=layout.size,
        public=layout.public,
        seed=layout.seed,
        jobs=layout.jobs,
        skip_bad=layout.skip_bad,
        resume=layout.resume,
        **layout.further(),
    )
    parts = (made.private, made.public, made.validation, made.test)
    counts = ", ".join(f"{part.split} {len(part)} of {part.num_people} people" for part in parts)
    summary = f"{made.path}: {len(made.attributes)} attributes; pictures: {counts}"
    Console().print(summary, highlight=False, soft_wrap=True)


def protect(
    data: Positional[Path],
    /,
    *,
    out: Path,
    preset: Literal["small", "paper"] = "small",
    cut: str | None = None,
    defence: str | None = None,
    pixel: float | None = None,
    decoder_steps: int | None = None,
    steps: int | None = None,
    seed: int | None = None,
    set: Settings = (),
    resume: bool = False,
) -> None:
    """Train an encoder whose features keep the attributes and resist inversion, by the game or another defence.

    What it resists is not known until it is attacked afresh: run `oneway attack` on the result.

    Args:
        data: A pack made by `oneway prepare`.
        out: The new run's folder.
        preset: Network and budget: `small` takes two processors minutes, `paper` is ResNet-50 and the paper's game.
        cut: Layer after which features leave the device: conv1, layer1 to layer4, avgpool or fc.
        defence: NAME or NAME=STRENGTH, each on its own scale: game (the default), paper (its one-step game),
            deepobfuscator, noise, dropout, pruning, nopeek, vib, cem, blur, downscale, pca, or none.
        pixel: Weight of the decoder's error; 0 trains the unprotected control.
        decoder_steps: Steps of the simulated attacker for each step of the encoder.
        steps: Steps of the encoder.
        seed: Of the initial weights and of the order of the pictures.
        set: Any other field of the configuration, as in config.json: --set network.width=0.5, --set
            runtime.device=cpu, --set runtime.devices=8 (processes that share every batch), --set runtime.num_nodes=2.
        resume: Continue a run that was interrupted.
    """
    from oneway.data.packed import Pack
    from oneway.protection.config import PRESETS
    from oneway.protection.recipes import prescribe, read_recipe
    from oneway.protection.train import protect as train
    from oneway.report.table import probe_line, utility_line
    from oneway.runs import override, read_json
    from oneway.runtime import is_first

    given = {
        "network.cut": cut,
        "game.pixel": pixel,
        "game.decoder_steps": decoder_steps,
        "steps": steps,
        "seed": seed,
    }
    config = PRESETS[preset]()
    if defence is not None:
        config = prescribe(config, *read_recipe(defence))
    config = override(config, {name: value for name, value in given.items() if value is not None})
    run = train(Pack.open(data), out, override(config, _pairs(set)), resume=resume)
    if not is_first():
        return
    results = read_json(run.path / "results.json")
    for line in filter(None, (utility_line(results), probe_line(results))):
        Console().print(line, highlight=False)
    Console().print(f"{run.path}: now attack it afresh: oneway attack {run.path}", highlight=False, soft_wrap=True)


def attack(
    run: Positional[Path],
    /,
    *,
    out: Path | None = None,
    data: Path | None = None,
    control: Path | None = None,
    verifier: Path | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: Device = "auto",
    set: Settings = (),
    resume: bool = False,
) -> None:
    """Attack a run's frozen encoder with a decoder trained from scratch, and score it on the test people.

    Args:
        run: The folder of a finished `oneway protect`.
        out: The new attack's folder; RUN/attack by default.
        data: The run's pack, if it has moved.
        control: Folder of the same attack on the unprotected run, to stand beside the results.
        verifier: Judge of faces: an ONNX file, or a file made by `oneway verifier`; by default the pack's own,
            which is trained on its identities the first time.
        steps: The attacker's budget; it stops earlier when it no longer gets better.
        seed: Of the attacker's weights and of the order of its pictures.
        device: Where to train.
        set: Any other field of the attack's configuration, as in config.json: --set width=4.
        resume: Continue an attack that was interrupted.
    """
    from oneway.attacks.inversion import InversionConfig
    from oneway.auditing.attack import GRID
    from oneway.auditing.attack import attack as attack_run
    from oneway.data.packed import Pack
    from oneway.models.identification import open_verifier
    from oneway.protection.run import Run
    from oneway.report.table import attack_table
    from oneway.runs import override
    from oneway.runtime import RuntimeConfig

    opened = Run.open(run, None if data is None else Pack.open(data))
    out = run / "attack" if out is None else out
    given = {"seed": seed} | ({} if steps is None else {"max_steps": steps})
    results = attack_run(
        opened,
        out,
        override(InversionConfig(), given | _pairs(set)),
        verifier=open_verifier(opened.pack, verifier),
        control=control,
        runtime=RuntimeConfig(device=device),
        resume=resume,
    )
    console = Console()
    console.print(attack_table(results))
    if not results["attacks"]["inversion"]["converged"]:
        console.print("the budget ended this attack, not convergence: a longer one (--steps) may get more")
    console.print(f"pictures: {out / GRID}", highlight=False, soft_wrap=True)


def audit(
    victim: Positional[Path | None] = None,
    /,
    *,
    out: Path,
    features: Path | None = None,
    data: Path | None = None,
    control: Path | None = None,
    verifier: Path | None = None,
    thorough: bool = False,
    fail_above: Settings = (),
    no_images: bool = False,
    set: Settings = (),
    resume: bool = False,
) -> None:
    """Audit any encoder: what does someone learn who steals its features? Runs every attack; minutes to hours.

    Writes report.html, results.json and scores.npz. Each number stands beside its floor (an attacker who knows
    nothing) and, with --control, beside the same attack on an unprotected encoder. docs/audit.md says how to read it.

    Args:
        victim: The folder of a finished `oneway protect`, or an ONNX file.
        out: The new audit's folder.
        features: Stored features (npz, Parquet, safetensors, or a folder of them) instead of an encoder.
        data: The pack to audit on; a run's own by default.
        control: The unprotected run, or the audit of an unprotected encoder, to compare with.
        verifier: Judge of faces: an ONNX file, or a file made by `oneway verifier`; by default the pack's own,
            which is trained on its identities the first time.
        thorough: Add the attackers that take longest, and train each three times.
        fail_above: NAME=LIMIT: end with exit code 3 unless the interval of NAME lies at or below LIMIT.
        no_images: Leave pictures of test people out of the report.
        set: Any other field of the configuration, as in config.json: --set attackers=mirror,gan.
        resume: Continue an audit that was interrupted.
    """
    from oneway.auditing.audit import PAGE
    from oneway.auditing.audit import audit as run_audit
    from oneway.auditing.config import AuditConfig
    from oneway.auditing.config import thorough as more
    from oneway.auditing.limits import check_limits, read_limits
    from oneway.data.packed import Pack
    from oneway.models.identification import open_verifier
    from oneway.protection.run import Run
    from oneway.report.junit import write_junit
    from oneway.report.table import audit_table
    from oneway.runs import override

    limits = read_limits(_pairs(fail_above, flag="--fail-above"))
    config = override(AuditConfig(), _pairs(set))
    config = more(config) if thorough else config
    pack = None if data is None else Pack.open(data)
    opened: Run | Path | None = victim
    if victim is not None and victim.suffix != ".onnx":
        opened = Run.open(victim, pack)
        pack = opened.pack
    if pack is None:
        raise InputError("an encoder that was not trained here is audited on a pack; name it with --data")
    results = run_audit(
        opened,
        features=features,
        data=pack,
        control=control,
        out=out,
        config=config,
        verifier=open_verifier(pack, verifier),
        images=not no_images,
        resume=resume,
    )
    console = Console()
    console.print(audit_table(results))
    console.print(f"[bold]{results['verdict']['level']}[/]: {results['verdict']['sentence']}", highlight=False)
    console.print(f"report: {out / PAGE}", highlight=False, soft_wrap=True)
    if limits:
        checks = check_limits(results, limits)
        write_junit(out / "junit.xml", checks)
        for check in checks:
            console.print(f"{'passed' if check.passed else 'FAILED'}: {check.message}", highlight=False, soft_wrap=True)
        if not all(check.passed for check in checks):
            sys.exit(3)


def benchmark(
    what: Positional[Literal["defences"]],
    data: Positional[Path],
    /,
    *,
    out: Path,
    cut: UseAppendAction[tuple[str, ...]] = (),
    defence: UseAppendAction[tuple[str, ...]] = (),
    preset: Literal["small", "paper"] = "small",
    verifier: Path | None = None,
    jobs: int = 1,
    executor: Literal["local", "ray"] = "local",
    dry_run: bool = False,
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
        verifier: Judge of faces, as `oneway audit` takes it.
        jobs: Settings at a time, each in a process of its own, one for each GPU.
        executor: `local`, or `ray`: the cluster that RAY_ADDRESS names, with --set executor.job_gpus=0.5 (GPUs that a
            setting takes), executor.job_cpus or executor.gather=URL (where nodes that share no folder leave results).
        dry_run: Only list the settings, and how long they will take.
        set: Any other field, such as protect.steps=600, audit.attackers=mirror, or audit.brief=false for whole audits.
        resume: Continue a benchmark that was interrupted.
    """
    from oneway.data.packed import Pack
    from oneway.experiments.defences import PICTURE, DefencesConfig, cells, compare_defences, foresee
    from oneway.protection.config import PRESETS
    from oneway.report.table import benchmark_table
    from oneway.runs import override

    assert what == "defences"
    maker, settings = _executor(executor, jobs, _pairs(set))
    given = {name: value for name, value in {"cuts": cut, "defences": defence}.items() if value}
    config = override(DefencesConfig(protect=PRESETS[preset]()), given | settings)
    console = Console()
    if dry_run:
        for cell in cells(config, data):
            console.print(f"{cell.cut}  {cell.defence}  {cell.strength:g}", highlight=False)
        console.print(_told(foresee(Pack.open(data), out, config, verifier=verifier), jobs))
        return
    results = compare_defences(Pack.open(data), out, config, verifier=verifier, executor=maker, resume=resume)
    console.print(benchmark_table(results))
    console.print(f"picture: {out / PICTURE}", highlight=False, soft_wrap=True)


def recommend(
    benchmark: Positional[Path], /, *, cut: str, utility: float | None = None, leakage: float | None = None
) -> None:
    """Name the defence and strength to use, from a benchmark; chosen by validation people, reported by test people.

    Args:
        benchmark: The folder of a finished `oneway benchmark`.
        cut: Layer after which features leave the device.
        utility: Least share of the unprotected mean MCC, such as 0.95; the least leaking setting above it is named.
        leakage: Largest leakage of faces and of linkage, such as 0.25; the most useful setting below it is named.
    """
    from oneway.experiments.defences import recommend as choose
    from oneway.report.table import benchmark_table
    from oneway.runs import read_json

    results = read_json(benchmark / "results.json")
    if results.get("kind") != "benchmark":
        raise InputError(f"{benchmark} is not a benchmark; give the --out of a `oneway benchmark`")
    row = choose(results, cut, utility=utility, leakage=leakage)
    console = Console()
    console.print(benchmark_table({"rows": [row], "decisions": {cut: results["decisions"][cut]}}))
    command = f"oneway protect DATA --cut {cut} --defence {row['defence']}={row['strength']:g} --out RUN"
    console.print(command, highlight=False, soft_wrap=True)


def experiment(
    name: Positional[str],
    data: Positional[Path],
    /,
    *,
    out: Path,
    preset: Literal["small", "middle", "paper"] = "small",
    extra_public: Path | None = None,
    perceptual_network: str | None = None,
    verifier: Path | None = None,
    jobs: int = 1,
    executor: Literal["local", "ray"] = "local",
    dry_run: bool = False,
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
        verifier: Judge of faces, as `oneway audit` takes it.
        jobs: Settings at a time, each in a process of its own, one for each GPU.
        executor: `local`, or `ray`: the cluster that RAY_ADDRESS names, with --set executor.job_gpus=0.5 (GPUs that a
            setting takes), executor.job_cpus or executor.gather=URL (where nodes that share no folder leave results).
        dry_run: Only list the settings, and how long they will take.
        set: Any other field, such as protect.steps=600, audit.attackers=mirror or pixel=3.
        resume: Continue experiments that were interrupted.
    """
    from oneway.data.packed import Pack
    from oneway.experiments.config import PRESETS
    from oneway.experiments.experiment import NAMES, PAGE, foresee
    from oneway.experiments.experiment import experiment as run_experiments
    from oneway.report.table import experiment_table
    from oneway.runs import override

    maker, settings = _executor(executor, jobs, _pairs(set))
    names = NAMES if name == "all" else (name,)
    given = {} if perceptual_network is None else {"perceptual_network": perceptual_network}
    config = override(PRESETS[preset](), given | settings)
    pack, extra = Pack.open(data), None if extra_public is None else Pack.open(extra_public)
    console = Console()
    if dry_run:
        planned, expected = foresee(names, pack, out, config, extra=extra, verifier=verifier)
        for title, lines in planned.items():
            for line in lines:
                console.print(f"{title}  {line.id}: {line.title}", highlight=False, soft_wrap=True)
        console.print(_told(expected, jobs))
        return
    found = run_experiments(names, pack, out, config, extra=extra, verifier=verifier, executor=maker, resume=resume)
    for results in found.values():
        console.print(experiment_table(results))
    console.print(f"page: {out / PAGE}", highlight=False, soft_wrap=True)


def verifier(
    data: Positional[Path],
    /,
    *,
    out: Path,
    steps: int | None = None,
    seed: int = 0,
    device: Device = "auto",
    set: Settings = (),
) -> None:
    """Train a face verifier on a pack's private and public people, to judge attacks with.

    Args:
        data: A pack whose people appear more than once.
        out: The new safetensors file.
        steps: Steps of training.
        seed: Of the initial weights and of the order of the pictures.
        device: Where to train.
        set: Any other field of the configuration: --set width=0.5.
    """
    from oneway.data.packed import Pack
    from oneway.judge import Judge
    from oneway.models.identification import IdentificationConfig, identify
    from oneway.report.table import verifier_line
    from oneway.runs import override
    from oneway.runtime import RuntimeConfig

    if out.exists():
        raise InputError(f"{out} exists; choose another --out, or delete it")
    pack = Pack.open(data)
    given = {"seed": seed} | ({} if steps is None else {"steps": steps})
    config = override(IdentificationConfig(), given | _pairs(set))
    made = identify(pack, out, config, runtime=RuntimeConfig(device=device))
    Console().print(verifier_line(Judge(pack.test, pack.validation, made).about_verifier()), highlight=False)


def demo(*, out: Path = Path("demo"), seed: int = 0) -> None:
    """Draw faces, protect an encoder, attack it and its unprotected twin, and show what leaks; a few minutes.

    Args:
        out: Folder for all of it; what is there and finished is not made again.
        seed: Of the people drawn, of the training and of the attacks.
    """
    from oneway.demo import demo as run_demo

    run_demo(out, seed=seed)


COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": prepare,
    "protect": protect,
    "attack": attack,
    "audit": audit,
    "benchmark": benchmark,
    "recommend": recommend,
    "experiment": experiment,
    "verifier": verifier,
    "demo": demo,
}


def _pairs(settings: Sequence[str], *, flag: str = "--set") -> dict[str, Any]:
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not equals:
            raise InputError(f"{flag} takes NAME=VALUE, not {name!r}")
    return {name: value for name, _, value in pairs}


def _executor(kind: Literal["local", "ray"], jobs: int, pairs: dict[str, Any]) -> tuple[Executor, dict[str, Any]]:
    """Make the executor that a command names; gives the settings of its configuration too."""
    from oneway.runs import override

    prefix = "executor."
    own = {name.removeprefix(prefix): value for name, value in pairs.items() if name.startswith(prefix)}
    made = override(Executor(kind=kind, jobs=jobs), own)
    made.check()
    return made, {name: value for name, value in pairs.items() if not name.startswith(prefix)}


def _told(expected: Estimate, jobs: int) -> str:
    """Say how long what is planned will take."""
    from oneway.report.figure import duration

    told = duration(expected.seconds / jobs)
    return f"{expected.runs} encoders to train, {expected.audits} to audit: about {told} here"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; what a user did wrong is said in one line, with exit code 2."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="oneway",
            description="Train image encoders whose features keep a task and cannot be turned back into the image, "
            "and measure how far that holds.",
            args=arguments,
            config=(
                tyro.conf.FlagCreatePairsOff,
                tyro.conf.DisallowNone,
                tyro.conf.OmitArgPrefixes,
                tyro.conf.OmitSubcommandPrefixes,
            ),
        )
    except (InputError, DivergedError, LostError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_escaped(error)}", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        given = list(sys.argv[1:] if arguments is None else arguments)
        way = {"demo": "give the same command again to continue", "verifier": "give the same command to start again"}
        hint = way.get(given[0] if given else "", "add --resume to the same command to continue")
        Console(stderr=True).print(f"stopped; {hint}", highlight=False)
        sys.exit(130)


def _escaped(error: Exception) -> str:
    return " ".join(str(error).split()).replace("[", r"\[")
