"""Prices of attributes as tables for a terminal."""

from __future__ import annotations

from rich.table import Table

from oneway.report.price import Prices


def price_tables(found: Prices) -> list[Table]:
    """Lay out prices: a row for each attribute, the dearest first; then the order in which to leave them out."""
    table = Table(
        title=f"What {found.by} give away of how {found.judge} sees a person: similarity of predicted features "
        f"{found.similarity}, {found.floor} knowing nothing\n(shares of the difference, 95 % interval over "
        f"{found.similarity.n} test people)",
        caption="what one saves and what it gives away alone differ, where others tell the same",
        caption_justify="left",
    )
    table.add_column("attribute")
    table.add_column("saved without it", justify="right")
    table.add_column("given away by it alone", justify="right")
    worth = any(each.worth is not None for each in found.without)
    if worth:
        table.add_column("its utility", justify="right")
    alone = {each.name: each.share for each in found.alone}
    for each in found.without:
        row = [each.name, each.share.in_percent(), alone[each.name].in_percent()]
        table.add_row(*row, *([f"{each.worth:.3f}" if each.worth is not None else "–"] if worth else []))
    path = Table(title="Left out one after the other, each time the one without which least is given away")
    path.add_column("and without")
    path.add_column("given away still", justify="right")
    path.add_column("attributes left", justify="right")
    for place, each in enumerate(found.left_out):
        path.add_row(each.name, each.share.in_percent(), str(len(found.left_out) - place))
    return [table, path]
