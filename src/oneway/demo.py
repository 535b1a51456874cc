"""The demonstration: drawn faces, a protected encoder and its unprotected twin, a fresh attack on each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from oneway import runs
from oneway.attacks.inversion import InversionConfig
from oneway.auditing.attack import GRID, attack
from oneway.auditing.finished import read_results
from oneway.console import console, marked
from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.errors import InputError
from oneway.models.identification import OWN, IdentificationConfig, identify, load
from oneway.models.verifier import Verifier
from oneway.protection.config import ProtectConfig, small
from oneway.protection.recipes import prescribe
from oneway.protection.run import Run
from oneway.protection.train import protect
from oneway.report.table import attack_table, verifier_line

PEOPLE, SHOTS, SIZE = 800, 6, 64
CUT = "layer2"
STEPS, JUDGE_STEPS, ATTACK_STEPS = 600, 300, 800


def demo(out: Path, *, seed: int = 0) -> None:
    """Draw faces, train both encoders by default settings, attack both, print the table and the picture's path.

    Args:
        out: folder for all of it; finished parts are taken as they are, unfinished ones are continued.
        seed: of everything.

    """
    said = console()
    said.print(marked("1/4", " drawing faces of people who do not exist"))
    pack = _pack(out / "faces", seed)
    said.print(marked("2/4", " training the judge: a face verifier"))
    verifier = _judge(pack, seed)
    protected = replace(small(), steps=STEPS, seed=seed, network=replace(small().network, cut=CUT))
    unprotected = prescribe(protected, "none")
    attacks = {}
    for number, (name, title, config) in enumerate(
        [("unprotected", "an unprotected encoder", unprotected), ("protected", "a protected encoder", protected)],
        start=3,
    ):
        said.print(marked(f"{number}/4", f" training {title}, then attacking it with a decoder trained from scratch"))
        run = _run(pack, out / name, config)
        control = None if name == "unprotected" else out / "unprotected" / "attack"
        attacks[name] = _attack(run, InversionConfig(max_steps=ATTACK_STEPS, seed=seed), verifier, control)
    said.print(verifier_line(attacks["protected"]["verifier"]))
    said.print(attack_table(attacks["protected"]))
    said.print(
        f"original above reconstruction, unprotected and protected: {out / 'protected' / 'attack' / GRID}",
        soft_wrap=True,
    )


def _pack(path: Path, seed: int) -> Pack:
    if path.exists():
        return Pack.open(path)
    return prepare(synthetic_source(PEOPLE, SHOTS, seed), path, size=SIZE, seed=seed, resume=True)


def _judge(pack: Pack, seed: int) -> Verifier:
    path = pack.path / OWN
    return load(path) if path.exists() else identify(pack, path, IdentificationConfig(steps=JUDGE_STEPS, seed=seed))


def _run(pack: Pack, path: Path, config: ProtectConfig) -> Run:
    if not (path / runs.RESULTS).exists():
        return protect(pack, path, config, resume=True)
    run = Run.open(path, pack)
    if run.config != config:
        raise InputError(f"{path} was made with other settings; delete {path.parent} or choose another --out")
    return run


def _attack(run: Run, config: InversionConfig, verifier: Verifier | None, control: Path | None) -> dict[str, Any]:
    results = run.path / "attack" / runs.RESULTS
    if results.exists():
        return read_results(run.path / "attack", "attack", "oneway demo --out NEW")
    return attack(run, config=config, verifier=verifier, control=control, resume=True)
