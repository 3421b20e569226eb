"""A name or a beginning of it means one thing, or is refused with how many it fits."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors.inputs import AmbiguousReference
from shared.references import ambiguous, named

NAMES = st.lists(st.text("ab1", min_size=1, max_size=4), unique=True)


@given(NAMES, st.text("ab1", max_size=4))
@example(["a", "ab"], "a")
@example(["ab"], "")
def test_a_reference_names_one_none_or_is_refused(names: list[str], reference: str) -> None:
    """A whole name wins over longer ones that begin so; an empty reference names nothing."""
    beginning = [name for name in names if reference and name.startswith(reference)]
    if reference in names or len(beginning) < 2:
        expected = reference if reference in names else next(iter(beginning), None)
        assert named(names, reference, lambda name: (name,), kind="study") == expected
        return
    with pytest.raises(AmbiguousReference) as refused:
        named(names, reference, lambda name: (name,), kind="study")
    assert refused.value.fields == {"count": str(len(beginning)), "kind": "studies"}


def test_what_was_typed_is_not_quoted() -> None:
    """It may be a patient's name."""
    with pytest.raises(AmbiguousReference) as refused:
        named(["DOE^JANE", "DOE^JOHN"], "DOE", lambda name: (name,), kind="patient")
    assert "DOE" not in f"{refused.value.public}{refused.value.private}{refused.value.fields}"


@pytest.mark.parametrize(("count", "said"), [(2, "2"), (100, "100"), (101, "More than 100"), (5000, "More than 100")])
def test_many_are_not_counted_beyond_a_hundred(count: int, said: str) -> None:
    """What a store reads to say so stays bounded."""
    assert ambiguous("study", count).fields["count"] == said


@given(NAMES, st.sets(st.text("ab1", min_size=1, max_size=4)), st.text("ab1", min_size=1, max_size=4))
def test_any_of_the_names_of_a_thing_will_do(names: list[str], others: set[str], reference: str) -> None:
    """A thing with two names is still only one, by whichever begins so."""
    thing = frozenset({*names, *others})
    expected = thing if any(name.startswith(reference) for name in thing) else None
    assert named([thing], reference, lambda each: each, kind="study") == expected
