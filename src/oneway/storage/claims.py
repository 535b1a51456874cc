"""Who may write into a folder: it is taken once everything is checked, by one process, for one configuration."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning_fabric import Fabric

from oneway.errors import DivergedError, InputError
from oneway.storage.atomic import clear, hold
from oneway.storage.runs import CONFIG, RESULTS, flat, read_json, write_json

KEPT = (".safetensors", ".npz")
"""Suffixes of what an interrupted run is continued from."""
PLACES = (
    *("run.name", "data.name", "data.path", "extra.name", "verifier.name", "judges.name"),
    *("victim.run", "victim.onnx", "victim.features"),
)
"""What a run was made of and its judge are called, and where they lay: the same elsewhere is the same, as the hash
beside it says."""

LAYOUT = "schema"
"""Names the version of the layout of results in a configuration whose finished steps are read again as results."""


@contextmanager
def claim(folder: Path, config: Mapping[str, object], *, resume: bool, finished: str = RESULTS) -> Iterator[bool]:
    """Make `folder` the home of a run with `config`, and this process's own until the block ends.

    Says whether an unfinished run is to be continued. A run that is refused (or diverges) before anything is kept that
    could be continued leaves nothing, so that its correction finds the folder free.

    Raises:
        InputError: if the folder holds a finished run, an unfinished one without `resume`, one of another
            configuration, or files that are no run; if another process works there, or it cannot be written.

    """
    with hold(folder):
        continued = _occupied(folder, resume, finished)
        if continued:
            _compare(folder, config)
        else:
            write_json(folder / CONFIG, config)
        try:
            yield continued
        except (InputError, DivergedError):
            if not continued and not any(each.suffix in KEPT for each in folder.rglob("*")):
                clear(folder)
            raise


@contextmanager
def claim_in_one(fabric: Fabric, folder: Path, config: Mapping[str, object], *, resume: bool) -> Iterator[bool]:
    """Claim a folder in the first of several processes; what is wrong is raised in all, so that none waits."""
    with ExitStack() as held:
        answer: bool | InputError = False
        if fabric.is_global_zero:
            try:
                answer = held.enter_context(claim(folder, config, resume=resume))
            except InputError as error:
                answer = error
        answer = fabric.broadcast(answer)
        if isinstance(answer, InputError):
            raise answer
        yield answer


def check_claim(folder: Path, *, resume: bool, finished: str = RESULTS) -> None:
    """Refuse what `claim` would refuse whatever the configuration, before long work is begun; nothing is left.

    Raises:
        InputError: as `claim` does.

    """
    with hold(folder):
        _occupied(folder, resume, finished)


def _occupied(folder: Path, resume: bool, finished: str) -> bool:
    """Say whether a folder holds an unfinished run that is to be continued."""
    if not any(folder.iterdir()):
        return False
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} exists and is not a run of ours; choose another --out")
    if (folder / finished).exists():
        raise InputError(f"{folder} holds a finished run; choose another --out, or delete it to run again")
    if not resume:
        raise InputError(f"{folder} holds an unfinished run; add --resume to continue it, or choose another --out")
    return True


def _compare(folder: Path, config: Mapping[str, object]) -> None:
    """Hold a configuration to the one that a run was started with."""
    asked, held = flat(config), flat(read_json(folder / CONFIG))
    apart = [name for name in {**asked, **held} if held.get(name) != asked.get(name)]
    differing = [name for name in apart if ".runtime." not in name and re.sub(r"\.\d+\.", ".", name) not in PLACES]
    if LAYOUT in differing:
        raise InputError(
            f"{folder} was started by a version of oneway whose results have {_schema(held.get(LAYOUT))}, and those of "
            f"this one have {_schema(asked.get(LAYOUT))}: finish it with that version, choose another --out, or delete "
            "the folder"
        )
    if differing:
        name = differing[0]
        raise InputError(
            f"{folder} was started with {name} = {held.get(name)!r}, not {asked.get(name)!r}; "
            "resume with the options it was started with, or choose another --out"
        )


def _schema(number: object) -> str:
    return "no schema" if number is None else f"schema {number!r}"


def tidy(folder: Path, *names: str) -> None:
    """Remove from a finished run what only an unfinished one needs, and what a killed one left half written."""
    for each in [*(folder / name for name in names), *folder.glob(".*.partial")]:
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)
