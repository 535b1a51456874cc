"""The commands that take an encoder to where it is used: a bundle, its card, its server, and what it receives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from oneway.cli.options import Settings, pairs
from oneway.console import console, marked
from oneway.errors import InputError


def export(
    run: Positional[Path],
    /,
    *,
    out: Path,
    data: Path | None = None,
    bits: Literal[8, 4] = 8,
    attack: Path | None = None,
    key: Path | None = None,
) -> None:
    """Make a bundle of a finished run: ONNX files for the device and the server, the contract between them, a client.

    It is compared with the run on every test picture, and written only if it says the same. docs/shipping.md says
    what is in it. What its bytes give away is not known until it is audited: run `oneway audit` on it.

    Args:
        run: The folder of a finished `oneway protect`.
        out: The new bundle's folder.
        data: The run's pack, if it has moved.
        bits: Of each number that is sent, after the noise.
        attack: The folder of an `oneway audit` of the run, or of an `oneway attack`, with --set keep=true: its
            strongest attacker becomes attacker.onnx, by which the page of `oneway serve` shows what a thief would draw.
            Whoever has it turns what is sent into pictures.
        key: A private key (PEM, Ed25519) to sign the contract by.
    """
    from oneway.data.packed import Pack
    from oneway.protection.run import Run
    from oneway.shipping.contract import bundle_hash, read_contract
    from oneway.shipping.export import export as make

    opened = Run.open(run, None if data is None else Pack.open(data))
    parity = make(opened, out, bits=bits, key=key, attack=attack)
    contract, said = read_contract(out), console()
    said.print(
        f"{out}: bundle {bundle_hash(out)[:12]}; each picture becomes {contract.numbers} numbers, "
        f"{contract.num_bytes} bytes",
        soft_wrap=True,
    )
    for line in parity.lines:
        said.print(line, soft_wrap=True)
    said.print(f"now audit the bytes that it sends: oneway audit {out} --data {opened.pack.path}", soft_wrap=True)


def card(bundle: Positional[Path], /, *, audit: Path, key: Path | None = None) -> None:
    """Give a bundle its card, card.html and card.json: what it does, what leaks, who is assumed to hold what.

    Args:
        bundle: The folder of an `oneway export`.
        audit: The folder of an `oneway audit` of this bundle; no other says what its bytes give away.
        key: A private key (PEM, Ed25519) to sign the card by.
    """
    from oneway.shipping.attach import attach
    from oneway.shipping.contract import PAGE

    made = attach(bundle, audit, key=key)
    console().print(marked(made.verdict.level, f": {made.verdict.sentence}"))
    console().print(f"card: {bundle / PAGE}", soft_wrap=True)


def verify_bundle(bundle: Positional[Path], /, *, key: Path | None = None) -> None:
    """Check that a bundle is what was made: every file by its hash, nothing outside; exit code 3 if not.

    Args:
        bundle: The folder of an `oneway export`.
        key: The public key (PEM, Ed25519) that contract and card must be signed by; without one, who changes a file
            can change its hash too.
    """
    from oneway.shipping.contract import CARD, bundle_hash
    from oneway.shipping.verify import verify

    wrong = verify(bundle, key)
    for each in wrong:
        console().print(marked("FAILED", f": {each}"), soft_wrap=True)
    if wrong:
        sys.exit(3)
    audited = "its card is of these bytes" if (bundle / CARD).exists() else "it has no card: it was not audited"
    signed = "not held to a signature" if key is None else f"signed by {key.name}"
    console().print(f"{bundle}: bundle {bundle_hash(bundle)[:12]} is whole; {audited}; {signed}", soft_wrap=True)


def serve(
    bundles: Positional[tuple[Path, ...]],
    /,
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    web: Path | None = None,
    detector: Path | None = None,
    control: Path | None = None,
    set: Settings = (),
) -> None:
    """Answer over HTTP by a bundle: the bytes that its devices send, to decisions. Nothing is stored.

    POST /decide takes bytes as the bundle's client.py sends them (`client.py ask PICTURE --url URL`); /openapi.json
    describes it all, and docs/serving.md says what is refused.

    Args:
        bundles: The folder of an `oneway export`, or of several, which the page compares; every file is held to its
            contract first.
        port: The port to listen at; 0 lets the system choose.
        host: The address to listen at; by default only this machine reaches it. TLS is for a proxy before it.
        token_file: A file with the token that clients must send; without one, whoever reaches it is answered.
        web: A folder with onnxruntime-web's files (its dist), or `npm`, which fetches them once: with them the page
            at / runs the device's half in a browser.
        detector: An ONNX file of YuNet, by which that page finds faces; without it, a person moves the picture.
        control: The bundle of an unprotected encoder, with its attacker: the page shows what a thief would draw of
            both.
        set: A bound: --set batch=64 (messages of one request), requests (at a time), seconds (for a body to arrive,
            and for answers to be finished at the end), remembered (ids of requests),
            watch (answers after which /metrics says anew whether they are what was audited).
    """
    from oneway.config import override

    try:
        from oneway.serving.config import ServeConfig
        from oneway.serving.page import Shown
        from oneway.serving.server import serve as run
    except ModuleNotFoundError as error:
        raise InputError(
            f"the server needs {error.name}, which is not installed; install oneway[serve] as `oneway doctor` says"
        ) from error
    run(
        bundles,
        host=host,
        port=port,
        token_file=token_file,
        shown=Shown(web=web, detector=detector, control=control),
        config=override(ServeConfig(), pairs(set)),
    )


def watch(
    bundle: Positional[Path],
    /,
    *,
    features: Path,
    canary: Path | None = None,
    false_alarms: float = 0.001,
    json: Path | None = None,
    metrics: Path | None = None,
) -> None:
    """Watch a bundle in use: is what a server receives still what was audited? Exit code 3 if not.

    It keeps statistics, never what was received. docs/watching.md says what each alarm means.

    Args:
        bundle: The folder of an `oneway export`.
        features: What was received of whoever sends: a folder of .bin files or one, or a dump (npz, Parquet,
            safetensors).
        canary: The same of pictures that you know, several answers for each, in one .bin file or under one name;
            PERSON/PICTURE names people too.
        false_alarms: Share of watches of honest answers that raise an alarm, all checks together.
        json: File for the report.
        metrics: File for Prometheus, which its node exporter collects.
    """
    from oneway.config import to_dict
    from oneway.storage.runs import write_json
    from oneway.watching.report import write_metrics
    from oneway.watching.watch import watch as look

    report, said = look(bundle, features, canary=canary, false_alarms=false_alarms), console()
    if json is not None:
        write_json(json, to_dict(report))
    if metrics is not None:
        write_metrics(report, metrics)
    for check in report.checks:
        said.print(marked("ALARM" if check.alarm else "passed", f": {check.name}: {check.sentence}"), soft_wrap=True)
    for name, reason in report.unchecked.items():
        said.print(f"not checked: {name}: {reason}", soft_wrap=True)
    if report.alarms:
        sys.exit(3)
