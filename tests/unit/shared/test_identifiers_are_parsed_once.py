"""Identifiers are parsed once and carry their kind from then on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors.inputs import InvalidIdentifier
from shared.frozen import Count, Frozen, LargeCount
from shared.ids import AgreementId, Identifier, PatientPseudonym, RunId, Sha256, SiteId, StudyKey, Uid

KINDS = (SiteId, Uid, Sha256, StudyKey, PatientPseudonym, AgreementId, RunId)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=80))
def test_text_is_either_of_the_form_or_refused(kind: type[Identifier], text: str) -> None:
    """Text either has the form or is refused, and a refusal never quotes it: it may be a patient's."""
    if kind.pattern.fullmatch(text):
        assert kind(text) == text
    else:
        with pytest.raises(InvalidIdentifier) as caught:
            kind(text)
        assert caught.value.public == f"This is not a valid {kind.__name__}."


@given(st.from_regex(SiteId.pattern, fullmatch=True))
def test_a_model_gives_its_identifiers_back_parsed(text: str) -> None:
    """JSON and back keeps the type, so a field typed `SiteId` is one."""

    class Holder(Frozen):
        site: SiteId

    if not text.isascii():
        return
    again = Holder.model_validate_json(Holder(site=SiteId(text)).model_dump_json())
    assert type(again.site) is SiteId


def test_a_site_id_has_six_digits_and_no_leading_zero() -> None:
    """A SITEID is a valid UID component (PS3.5 section 9.1)."""
    assert all(SiteId.pattern.fullmatch(SiteId.random()) for _ in range(1000))
    for wrong in ("012345", "12345", "1234567", "12345a", "123456\n", "\uff11\uff12\uff13\uff14\uff15\uff16"):
        with pytest.raises(InvalidIdentifier):
            SiteId(wrong)


@pytest.mark.parametrize("wrong", ["1.02.3", "1..2", ".1", "1.", "1" * 65, "1.2\n", ""])
def test_a_uid_follows_the_standard(wrong: str) -> None:
    """No leading zeros, no empty components, 64 characters at most (PS3.5 section 9.1)."""
    with pytest.raises(InvalidIdentifier):
        Uid(wrong)


def test_pydantic_refuses_without_quoting() -> None:
    """A validation error, which is often logged, does not quote its input."""

    class Holder(Frozen):
        study: Uid

    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"study": "DOE^JANE"})
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize(("drawn", "site_id"), [(0, "100000"), (899_999, "999999")])
def test_every_number_of_six_digits_may_be_drawn(monkeypatch: pytest.MonkeyPatch, drawn: int, site_id: str) -> None:
    """From the least to the greatest of 900,000, and no other."""
    monkeypatch.setattr("shared.ids.secrets.randbelow", lambda bound: drawn if bound == 900_000 else bound)
    assert SiteId.random() == site_id


@pytest.mark.parametrize("kind", [AgreementId, RunId])
def test_a_new_name_is_drawn_from_forty_eight_bits(kind: type[AgreementId | RunId]) -> None:
    assert len({kind.random() for _ in range(1000)}) == 1000


class Anything(Frozen):
    """A value with a field of each kind that is bounded."""

    count: Count = 1
    large: LargeCount = 1
    share: float = 0.0


@pytest.mark.parametrize(
    ("values", "is_valid"),
    [
        ({"count": 1, "large": 1}, True),
        ({"count": 2**31 - 1, "large": 2**63 - 1}, True),
        ({"count": 0}, False),
        ({"large": 0}, False),
        ({"count": 2**31}, False),
        ({"large": 2**63}, False),
        ({"share": float("nan")}, False),
        ({"share": float("inf")}, False),
        ({"more": 1}, False),
    ],
)
def test_a_value_is_within_its_bounds_and_complete(values: dict[str, float], is_valid: bool) -> None:
    """A count fits its column and field, a number is finite, and nothing unknown is accepted."""
    if is_valid:
        assert Anything.model_validate(values).model_dump(include=set(values)) == values
        return
    with pytest.raises(ValidationError):
        Anything.model_validate(values)


def test_a_value_stays_as_it_was_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Anything().count = 2  # type: ignore[misc]  # that is what must not be
