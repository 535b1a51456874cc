"""One attacker on one run: a fresh decoder, scored on the test people, beside its floors and its control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from oneway import runs
from oneway.attacks.access import Access, BlackBox
from oneway.attacks.fit import Fitted, Place
from oneway.attacks.floors import nearest_by_output
from oneway.attacks.inversion import InversionConfig, draw_decoder, invert
from oneway.auditing.faces import chosen_pictures, decoded_pictures, pixels_of, repeated_pictures
from oneway.auditing.finished import check_same_judge, check_same_settings, read_results, require_fingerprint, without
from oneway.auditing.guards import check_disjoint, check_judge
from oneway.claims import check_claim, claim, tidy
from oneway.data.packed import Pack
from oneway.data.shards import reading
from oneway.errors import InputError
from oneway.files import read_array
from oneway.judge import Judge, identified
from oneway.metrics.estimate import Estimate
from oneway.models.company import check_company
from oneway.models.decoder import stages_of
from oneway.models.verifier import Verifier
from oneway.protection.config import read
from oneway.protection.game import Protector
from oneway.protection.run import Run, predict
from oneway.report.grid import draw_grid
from oneway.runtime import RuntimeConfig, launch, lay_out
from oneway.storage import whole

COMMAND = "oneway attack CONTROL --out NEW"
SHOWN = 8
DECODER, SHOWN_FILE, GRID = "decoder.safetensors", "shown.npy", "grid.png"


def attack(
    run: Run,
    out: Path | str | None = None,
    config: InversionConfig | None = None,
    *,
    verifier: Verifier | None = None,
    control: Path | str | None = None,
    runtime: RuntimeConfig | None = None,
    network: nn.Module | None = None,
    images: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Say what someone learns who steals a run's features: train a decoder from scratch, score it on the test people.

    Args:
        run: the victim; its encoder is frozen.
        out: a new folder for the attack; `attack` in the run's own by default.
        config: the attacker's decoder and schedule.
        verifier: compares faces; without one there are no identity scores.
        control: the folder of the same attack on the unprotected encoder.
        runtime: where it runs.
        network: the module, if the run protects one of your own.
        images: draw test people above their reconstructions. Without, no picture of them is written; drawn faces are
            shown all the same.
        resume: continue the unfinished attack in `out`.
        progress: show a bar.

    Returns:
        what `results.json` holds, as docs/results.md describes it.

    Raises:
        InputError: for anything that cannot be used.
        DivergedError: if the attacker's error is no longer finite.

    """
    config = config or InversionConfig()
    out = run.path / "attack" if out is None else Path(out)
    asked: dict[str, Any] = {
        "attack": runs.named(config),
        "run": run.about,
        "data": run.pack.about,
        "images": images or run.pack.drawn,
    }
    passed = check_disjoint(run.pack)
    compared = None if control is None else _control(Path(control), run, asked)
    if config.perceptual:
        raise InputError(
            f"perceptual = {config.perceptual:g} needs a perceptual network, which one attack alone is not given; run "
            "oneway audit --set attackers=perceptual --set perceptual=vgg16"
        )
    protector, pack = run.load(network), run.pack
    stages = stages_of(protector.encoder, pack.size)
    check_claim(out, resume=resume)
    runtime = runtime or RuntimeConfig()
    fabric = launch(runtime)
    protector = lay_out(protector, fabric.device)
    access = BlackBox(protector.encoder, fabric, pack.size)
    check_company(protector.encoder, pack.public, fabric.device)
    decoder = draw_decoder(config, access.shape, stages, pack.size)
    described = asked | {"verifier": identified(verifier)}  # all else is checked: the pack's own may be trained for it
    if control is not None and compared is not None:
        check_same_judge(Path(control), compared["provenance"]["verifier"], described["verifier"])
    judge = Judge(pack.test, pack.validation, verifier)
    with claim(out, described, resume=resume) as continued:
        if continued:
            require_fingerprint(described["verifier"], f"what is finished in {out}")
        place = Place(
            fabric=fabric,
            checkpoint=out / runs.CHECKPOINT,
            checkpoint_seconds=runtime.checkpoint_seconds,
            progress=progress,
        )
        inversion = invert(access, pack.public, pack.validation, decoder, config, place)
        queries = access.queries
        if config.keep:
            runs.write_tensors(out / DECODER, inversion.network.state_dict(), {"width": config.width})

        about = judge.about_verifier()
        with access.seeded(config.seed, "nearest"):
            nearest = _nearest(fabric, protector, pack)
        with access.seeded(config.seed, "scores"):
            scores = judge.score(decoded_pictures(access, inversion.network, pack.test, place))
        floors = {
            "mean_face": judge.score(repeated_pictures(judge.mean_face, pack.test)),
            "nearest_by_output": judge.score(chosen_pictures(nearest, pack)),
        }
        results = {
            "schema": runs.SCHEMA,
            "kind": "attack",
            "utility": runs.read_json(run.path / runs.RESULTS)["utility"],
            "attacks": {"inversion": _plain(scores) | _course(inversion, queries)},
            "floors": {"constant_prediction": {"mean_mcc": 0.0}}
            | {name: _plain(floor) for name, floor in floors.items()},
            "control": None if compared is None else _beside(compared),
            "verifier": about,
            "guards": passed + check_judge(about),
            "provenance": runs.provenance(**described, protect=runs.named(run.config)),
        }
        if described["images"]:
            with access.seeded(config.seed, "shown"):
                _show(out, access, inversion.network, pack, place, None if compared is None else compared["shown"])
        runs.write_json(out / runs.RESULTS, results)
        tidy(out, runs.CHECKPOINT)
        return results


