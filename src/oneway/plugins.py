"""What other packages add: objects that their entry points name, listed without being loaded, checked when they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from oneway.errors import DivergedError, InputError, LostError

T = TypeVar("T")


class Unfit(InputError):
    """What another's object gave is not what it must give: the rest of a sentence about that object."""


def points(group: str, taken: Collection[str] = ()) -> dict[str, EntryPoint]:
    """List what installed packages register under an entry-point group, such as `oneway.metrics`, by name.

    Args:
        group: the group.
        taken: names that are ours.

    Raises:
        InputError: for a name that is no identifier, ours, or another package's.

    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda each: each.name):
        if not point.name.isidentifier():
            raise refused(point, "must have an identifier for a name")
        if point.name in taken:
            raise refused(point, f"has a name that is taken; there are {', '.join(taken)}")
        if point.name in found:
            raise refused(point, f"has the name of one in {_package(found[point.name])}")
        found[point.name] = point
    return found


def refused(point: EntryPoint, wrong: str) -> InputError:
    """Make the error that says what is wrong with an entry point, in which package."""
    return InputError(f"{_package(point)}: {_entry(point)} {wrong}; mend or remove that package")


def origin(group: str, name: str) -> str:
    """Say in brackets which package's entry point an object is, if it is another package's."""
    point = points(group).get(name)
    return "" if point is None else f" ({_entry(point)}, in {_package(point)})"


@contextmanager
def blamed(group: str, name: str) -> Iterator[None]:
    """Let errors in a block name the package and the entry point whose object is used there, if it is another's.

    Args:
        group: of entry points.
        name: of the object. One that was given in Python, or is ours, has no entry point; then errors of its own code
            stay as they are.

    Raises:
        InputError: if its code fails, or for an `Unfit`.

    """
    try:
        yield
    except Unfit as error:
        point = points(group).get(name)
        raise (InputError(f"{name!r} {error}") if point is None else refused(point, str(error))) from error
    except (InputError, DivergedError, LostError):
        raise
    except Exception as error:
        point = points(group).get(name)
        if point is None:
            raise
        raise refused(point, f"fails ({type(error).__name__}: {error})") from error


def loaded(point: EntryPoint, wrong: Callable[[Any], str | None]) -> Any:
    """Load what an entry point names.

    Args:
        point: the entry point.
        wrong: says what is wrong with the object, as the rest of a sentence, or nothing.

    Raises:
        InputError: if it cannot be loaded, or is wrong: naming the package and the entry point.

    """
    try:
        made = point.load()
        said = wrong(made)
    except Exception as error:
        raise refused(point, f"cannot be loaded ({type(error).__name__}: {error})") from error
    if said is not None:
        raise refused(point, said)
    return made


def registered(group: str, kind: type[T], own: Mapping[str, T]) -> dict[str, T]:
    """Give all objects of a kind by name: ours, and then those that installed packages register under a group.

    Raises:
        InputError: as `points` and `loaded` do, for something else, or for one that is called otherwise than its entry
            point.

    """
    found = dict(own)
    for name, point in points(group, own).items():

        def wrong(made: Any, name: str = name) -> str | None:
            if not isinstance(made, kind):
                return f"must be a {kind.__name__}, not {made!r}"
            called = getattr(made, "name", None)
            return None if called == name else f"must be called {name!r} too, not {called!r}"

        found[name] = loaded(point, wrong)
    return found


def _entry(point: EntryPoint) -> str:
    return f"the entry point {point.name!r} ({point.value}) of group {point.group}"


def _package(point: EntryPoint) -> str:
    return "a package" if point.dist is None else f"the package {point.dist.name} {point.dist.version}"
