"""What a protect run says of how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from oneway.config import AsTuple, Count, Names, checked, from_dict
from oneway.data.description import DESCRIPTION
from oneway.errors import InputError
from oneway.protection.config import ProtectConfig, current
from oneway.storage import runs
from oneway.tasks.attributes import Attributes
from oneway.tasks.registry import AnyTask, whole
from oneway.tasks.task import Task


@checked
@dataclass(frozen=True, kw_only=True)
class Data:
    """The pack that a run was trained on.

    Attributes:
        hash: of the pack.
        path: where it lay, seen from the run, if that may be said.
        name: of its folder.

    """

    hash: str
    path: str | None
    name: str = "its pack"


@checked
@dataclass(frozen=True, kw_only=True)
class Made:
    """What the `config.json` of a protect run says.

    Attributes:
        protect: what it was made with.
        data: what it was made on.
        network: the class of the module of one's own that it protects, if it is no configured backbone.
        size: pixels a side of its pictures; not said by 0.1.0.
        attributes: that it decides, in the order of the logits; not said by 0.1.0.
        task: how it decides them; not said where all of them are binary attributes by 0.1.0.

    """

    protect: ProtectConfig
    data: Data
    network: str | None
    size: Count | None = None
    attributes: Names = ()
    task: Annotated[tuple[AnyTask, ...], AsTuple] = ()

    def __post_init__(self) -> None:
        columns = tuple(column for head in self.task for column in head.columns)
        if self.task and columns != self.attributes:
            raise InputError(f"task must decide {', '.join(self.attributes)}, not {', '.join(columns)}")


def task_of_run(made: Made, attributes: tuple[str, ...]) -> Task:
    """Give the task that a run was made for: as it says, or in 0.1.0, binary `attributes`."""
    return whole(made.task) if made.task else Attributes(columns=made.attributes or attributes)


def finished(path: Path) -> Made:
    """Read the configuration of the finished run at `path`, which this version or 0.1.0 made.

    Raises:
        InputError: if there is none, or it is damaged.

    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give the --out of a `oneway protect` that has finished")
    if (path / DESCRIPTION).is_file():
        raise InputError(f"{path} is a pack; give the --out of a `oneway protect` on it that has finished")
    content = runs.read_json(path / runs.CONFIG)
    if "protect" not in content:
        raise InputError(f"{path} is not a protect run; give the --out of a `oneway protect`")
    if not (path / runs.RESULTS).is_file():
        raise InputError(f"{path} holds an unfinished run; continue it with `oneway protect ... --resume`")
    described = content | {"protect": current(content["protect"])}
    return from_dict(Made, described, f"{path / runs.CONFIG}: ", "the run must be made again")
