"""Every task by name, and how one is chosen: as it is asked for, or by the pack where that leaves no doubt.

Another package adds one by an entry point of the group `oneway.tasks` that names a class of `tasks.task.Task`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from oneway.data.packed import Pack, Part
from oneway.errors import InputError, unknown
from oneway.laws import hints_of
from oneway.plugins import blamed, loaded, points
from oneway.tasks.attributes import Attributes
from oneway.tasks.multiclass import Multiclass
from oneway.tasks.regression import Regression
from oneway.tasks.several import Several
from oneway.tasks.task import GROUP, Task

_OWN: dict[str, type[Task]] = {"attributes": Attributes, "multiclass": Multiclass, "regression": Regression}
USUAL = {"binary": "attributes", "classes": "multiclass", "numbers": "regression"}
"""The task of a column of each kind, where none is named."""


@cache
def kinds() -> dict[str, type[Task]]:
    """Give the class of every task by name, those of other packages last.

    Raises:
        InputError: for another package's that cannot be used: naming the package and the entry point.

    """
    taken = (*_OWN, "several")
    return _OWN | {name: loaded(point, partial(_wrong, name)) for name, point in points(GROUP, taken).items()}


def _wrong(name: str, made: Any) -> str | None:
    """Say what is wrong with the class of a task."""
    if not (isinstance(made, type) and issubclass(made, Task)):
        return f"must be a class of Task, not {made!r}"
    if "__pydantic_fields__" not in vars(made):
        return "must be made by `@checked` of oneway.config above `@dataclass(frozen=True, kw_only=True)`"
    if hints_of(made)["name"] != Literal[name]:
        return f'must have a field `name: Literal["{name}"] = "{name}"`'
    lacking = [said for said in ("kinds", "title", "unit") if not getattr(made, said, None)]
    if made.of.__func__ is Task.of.__func__:  # type: ignore[attr-defined]
        lacking.append("of")
    lacking += sorted(made.__abstractmethods__)
    return f"must have `{lacking[0]}`" if lacking else None


if TYPE_CHECKING:
    AnyTask = Task
else:
    AnyTask = Annotated[reduce(or_, kinds().values()), Field(discriminator="name")]
Head = tuple[str | None, str]
"""What is asked for: a task, or none where the column decides, and a column."""


def whole(heads: Sequence[Task]) -> Task:
    """Make one task of one or several."""
    if len(heads) == 1:
        return heads[0]
    return Several(columns=tuple(column for head in heads for column in head.columns), heads=tuple(heads))


def task_of(pack: Pack, asked: Sequence[str] = ()) -> Task:
    """Make the task of a pack, and hold its labels to it.

    Args:
        pack: whose private people it is learned from.
        asked: COLUMN or TASK:COLUMN each; by default all columns where all are binary, or the only one.

    Raises:
        InputError: if the pack lacks such a task, or its labels are missing or of no use, or what is asked for is in
            doubt.

    """
    heads = [_read(item, pack) for item in asked] or _usual(pack)
    columns = [column for _, column in heads]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"task: {', '.join(twice)}: named more than once; name each once")
    grouped: dict[str, list[str]] = {}
    for task, column in heads:
        name = task or _usual_task(pack, column)
        group = name if kinds()[name].together else f"{name}:{column}"
        grouped.setdefault(group, []).append(column)
    held: tuple[Part, ...] = (pack.validation, pack.test)
    return whole([made(name.partition(":")[0], tuple(each), pack.private, held) for name, each in grouped.items()])


def made(name: str, columns: tuple[str, ...], training: Part, held: Sequence[Part]) -> Task:
    """Make a task by its name; raises as `task_of` does."""
    kind, pack = kinds()[name], training.pack
    for column in columns:
        found = pack.kind(column)
        if found not in kind.kinds:
            fitting = [task for task, other in kinds().items() if found in other.kinds]
            raise InputError(
                f"{pack.path}: {column} is {_told(pack, column)}, of which {name} cannot be made; give "
                f"{' or '.join(f'{task}:{column}' for task in fitting)}"
            )
    with blamed(GROUP, name):
        return kind.of(columns, training, held)


def _read(item: str, pack: Pack) -> Head:
    """Read COLUMN or TASK:COLUMN; a column may have a colon in its name."""
    task, colon, column = item.partition(":")
    if item in pack.attributes:
        return None, item
    if colon and task in kinds() and column in pack.attributes:
        return task, column
    if colon and task not in kinds() and column in pack.attributes:
        raise unknown("task", task, kinds())
    raise unknown("attribute", column if colon and task in kinds() else item, pack.attributes)


def _usual(pack: Pack) -> list[Head]:
    """Give the task that a pack leaves no doubt of."""
    if not pack.attributes:
        raise InputError(f"{pack.path} has no attributes, so there is no task to keep; prepare it with labels")
    if len(pack.attributes) == 1 or all(pack.kind(column) == "binary" for column in pack.attributes):
        return [(None, column) for column in pack.attributes]
    shown = ", ".join(f"{column} ({pack.kind(column)})" for column in pack.attributes)
    first = next(column for column in pack.attributes if pack.kind(column) != "binary")
    raise InputError(
        f"{pack.path} has attributes of several kinds, {shown}, and which of them is the task is for you to say: "
        f"--task {USUAL[pack.kind(first)]}:{first}, or several with commas between"
    )


def _usual_task(pack: Pack, column: str) -> str:
    """Name the task of a column that none is named for; whole numbers may be classes or a quantity."""
    kind = pack.kind(column)
    if kind == "numbers":
        numbers = pack.table.column(column).drop_null().to_numpy()
        if (numbers == numbers.round()).all():
            raise InputError(
                f"{pack.path}: {column} holds whole numbers, which may be classes or a quantity; say which: "
                f"multiclass:{column} or regression:{column}"
            )
    return USUAL[kind]


def _told(pack: Pack, column: str) -> str:
    return {"binary": "binary", "classes": "of classes", "numbers": "of numbers"}[pack.kind(column)]
