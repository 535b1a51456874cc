"""Who a picture shows, as tables and folders say it: one spelling for one person, and what stands for nobody."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Sequence

log = logging.getLogger("oneway.data")
MISSING = ("", "-1", "-1.0", "<NA>", "N/A", "n/a", "nan", "NaN", "None", "none", "null", "NULL", "unknown", "Unknown")
"""Words that stand for nobody; a column of people that has no name for a picture holds one of them."""
ODD_SHARE, ODD_TIMES = 0.1, 10
"""Who is in more than this share of the pictures, and in this many times those of others, may be nobody."""


def identified(identities: Sequence[str]) -> tuple[str, ...]:
    """Give the person in every picture, "" where nobody is named, and warn of what may be no person.

    Blanks around a name are nothing, and letters that look the same are the same (Unicode's NFC): a person who is
    written in two ways would be two, and could be in two parts of a pack.

    Args:
        identities: as they were read, one a picture.

    """
    words = Counter(identities)
    names = {word: unicodedata.normalize("NFC", word).strip() for word in words}
    nobody = {word for word, name in names.items() if name in MISSING}
    people = tuple("" if who in nobody else names[who] for who in identities)
    if nobody:
        told = ", ".join(
            f"{word!r} {words[word]}" if names[word] else f"empty {words[word]}" for word in sorted(nobody)
        )
        log.warning(
            "%d of %d pictures name nobody (%s): each is taken for another person",
            sum(words[word] for word in nobody),
            len(people),
            told,
        )
    _warn_of_odd(people)
    return people


def warn_of_unknown(identities: Sequence[str] | None, count: int) -> None:
    """Say what a pack lacks whose `count` pictures do not all say whom they show."""
    unknown = count if identities is None else identities.count("")
    if unknown:
        log.warning(
            "whom %d of %d pictures show is unknown, so one person may be in two parts: an audit says so and its "
            "verdict is never `low`; name the people in a column of identities, or leave these pictures out",
            unknown,
            count,
        )


def _warn_of_odd(people: Sequence[str]) -> None:
    pictures = Counter(who for who in people if who)
    if len(pictures) < 2:
        return
    who, most = pictures.most_common(1)[0]
    mean = (pictures.total() - most) / (len(pictures) - 1)
    if most > ODD_SHARE * len(people) and most > ODD_TIMES * mean:
        log.warning(
            "person %r is in %d of %d pictures, others in %.1f: if that is a word for nobody, empty it there, or "
            "these pictures are all in one part",
            who,
            most,
            len(people),
            mean,
        )
