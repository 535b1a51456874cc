"""The commands that make something: a pack of pictures, an encoder, a judge of faces, the demonstration."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro
from tyro.conf import Positional

from oneway.cli.options import Data, Device, Settings, given, pairs, required, show, without_nothing
from oneway.console import console
from oneway.data.readers.layouts import Packing, layouts
from oneway.errors import InputError
from oneway.plugins import Unfit, blamed, points

if TYPE_CHECKING:
    from oneway.data.packed import Part


def _layouts() -> Any:
    """Make the subcommands of `prepare`, those of other packages too, when they are asked for."""
    kinds = layouts()
    for kind in kinds.values():
        kind.__annotations__ = without_nothing(kind, {field.name: field.default for field in fields(kind)})
    return Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())]  # noqa: UP007


def prepare(layout: Annotated[Packing, tyro.conf.arg(constructor_factory=_layouts)]) -> None:
    """Turn a dataset into a pack: pictures of one size in one file, people divided into private, public and test.

    Each picture becomes RGB of 8 bits, the first of several frames, white where it is transparent; docs/pictures.md
    says what is read and what is refused.
    """
    from oneway.data.columns import said
    from oneway.data.prepare import prepare as pack
    from oneway.data.source import READERS, Source

    square = layout.square()
    name = next(name for name, kind in layouts().items() if kind is type(layout))
    with blamed(READERS, name):
        source = layout.source()
        if not isinstance(source, Source):
            raise Unfit(f"must give an oneway.data.source.Source by `source`, not {source!r:.80}")
    made = pack(
        source,
        layout.out,
        **square,
        public=layout.public,
        seed=layout.seed,
        jobs=layout.jobs,
        skip_bad=layout.skip_bad,
        resume=layout.resume,
        **layout.further(),
    )
    parts = (made.private, made.public, made.validation, made.test)
    counts = ", ".join(f"{part.split} {len(part)}{_people(part)}" for part in parts)
    summary = f"{made.path}: {said(made.attributes, made.classes, made.numbers)}; pictures: {counts}"
    if made.num_unknown() == sum(map(len, parts)):
        summary += "; which belong to one person, or to one of whatever else, is unknown, so they may be in two parts"
    console().print(summary, soft_wrap=True)


def _people(part: Part) -> str:
    """Say how many people a part shows, as far as that is known."""
    known, unknown = part.num_people - part.num_unknown, part.num_unknown
    if not unknown:
        return f" of {known} people"
    return f" of {known} people and {unknown} of unknown people" if known else ""


def _defences() -> str:
    """Say which defences there are, those of other packages too, when help is asked for."""
    from oneway.protection.recipes import names

    return (
        "NAME or NAME=STRENGTH, each on its own scale; by default recipe, whose strength is its noise (paper with the "
        f"preset of that name); none is the unprotected control. One of {', '.join(names())}."
    )


def _tasks() -> str:
    """Say which tasks there are, those of other packages too, when help is asked for."""
    known = ", ".join(("attributes", "multiclass", "regression", *points("oneway.tasks")))
    return (
        "What the features are for: COLUMN of the pack's labels, or TASK:COLUMN, such as regression:age; several with "
        f"commas between. By default all columns where all are binary, or the only one. One of {known}."
    )


def protect(
    data: Data = None,
    /,
    *,
    out: Path | None = None,
    preset: Literal["small", "paper"] = "small",
    cut: str | None = None,
    task: Annotated[str | None, tyro.conf.arg(help=_tasks())] = None,
    defence: Annotated[str | None, tyro.conf.arg(help=_defences())] = None,
    steps: int | None = None,
    seed: int | None = None,
    device: Device | None = None,
    set: Settings = (),
    show_config: bool = False,
    resume: bool = False,
) -> None:
    """Train an encoder whose features keep a task and resist inversion, by the recommended recipe or another defence.

    What it resists is not known until it is attacked afresh: run `oneway attack` on the result.

    Args:
        data: A pack made by `oneway prepare`.
        out: The new run's folder.
        preset: Network and budget: `small` takes two processors minutes, `paper` is ResNet-50 and the paper's game.
        cut: Layer after which features leave the device: conv1, layer1 to layer4, avgpool or fc of a ResNet; by default
            layer2 (fc with the preset paper).
        task: COLUMN or TASK:COLUMN, several with commas between; --help lists them.
        defence: NAME or NAME=STRENGTH; --help lists them.
        steps: Steps of the encoder.
        seed: Of the initial weights and of the order of the pictures.
        device: Where to train; by default a GPU if there is one.
        set: Any other field of the configuration, as in config.json: --set network.width=0.5, --set runtime.devices=8
            (processes that share every batch), --set runtime.num_nodes=2.
        show_config: Only print every field of the configuration as it would be used; DATA and --out may be left out.
        resume: Continue a run that was interrupted.
    """
    from oneway.config import override
    from oneway.data.packed import Pack
    from oneway.protection.config import PRESETS
    from oneway.protection.recipes import prescribe, read_recipe
    from oneway.protection.run import sharing
    from oneway.protection.train import protect as train
    from oneway.report.table import utility_line
    from oneway.runtime import is_first

    flags = {"network.cut": cut, "task": task, "steps": steps, "seed": seed, "runtime.device": device}
    config = PRESETS[preset]()
    if defence is not None:
        config = prescribe(config, *read_recipe(defence))
    config = override(config, given(flags))
    config = override(config, pairs(set))
    if show_config:
        show(config)
        return
    data, out = required(data, "DATA"), required(out, "--out")
    run = train(Pack.open(data), out, config, resume=resume)
    if not is_first():
        return
    for line in (run.task.said, utility_line(run.report.utility, run.pack.test.num_unknown), *sharing(config)):
        console().print(line)
    console().print(f"{run.path}: now attack it afresh: oneway attack {run.path}", soft_wrap=True)


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
        set: Any other field: --set width=0.5 (factor on its channels), feature_width, batch_size, learning_rate.
    """
    from oneway.config import override
    from oneway.data.packed import Pack
    from oneway.judges.identification import IdentificationConfig, identify
    from oneway.judges.judge import Judge
    from oneway.report.table import verifier_line
    from oneway.runtime import RuntimeConfig

    if out.exists():
        raise InputError(f"{out} exists; choose another --out, or delete it")
    pack = Pack.open(data)
    config = override(IdentificationConfig(), {**given({"seed": seed, "steps": steps}), **pairs(set)})
    made = identify(pack, out, config, runtime=RuntimeConfig(device=device))
    console().print(verifier_line(Judge(pack.test, pack.validation, made).report))


def demo(*, out: Path = Path("demo"), seed: int = 0) -> None:
    """Draw faces, protect an encoder, audit it and its unprotected twin, and say what leaks; ten minutes.

    Args:
        out: Folder for all of it; what is there and finished is not made again.
        seed: Of the people drawn, of the training and of the attacks.
    """
    from oneway.demo import demo as run_demo

    run_demo(out, seed=seed)
