"""A range is shown by the bands in which the eleventh from either end lies, so that no single patient shows in it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cohort.released import ReleasedCell, ReleasedTable
from coordinator.cohort.rendering import Row, rows
from shared.ids import RunId
from shared.protocol.cohort import Category, CohortDefinition, Variable

BANDS = ("0-9", "10-19", "20-29", "30+")
DEFINITION = CohortDefinition(
    name="bands",
    edition="1",
    source="a test",
    variables=(
        Variable(
            name="age",
            title="Age",
            unit="patients",
            source="clinical",
            field="age",
            categories=tuple(
                Category(label=label, lowest=10 * n, below=None if n == 3 else 10 * (n + 1))
                for n, label in enumerate(BANDS)
            ),
        ),
        Variable(
            name="sex",
            title="Sex",
            unit="patients",
            source="clinical",
            field="sex",
            categories=(Category(label="female", values=("f",)),),
        ),
    ),
    filled=("age",),
)
FIGURE = "range without the outermost"


def released(counts: dict[str, int | None]) -> ReleasedTable:
    """A table that shows these counts, and 0 of all else."""
    cells = [(name, counts.get(name, 0)) for name in DEFINITION.cells]
    return ReleasedTable(
        id=RunId("R-000000000001"),
        definition=DEFINITION,
        definition_digest=DEFINITION.digest,
        protocol_digest=DEFINITION.digest,
        policy="min-5",
        roster_size=4,
        site_count=3,
        computed_at=datetime(2026, 3, 1, tzinfo=UTC),
        cells=tuple(ReleasedCell(name=name, count=count, suppressed=count is None) for name, count in cells),
    )


def span(bands: list[int | None]) -> str | None:
    """The range that is shown of these bands."""
    table = released({f"age/{label}": count for label, count in zip(BANDS, bands, strict=True)})
    return next((row.shown for row in rows(table) if row.category == FIGURE), None)


@given(st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_it_is_where_the_eleventh_is(bands: list[int]) -> None:
    """Of 22 or more patients, by writing each one's band down in order."""
    everybody = [label for label, count in zip(BANDS, bands, strict=True) for _ in range(count)]
    shown = span([*bands])
    assert shown == (f"{everybody[10]} to {everybody[-11]}" if len(everybody) >= 22 else None)


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        ([11, 0, 0, 11], "0-9 to 30+"),
        ([11, 0, 0, 10], None),
        ([10, 1, 1, 10], "10-19 to 20-29"),
        ([0, 22, 0, 0], "10-19 to 10-19"),
    ],
)
def test_at_the_ends(bands: list[int | None], shown: str | None) -> None:
    """To the last patient."""
    assert span(bands) == shown


@pytest.mark.parametrize("hidden", range(4))
def test_a_hidden_band_hides_the_range(hidden: int) -> None:
    """Whichever it is, also where it could be worked out."""
    assert span([None if number == hidden else 50 for number in range(4)]) is None


def test_only_what_is_numbered_has_a_range() -> None:
    """A variable of texts has none, however many there are."""
    table = released({"sex/female": 500, "patients": 500})
    assert [row for row in rows(table) if row.figure == "Sex" and row.category == FIGURE] == []


@pytest.mark.parametrize(
    ("count", "total", "shown", "share"),
    [(50, 200, "50", "25 %"), (None, 200, "*", ""), (50, None, "50", ""), (1, 3, "1", "33 %"), (2, 3, "2", "67 %")],
)
def test_a_share_is_of_what_is_shown(count: int | None, total: int | None, shown: str, share: str) -> None:
    """Of a count and a total that both are."""
    [row] = [row for row in rows(released({"sex/female": count, "patients": total})) if row.category == "female"]
    assert row == Row("Sex", "female", shown, share)


def test_empty_categories_are_left_out_unless_asked_for() -> None:
    """Totals never are; of an empty total there is no share."""
    assert [row.figure for row in rows(released({}))] == ["patients", "studies", "series", "images"]
    every = rows(released({}), empty=True)
    assert [(row.figure, row.category) for row in every][4:] == [
        *(("Age", label) for label in (*BANDS, "not recorded")),
        ("Sex", "female"),
        ("Sex", "other"),
        ("Sex", "not recorded"),
        ("Filled in", "age"),
    ]
    assert {row.share for row in every} == {""}
