"""What terms say: who stands in them, which editions they cover, how long their texts are, and their page."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.agreement import (
    AgreementTerms,
    CuratorKeys,
    Line,
    Mode,
    Moment,
    OptionalLine,
    Phrase,
    Scope,
    short_digest,
)
from shared.agreement_page import terms_page
from shared.crypto.signing import SigningKey
from shared.editions import EditionRange, ProtocolEdition, rank
from shared.enrolment import Enrolment
from shared.errors.trust import SignatureInvalid
from shared.ids import AgreementId, Sha256, SiteId
from shared.modalities import MODALITIES, Modality
from shared.signed import Signed
from shared.submission_state import Decision, SubmissionState
from shared.survey import SurveyAnswer

KEY = SigningKey.generate()
DIGEST = Sha256("0" * 64)
RECIPIENT = "age1curator"
NAMES = ("2026.9", "2026.11", "2027.3", "2028.1")
names = st.sampled_from(NAMES)


def make_keys(**changes: Any) -> CuratorKeys:
    statement = Signed.by(KEY, Enrolment(csr_sha256=DIGEST, token_sha256=None, recipient=RECIPIENT))
    values = {
        "name": "curator",
        "recipient": RECIPIENT,
        "fingerprint": KEY.public.fingerprint,
        "verify_key": KEY.public.text,
        "statement": statement,
    }
    return CuratorKeys.model_validate({**values, **changes})


def make_terms(**changes: Any) -> AgreementTerms:
    values = {
        "id": AgreementId("A-0123456789ab"),
        "version": 7,
        "federation": "sample",
        "site_name": "General Hospital",
        "text_sha256": Sha256("1" * 64),
        "scope": Scope(description="chest imaging", modalities=("CT", "DX")),
        "modes": (Mode.SUBMIT, Mode.COHORT),
        "curator": make_keys(),
        "coordinator_fingerprint": "SHA256:coordinator",
        "licence": "CC BY 4.0",
        "protocol": "ricord",
        "protocol_digest": DIGEST,
    }
    return AgreementTerms.model_validate({**values, **changes})


def test_a_curator_has_signed_its_own_recipient() -> None:
    """With the key that the fingerprint names; any other key, recipient, statement or fingerprint is refused."""
    make_keys().check()
    other = SigningKey.generate()
    foreign = Signed.by(other, Enrolment(csr_sha256=DIGEST, token_sha256=None, recipient=RECIPIENT))
    elsewhere = Signed.by(KEY, Enrolment(csr_sha256=DIGEST, token_sha256=None, recipient="age1other"))
    for change in (
        {"recipient": "age1other"},
        {"fingerprint": other.public.fingerprint},
        {"verify_key": other.public.text},
        {"verify_key": "no key"},
        {"statement": foreign},
        {"statement": elsewhere},
        {"verify_key": other.public.text, "statement": foreign},
    ):
        with pytest.raises(SignatureInvalid) as refused:
            make_keys(**change).check()
        assert refused.value.fields["what"] == "the curator's recipient"


@given(first=names, signed=names, last=names)
def test_the_edition_signed_is_of_its_range(first: str, signed: str, last: str) -> None:
    """And exactly those between the first and the last are in it."""
    if not NAMES.index(first) <= NAMES.index(signed) <= NAMES.index(last):
        with pytest.raises(ValidationError):
            EditionRange(first=first, signed=signed, last=last)
        return
    among = EditionRange(first=first, signed=signed, last=last)
    assert [name for name in NAMES if name in among] == [*NAMES[NAMES.index(first) : NAMES.index(last) + 1]]
    assert sorted(NAMES, key=rank) == [*NAMES]


@given(name=names, digest=st.sampled_from("01"), protocol=st.sampled_from(["ricord", "other"]), agreed=st.booleans())
def test_terms_cover_what_was_signed_and_the_range(name: str, digest: str, protocol: str, agreed: bool) -> None:
    """What has the digest that was signed; else another edition of the range and protocol, never the one signed."""
    among = EditionRange(first="2026.9", signed="2026.11", last="2027.3")
    edition = ProtocolEdition(protocol=protocol, edition=name, digest=Sha256(digest * 64))
    expected = digest == "0" or (agreed and protocol == "ricord" and name in ("2026.9", "2027.3"))
    assert make_terms(editions=among if agreed else None).covers(edition) == expected


@given(hours=st.integers(-12, 14), at=st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1)))
def test_a_moment_is_kept_in_utc(hours: int, at: datetime) -> None:
    """Whatever its time zone; without one it is none."""
    moments = TypeAdapter[datetime](Moment)
    there = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    kept = moments.validate_python(there)
    assert (kept, kept.tzinfo) == (there, UTC)
    with pytest.raises(ValidationError):
        moments.validate_python(at)


@pytest.mark.parametrize(
    ("kind", "least", "most"), [(Line, 1, 1000), (Phrase, 1, 100), (OptionalLine, 0, 1000)], ids=str
)
def test_a_text_has_its_length_without_the_white_space_around(kind: Any, least: int, most: int) -> None:
    texts = TypeAdapter[str](kind)
    for length in (least, most):
        assert texts.validate_python(f" {'x' * length}\n") == "x" * length
    for length in ({least - 1} - {-1}) | {most + 1}:
        with pytest.raises(ValidationError):
            texts.validate_python(f" {'x' * length} ")


@pytest.mark.parametrize(
    ("most", "too_much"),
    [
        ({"description": "x" * 8000}, {"description": "x" * 8001}),
        ({"modalities": ("CT",)}, {"modalities": ()}),
        ({"data_elements": ("x",) * 50}, {"data_elements": ("x",) * 51}),
        ({"locations": ("x",) * 50}, {"locations": ("x",) * 51}),
        ({"description": "x"}, {"description": "  "}),
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_scope_is_bounded(most: dict[str, Any], too_much: dict[str, Any]) -> None:
    values = {"description": " chest ", "modalities": ("CT",)}
    assert Scope.model_validate({**values, **most}).modalities == ("CT",)
    assert Scope.model_validate(values).description == "chest"
    with pytest.raises(ValidationError):
        Scope.model_validate({**values, **too_much})


def test_terms_allow_something() -> None:
    assert make_terms(modes=(Mode.SUBMIT,)).modes == (Mode.SUBMIT,)
    with pytest.raises(ValidationError):
        make_terms(modes=())


def test_a_recipient_is_compared_by_its_first_sixteen_digits() -> None:
    assert short_digest("age1curator") == "883cb3d741432430"


def test_the_page_says_every_term_once() -> None:
    """Clauses are numbered from 1, hang by their number, and are no wider than 100 characters."""
    keys = make_keys()
    scope = Scope(description=f"chest imaging {'x ' * 200}", modalities=("CT", "DX"))
    plain = terms_page(make_terms(scope=scope))
    heading, line, *clauses = plain.splitlines()
    assert (heading, line) == ("Terms of agreement A-0123456789ab, version 7", "=" * len(heading))
    numbers = [int(clause[:2]) for clause in clauses if clause[2] == "."]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(len(clause) <= 100 for clause in clauses)
    assert all(clause[2:4] in (". ", "  ") and clause[4] != " " for clause in clauses)
    said = " ".join(plain.split())
    for words in (
        "is between General Hospital and sample.",
        "It covers CT, DX: chest imaging x",
        "It allows submission of sealed studies, pooled counts of the cohort.",
        f"signing key is {keys.fingerprint}, its recipient {short_digest(RECIPIENT)}.",
        "signs with the key SHA256:coordinator.",
        "The protocol is ricord, digest 0000000000000000…, and no other edition of it.",
        "under CC BY 4.0.",
        "It has no last day.",
        "The digest of its text is 1111111111111111….",
    ):
        assert words in said
    for words in ("at most", "data elements", "come from", "ethics", "contributed before", "It begins", "Its last day"):
        assert words not in said


def test_the_page_says_what_only_some_agreements_have() -> None:
    scope = Scope(description="x", modalities=("CT",), studies=2, data_elements=("age", "sex"), locations=("A", "B"))
    begins = datetime(2027, 1, 2, 3, 4, tzinfo=UTC)
    said = " ".join(
        terms_page(
            make_terms(
                scope=scope,
                ethics_reference="EK 12",
                earlier_site_ids=(SiteId("419639"), SiteId("234567")),
                starts_at=begins,
                editions=EditionRange(first="2026.9", signed="2026.11", last="2027.3"),
            )
        ).split()
    )
    for words in (
        "It covers 2 studies at most.",
        "Its data elements are age, sex.",
        "The data come from A, B.",
        "The ethics reference is EK 12.",
        "contributed before as SITEID 419639, 234567.",
        "It begins on 2027-01-02 03:04 UTC.",
        "edition 2026.11, digest 0000000000000000….",
        "Its other editions from 2026.9 to 2027.3 are covered too",
    ):
        assert words in said
    alone = EditionRange(first="2026.11", signed="2026.11", last="2026.11")
    assert "edition 2026.11, digest 0000000000000000…, and no other" in " ".join(
        terms_page(make_terms(editions=alone)).split()
    )


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (datetime(2027, 3, 1, tzinfo=UTC), "Its last day is 2027-02-28, in UTC."),
        (datetime(2027, 3, 1, 12, 30, tzinfo=UTC), "It ends on 2027-03-01 12:30 UTC."),
    ],
)
def test_an_end_at_midnight_is_the_day_before(ends: datetime, said: str) -> None:
    """As it was drafted: the last day whole."""
    assert said in terms_page(make_terms(expires_at=ends))


@given(code=st.sampled_from(sorted(MODALITIES)) | st.text(max_size=4))
def test_a_modality_is_a_code_of_dicom(code: str) -> None:
    modalities = TypeAdapter[str](Modality)
    if code in MODALITIES:
        assert modalities.validate_python(code) == code
        return
    with pytest.raises(ValidationError, match="a code of DICOM"):
        modalities.validate_python(code)


ANSWER = {
    "country": "DE",
    "modalities": ("CT",),
    "studies": 1,
    "modes": ("cohort",),
    "clinical_data": True,
    "ethics": "applied",
}


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ({}, True),
        ({"modalities": ("CT",) * 20}, True),
        ({"modalities": ("CT",) * 21}, False),
        ({"modalities": ()}, False),
        ({"modes": ()}, False),
        ({"country": "DEU"}, False),
    ],
)
def test_an_answer_to_the_open_call_is_bounded(change: dict[str, Any], is_valid: bool) -> None:
    if is_valid:
        assert SurveyAnswer.model_validate({**ANSWER, **change}).country == "DE"
        return
    with pytest.raises(ValidationError):
        SurveyAnswer.model_validate({**ANSWER, **change})


@pytest.mark.parametrize(
    ("reasons", "is_valid"),
    [
        ((), True),
        (("x" * 100,) * 5, True),
        (("x",), True),
        (("x" * 101,), False),
        (("x",) * 6, False),
        ((" ",), False),
        (("two\nlines",), False),
    ],
)
def test_a_decisions_reasons_are_five_printable_lines_at_most(reasons: tuple[str, ...], is_valid: bool) -> None:
    values = {
        "submission": DIGEST,
        "state": SubmissionState.REJECTED,
        "reasons": tuple(f" {reason} " for reason in reasons),
        "decided_at": datetime(2027, 1, 1, tzinfo=UTC),
    }
    if is_valid:
        assert Decision.model_validate(values).reasons == reasons
        return
    with pytest.raises(ValidationError):
        Decision.model_validate(values)
