"""What other packages add: objects that their entry points name, checked when they are read."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

from oneway.errors import InputError

T = TypeVar("T")


def entries(group: str, kind: type[T]) -> list[T]:
    """Load the objects of a kind that installed packages register under an entry-point group, such as
    `oneway.metrics`.

    Raises:
        InputError: if one cannot be loaded, or is something else: naming the entry point.

    """
    found: list[T] = []
    for point in entry_points(group=group):
        where = f"the entry point {point.name!r} ({point.value}) of group {group}"
        try:
            made = point.load()
        except Exception as error:
            raise InputError(
                f"{where} cannot be loaded ({type(error).__name__}: {error}); mend or remove that package"
            ) from error
        if not isinstance(made, kind):
            raise InputError(f"{where} must be a {kind.__name__}, not {made!r}; mend or remove that package")
        found.append(made)
    return found