def _control(path: Path, run: Run, asked: dict[str, Any]) -> dict[str, Any]:
    """Read the control's results, unless they are of another question; with its pictures as `shown`, where any are."""
    results = read_results(path, "attack", COMMAND)
    made = results["provenance"]
    trained = read(made["protect"], f"{path}: ")
    if trained.protects:
        raise InputError(
            f"the control {path} attacked a protected run ({', '.join(trained.protection)}); give the attack on a run "
            "with --pixel 0"
        )
    theirs = {"data": made["data"]["hash"], "attack": without(made["attack"], "keep"), **trained.of_control()}
    attack = without(asked["attack"], "keep")
    ours = {"data": asked["data"]["hash"], "attack": attack, **read(runs.named(run.config)).of_control()}
    check_same_settings(path, theirs, ours, COMMAND)
    if asked["images"]:
        if not (path / SHOWN_FILE).is_file():
            raise InputError(f"the control {path} kept no pictures to stand beside these; make it again with --images")
        with reading(path / SHOWN_FILE):
            results["shown"] = read_array(path / SHOWN_FILE)
    return results


def _beside(control: dict[str, Any]) -> dict[str, Any]:
    """Give what of the control's results stands in those beside it."""
    return {"run": control["provenance"]["run"], "utility": control["utility"], "attacks": control["attacks"]}


def _nearest(fabric: Fabric, protector: Protector, pack: Pack) -> NDArray[np.int64]:
    return nearest_by_output(predict(fabric, protector, pack.test), predict(fabric, protector, pack.public))


def _plain(scores: dict[str, Estimate]) -> dict[str, Any]:
    return {name: score.to_dict() for name, score in scores.items()}


def _course(inversion: Fitted[Any], queries: int) -> dict[str, Any]:
    return {
        "converged": inversion.converged,
        "steps": inversion.steps,
        "queries": queries,
        "validation_mse": inversion.validation_error,
    }


def _show(
    out: Path, access: Access, decoder: nn.Module, pack: Pack, place: Place, control: NDArray[np.uint8] | None
) -> None:
    """Draw pictures of test people above their reconstructions, and those of the control between.

    The people are spread evenly, not picked.
    """
    first = np.unique(pack.test.identities, return_index=True)[1]
    shown = first[np.linspace(0, len(first) - 1, min(SHOWN, len(first))).astype(int)]
    originals = pack.test.images(shown)
    drawn = pixels_of(access, decoder, pack.test, shown, place)
    with whole(out / SHOWN_FILE) as partial, partial.open("wb") as file:
        np.save(file, drawn)
    rows = {"original": originals}
    if control is not None:
        rows["unprotected, attacked"] = control
    rows["protected, attacked" if control is not None else "attacked"] = drawn
    with whole(out / GRID) as partial:
        draw_grid(rows, partial)
