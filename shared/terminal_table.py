"""A table on a terminal, by rich; `shared.terminal` loads it when the first is shown."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_NAME_WIDTH = 40  # characters of a first column that stays on one line
_LEAST_WIDTH = 6  # characters that every column gets
_WORD_WIDTH = 16  # characters of a word that is not broken where the terminal has space for it


def print_with_rich(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Show a table for a person; cells are plain text, not markup."""
    console = Console(file=sys.stdout)
    table = Table(title=title, title_justify="left")
    cells = [[str(cell).replace("[", r"\[") for cell in row] for row in rows]
    widths: list[int | None] = [*_widths([columns, *cells], console.width)] or [None] * len(columns)
    short = all(len(row[0]) <= _NAME_WIDTH for row in cells)
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        least, no_wrap = min(len(column), _LEAST_WIDTH), width is None and number == 0 and short
        table.add_column(column, overflow="fold", no_wrap=no_wrap, min_width=least, width=width)
    for row in cells:
        table.add_row(*row)
    console.print(table)


def _widths(rows: Sequence[Sequence[str]], space: int) -> list[int]:
    """The characters of each column, so that no word is broken but long ones; empty where `space` is too narrow.

    The first column names the row and is copied, so it stays whole if it is short enough. What is left of `space` is
    shared in proportion to what the columns lack.
    """
    columns = [[cell.replace(r"\[", "[") for cell in column] for column in zip(*rows, strict=True)]
    whole = [max(len(line) for cell in column for line in cell.splitlines() or [""]) for column in columns]
    words = [[len(word) for cell in column for word in cell.split()] for column in columns]
    least = [max(length if length <= _WORD_WIDTH else _LEAST_WIDTH for length in (*lengths, 1)) for lengths in words]
    free = space - sum(least) - 3 * len(least) - 1
    if (more := whole[0] - least[0]) <= free and whole[0] <= _NAME_WIDTH:
        least[0], free = whole[0], free - more
    if free < 0:
        return []
    lacking = sum(whole) - sum(least)
    share = min(1.0, free / lacking) if lacking else 0.0
    return [width + int(share * (full - width)) for full, width in zip(whole, least, strict=True)]
