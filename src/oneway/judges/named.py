"""Judges of other packages, each opened by its name.

Another package adds one by an entry point of the group `oneway.judges` that names a function, or a class, which is
given a `Pack` and makes a `Verifier` called like the entry point.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from oneway.data.batches import load
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.vectors import GROUP, check_vectors
from oneway.judges.verifier import Verifier
from oneway.plugins import Unfit, blamed, loaded, points, refused


def is_named(path: Path | str) -> bool:
    """Say whether what stands for a judge is the name of another package's, and no file."""
    return not Path(path).exists() and str(path) in points(GROUP)


def open_named(name: str, pack: Pack) -> Verifier:
    """Open another package's judge for a pack, and look at its features of one picture.

    Raises:
        InputError: if it cannot be loaded, or is no judge: naming the package and the entry point.

    """
    point = points(GROUP)[name]
    make: Callable[[Pack], Verifier] = loaded(
        point, lambda made: None if callable(made) else f"must be a function of a pack that makes a judge, not {made!r}"
    )
    try:
        made = make(pack)
        called, _ = made.name, made.fingerprint
        first = slice(0, 1)
        features = made(load(pack.public, first), pack.public.landmarks(first))
    except InputError:
        raise
    except Exception as error:  # whatever another's network raises
        raise refused(point, f"fails on {pack.path} ({type(error).__name__}: {error})") from error
    if called != name:
        raise refused(point, f"must make a judge called {name!r} too, not {called!r}")
    with blamed(GROUP, name):
        check_vectors(features, 1)
        if not (np.isfinite(features).all() and features.any()):
            raise Unfit(f"must map n pictures to n unit vectors, finite floats (n, d), not one to {features[0, :3]}...")
    return made
