"""Shared by `explain` and `status`: reason codes, what each means, and what the hospital can do."""

from collections.abc import Iterable

from shared.terminal import print_table
from site_node.reasons import catalogue


def print_reasons(title: str, codes: Iterable[str]) -> None:
    """Print a row for each code of the catalogue; the others are left out, and so is a table without rows."""
    meanings = {code: catalogue()[code] for code in codes if code in catalogue()}
    rows = [(code, meaning.sentence, meaning.advice) for code, meaning in meanings.items()]
    if rows:
        print_table(title, ["Code", "What happened", "What you can do"], rows)
