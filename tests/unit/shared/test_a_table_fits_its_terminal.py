"""A table is as wide as its terminal, breaks no short word where there is space, and loses no character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import terminal, terminal_table


def test_a_table_shows_its_cells_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table("Studies", ["state", "count"], [("[bold]waiting[/bold]", 3)])
    assert "[bold]waiting[/bold]" in capsys.readouterr().out


def test_a_table_breaks_no_word_where_there_is_space(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 80 columns a digest of 64 digits is folded; headings, dates and codes stay whole."""
    monkeypatch.setenv("COLUMNS", "80")
    headings = ("id", "SITEID", "sequence", "modalities", "instance count", "received at")
    words = ("895096", "CR", "clinical-import", "2026-11-30", "10:04:17")
    row = ("9e23290b" * 8, words[0], 1, words[1], words[2], f"{words[3]} {words[4]}")
    terminal.print_table("Submissions", headings, [row, row])
    lines = capsys.readouterr().out.splitlines()
    shown = " ".join(lines).split()
    assert all(word in shown for word in (*words, *" ".join(headings).split()))
    assert {line[-1] for line in lines[1:]} <= set("┓┃┩│┘")  # nothing is cut off at the right
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_table_is_as_narrow_as_the_terminal_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """Where the words of a row need more than the terminal has, they are folded."""
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.print_table("Words", ("first-heading" * 3, "second"), [("x" * 50, "a-word-of-16-xxx")])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= width


@given(
    words=st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=3), min_size=1, max_size=5),
    space=st.integers(1, 160),
)
def test_columns_fill_the_space_and_break_no_short_word(words: list[list[int]], space: int) -> None:
    """They fit with their lines, hold what they can, and give up where not even words fit."""
    rows = [["x" * length for length in row] for row in words]
    widths, lines = terminal_table._widths(rows, space), 3 * 3 + 1
    whole = [max(column) for column in zip(*words, strict=True)]
    least = [max(n if n <= 16 else 6 for n in column) for column in zip(*words, strict=True)]
    if sum(least) + lines > space:
        assert widths == []
        return
    assert sum(widths) + lines <= space
    assert all(low <= width <= full for low, width, full in zip(least, widths, whole, strict=True))
    if sum(whole) + lines <= space:
        assert widths == whole
    elif whole[0] - least[0] <= space - lines - sum(least):
        assert widths[0] == whole[0]
    else:
        assert sum(widths) + lines > space - 3  # what is left is less than a character a column


def test_a_first_column_beyond_forty_characters_is_no_name() -> None:
    """It gets its share as the others do."""
    for length in (39, 40, 41):
        first, _ = terminal_table._widths([["x" * length, "y" * 60]], 3 * 2 + 1 + 60)
        assert (first == length) == (length <= 40)


@pytest.mark.parametrize("longest", [16, 40, 41])
def test_a_name_stays_whole_where_not_even_words_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], longest: int
) -> None:
    """The first column is copied from a narrow terminal; names beyond 40 characters are folded, and nothing is lost."""
    monkeypatch.setenv("COLUMNS", "70")
    names = ("x" * longest, "y")
    terminal.print_table("Names", ("name", "b", "c", "d", "e"), [(name, *("a-word-of-16-xxx",) * 4) for name in names])
    shown = capsys.readouterr().out
    assert (names[0] in shown) == (longest <= 40)
    assert shown.count("x") >= longest


def test_a_column_gets_what_it_needs_to_the_character() -> None:
    """A word of sixteen is not broken, one more is; a name stays whole where just that much is free."""
    lines = 3 * 2 + 1
    assert terminal_table._widths([["x", "y" * 17]], lines + 1 + 6) == [1, 6]
    assert terminal_table._widths([["x", "y" * 16]], lines + 1 + 6) == []
    assert terminal_table._widths([["x" * 20, "y" * 60]], lines + 20 + 6) == [20, 6]
    assert terminal_table._widths([["x" * 20, "y" * 60]], lines + 19 + 6)[0] < 20


def test_a_name_that_has_no_space_is_folded_and_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal.print_table("Names", ("name", "b"), [("x" * 38, "a-word-of-16-yyy")])
    assert capsys.readouterr().out.count("x") == 38
