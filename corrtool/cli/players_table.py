"""The table of who played how well, with which the commands end that run several stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from corrtool.runs.results import Returns

if TYPE_CHECKING:
    from rich.table import Table


def players_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Returns]]
) -> Table:
    """A row for each player, a cell for each column: a text, or the returns of fresh games.

    Returns are shown as their mean, its interval where enough games differ, and their numbers.
    """
    from rich.table import Table

    from corrtool.statistics import MIN_DISTINCT_GAMES

    table = Table(
        title=title,
        caption=f"95% intervals are over games, and need {MIN_DISTINCT_GAMES} that differ.",
        title_justify="left",
        caption_justify="left",
    )
    listed = list(rows)
    for place, column in enumerate(columns):  # numbers stay whole where a terminal is narrow
        table.add_column(column, no_wrap=any(not isinstance(row[place], str) for row in listed))
    for row in listed:
        table.add_row(*(cell if isinstance(cell, str) else _cell(cell) for cell in row))
    return table


def _cell(returns: Returns) -> str:
    from corrtool.reporting.evaluations import (
        format_bounds,
        format_counts,
        format_mean,
        interval_of,
    )

    interval = interval_of(returns)
    return f"{format_mean(interval)}, 95% {format_bounds(interval)}\n{format_counts(interval)}"
