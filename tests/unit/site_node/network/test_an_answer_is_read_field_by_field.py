"""What a PACS answers is read field by field: what is missing, negative or no number is unknown, never nought."""

import json
from collections.abc import Iterator, Mapping
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.presentation import StoragePresentationContexts
from pynetdicom.status import QR_MOVE_SERVICE_CLASS_STATUS

from shared.errors.inputs import InvalidArgument
from site_node.network.interface import QueryRetrieve
from site_node.network.presentation_contexts import retrieve_contexts
from site_node.network.query import (
    INSTANCE_KEYS,
    SERIES_KEYS,
    STUDY_KEYS,
    Fetch,
    Query,
    SeriesMatch,
    StudyMatch,
    find_identifier,
    from_dicom_json,
    matching_keys,
    outcome_of,
    reason_of_status,
    retrieve_identifier,
    series_match,
    study_match,
)
from site_node.network.query_retrieve import STUDY_GET

PENDING = 0xFF00, 0xFF01  # the second: the PACS does not match every key (PS3.4 table C.4-1)
COUNTS = ("Completed", "Failed", "Warning")
texts = st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=8)
counts = st.none() | st.integers(0, 9)


def status(code: int | None, numbers: Mapping[str, int | None]) -> tuple[Dataset, None]:
    """One answer to a retrieval, with those of the counts that are given."""
    dataset = Dataset()
    if code is not None:
        dataset.add_new(0x00000900, "US", code)
    for tag, name in zip((0x00001021, 0x00001022, 0x00001023), COUNTS, strict=True):
        if (number := numbers.get(name)) is not None:
            dataset.add_new(tag, "US", number)
    return dataset, None


@given(
    st.lists(st.tuples(st.sampled_from(PENDING), st.fixed_dictionaries(dict.fromkeys(COUNTS, counts))), max_size=3),
    st.sampled_from([0x0000, 0xB000, 0xA701, 0xA702, 0xA801, 0xA900, 0xFE00, 0xC123]),
    st.fixed_dictionaries(dict.fromkeys(COUNTS, counts)),
)
def test_a_retrieval_ends_with_its_first_status_that_is_not_pending(
    before: list[tuple[int, dict[str, int | None]]], code: int, numbers: dict[str, int | None]
) -> None:
    """Its counts are those of that answer; success with a failed image is a part, and what follows is not read."""
    left = iter([*(status(*each) for each in before), status(code, numbers), status(0x0000, {"Completed": 99})])
    outcome = outcome_of(left)
    assert (outcome.completed, outcome.failed, outcome.warning) == tuple(numbers[name] for name in COUNTS)
    assert len(list(left)) == 1
    if code == 0x0000:
        assert outcome.reason == ("pacs-sent-in-part" if numbers["Failed"] else "")
    else:
        assert outcome.reason == ("pacs-sent-in-part" if code == 0xB000 else reason_of_status(code))


@given(st.lists(st.tuples(st.sampled_from([None, *PENDING]), st.fixed_dictionaries(dict.fromkeys(COUNTS, counts)))))
def test_without_a_last_status_the_outcome_is_unknown(answers: list[tuple[int | None, dict[str, int | None]]]) -> None:
    """An answer that was lost is no success, whatever the counts before it say."""
    outcome = outcome_of(iter([status(*answer) for answer in answers]))
    last = tuple(answers[-1][1][name] for name in COUNTS) if answers else (None,) * 3
    assert (outcome.reason, outcome.completed, outcome.failed, outcome.warning) == ("no-answer", *last)


@pytest.mark.parametrize(
    "code", [*(code for code in QR_MOVE_SERVICE_CLASS_STATUS if code >> 12 in {0xA, 0xF}), 0xA700, 0xC001]
)
def test_a_status_is_what_the_standard_calls_it(code: int) -> None:
    """By the words of PS3.4 as another program has them; each other one stands for itself."""
    category, words = QR_MOVE_SERVICE_CLASS_STATUS.get(code, ("Failure", "Out of resources"))
    meanings = {
        "Out of resources, unable to perform sub-operations": "pacs-could-not-send",
        "Out of resources": "pacs-out-of-resources",
        "Move destination unknown": "destination-unknown",
        "Identifier does not match": "pacs-did-not-understand",
    }
    known = [reason for text, reason in meanings.items() if text in words]
    ours = "cancelled-by-pacs" if category == "Cancel" else f"pacs-status-{code:04x}"
    assert reason_of_status(code) == (known[0] if known else ours)


@given(texts, texts, st.sampled_from(["", "20200101", "20200101-", "-20200101"]), st.sampled_from(["", "CT"]))
def test_a_question_holds_what_is_asked_and_nothing_else(accession: str, patient: str, dates: str, kind: str) -> None:
    """Whole values to match by, empty ones to be answered; in UTF-8 as soon as one value needs it."""
    query = Query(accession=accession, patient_id=patient, dates=dates, modality=kind)
    given_values = {"AccessionNumber": accession, "PatientID": patient, "StudyDate": dates, "ModalitiesInStudy": kind}
    assert matching_keys(query) == {key: value for key, value in given_values.items() if value}
    for level, keys in (("STUDY", STUDY_KEYS), ("SERIES", SERIES_KEYS), ("IMAGE", INSTANCE_KEYS)):
        identifier = find_identifier(level, keys, query)
        asked = {element.keyword: element.value for element in identifier}
        assert asked.pop("QueryRetrieveLevel") == level
        charset = asked.pop("SpecificCharacterSet", None)
        assert charset == (None if (accession + patient).isascii() else "ISO_IR 192")
        matched = {key: value for key, value in asked.items() if value not in {"", None}}
        assert set(asked) == {*keys, *matching_keys(query)}
        assert {key: str(value) for key, value in matched.items()} == matching_keys(query)
        assert {key for key, value in asked.items() if value is None} == {key for key in keys if "NumberOf" in key}


@given(texts, st.sampled_from([*"*?\\\n\t\0\x1b\x1f"]), texts, st.booleans())
def test_no_question_asks_for_more_than_is_meant(before: str, sign: str, after: str, is_accession: bool) -> None:
    """A wildcard or a control character in either value is refused, and so is a question that matches everything."""
    value = before + sign + after
    with pytest.raises(InvalidArgument, match="wildcard"):
        (Query(accession=value) if is_accession else Query(patient_id=value)).checked()
    for everything in (Query(), Query(modality="CT")):
        with pytest.raises(InvalidArgument, match="give an accession"):
            everything.checked()
    for whole in (Query(accession="1"), Query(patient_id="1"), Query(dates="20200101"), Query(study_uid="1.2")):
        assert whole.checked() is whole
    if before:
        assert Query(accession=before, patient_id=after).checked()


def test_a_study_is_fetched_whole_or_by_instances() -> None:
    """A retrieval names its level, and series and instances only where single ones are wanted (PS3.4 C.4.2.2.1)."""
    whole = retrieve_identifier(Fetch(study_uid="1.2", series_uid="1.2.3"))
    assert {element.keyword: str(element.value) for element in whole} == {
        "QueryRetrieveLevel": "STUDY",
        "StudyInstanceUID": "1.2",
    }
    some = retrieve_identifier(Fetch(study_uid="1.2", series_uid="1.2.3", sop_uids=("1.2.3.4", "1.2.3.5")))
    assert (some.QueryRetrieveLevel, some.StudyInstanceUID, some.SeriesInstanceUID) == ("IMAGE", "1.2", "1.2.3")
    assert list(some.SOPInstanceUID) == ["1.2.3.4", "1.2.3.5"]


answered = st.fixed_dictionaries({
    "StudyInstanceUID": st.just("1.2"),
    "AccessionNumber": texts,
    "PatientID": texts,
    "IssuerOfPatientID": texts,
    "StudyDate": st.just("20200101"),
    "ModalitiesInStudy": st.lists(st.sampled_from(["CT", "DX", "SR"]), max_size=3),
    "NumberOfStudyRelatedInstances": st.integers(-2, 9),
    "NumberOfStudyRelatedSeries": st.integers(-2, 9),
})  # fmt: skip


@given(answered, st.sets(st.sampled_from(STUDY_KEYS)))
def test_each_field_of_a_study_is_its_own(values: dict[str, object], missing: set[str]) -> None:
    """Over DIMSE or as JSON: what is left out is empty, a count that is left out or negative is not known."""
    dataset = Dataset()
    for key, value in values.items():
        if key not in missing:
            setattr(dataset, key, value)
    there = {key: "" if key in missing else value for key, value in values.items()}
    modalities = there["ModalitiesInStudy"]
    whole = {
        "study_uid": there["StudyInstanceUID"],
        "accession": str(there["AccessionNumber"]).strip(),
        "patient_id": str(there["PatientID"]).strip(),
        "issuer": str(there["IssuerOfPatientID"]).strip(),
        "date": there["StudyDate"],
        "modalities": "\\".join(modalities) if isinstance(modalities, list) else "",
        "instances": known(there["NumberOfStudyRelatedInstances"]),
        "series": known(there["NumberOfStudyRelatedSeries"]),
    }
    assert study_match(dataset).model_dump() == whole
    assert study_match(from_dicom_json(json.loads(dataset.to_json()))).model_dump() == whole


def known(count: object) -> int | None:
    """A count that may be believed."""
    return count if isinstance(count, int) and count >= 0 else None


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        7,
        {"0020000D": None},
        {"0020000D": {"vr": "UI"}},
        {"StudyUID": {"Value": ["1"]}},
        {"0020000D": {"Value": "1.2"}},
        {"0020000D": {"Value": [{"a": 1}, None]}},
    ],
)
def test_a_broken_answer_has_empty_fields(broken: object) -> None:
    """Whatever a server calls an answer."""
    assert study_match(from_dicom_json(broken)).study_uid == ""
    assert series_match(from_dicom_json(broken)) == SeriesMatch(series_uid="", modality="", instances=None)


class Counting(QueryRetrieve):
    """A PACS whose studies, series and instances may be counted or not."""

    def __init__(self, series: list[int | None], listed: list[int]) -> None:
        self._series = series
        self._listed = listed
        self.asked = list[str]()

    def series(self, study_uid: str) -> tuple[SeriesMatch, ...]:
        self.asked.append("series")
        return tuple(SeriesMatch(series_uid="1", modality="CT", instances=count) for count in self._series)

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        self.asked.append("instances")
        return {f"{at}": frozenset(map(str, range(count))) for at, count in enumerate(self._listed)}

    echo = studies = retrieve = Mock()


@given(counts, st.lists(counts, max_size=4), st.lists(st.integers(0, 9), max_size=4))
def test_a_study_has_as_many_images_as_the_best_count_says(
    whole: int | None, series: list[int | None], listed: list[int]
) -> None:
    """As the PACS counts the study; else its series, if each is counted; else the images that it lists."""
    pacs = Counting(series, listed)
    empty = dict.fromkeys(("study_uid", "accession", "patient_id", "issuer", "date", "modalities"), "")
    announced = pacs.announced(StudyMatch.model_validate({**empty, "instances": whole, "series": None}))
    if whole is not None:
        assert (announced, pacs.asked) == (whole, [])
    elif series and None not in series:
        assert (announced, pacs.asked) == (sum(filter(None, series)), ["series"])
    else:
        assert (announced, pacs.asked) == (sum(listed), ["series", "instances"])


def test_a_retrieval_offers_each_image_in_each_syntax_and_as_many_others_as_fit() -> None:
    """At most 128 contexts (PS3.8 9.3.2.2), none twice; the first asks the question, and roles cover all others."""
    contexts, classes = retrieve_contexts(STUDY_GET)
    pairs = [(str(context.abstract_syntax), tuple(map(str, context.transfer_syntax))) for context in contexts]
    assert len(pairs) == len(set(pairs)) == 128
    assert pairs[0][0] == STUDY_GET
    assert classes == sorted({name for name, _ in pairs[1:]})
    singly = {name for name, syntaxes in pairs if len(syntaxes) == 1}
    together = {name for name, syntaxes in pairs[1:] if len(syntaxes) > 1}
    assert "1.2.840.10008.5.1.4.1.1.2" in singly
    assert not singly & together
    assert together <= {str(context.abstract_syntax) for context in StoragePresentationContexts}


def test_nothing_shown_of_a_question_or_an_answer_names_anybody() -> None:
    """Each of these is PHI, and a log may hold what is shown of any value."""
    names = ("study_uid", "accession", "patient_id", "issuer", "date", "modalities")
    shown: Iterator[object] = iter((
        Query(accession="A77", patient_id="P77", study_uid="1.2.77"),
        StudyMatch.model_validate({**dict.fromkeys(names, "1.77"), "instances": 1, "series": 1}),
        SeriesMatch(series_uid="1.2.77", modality="CT", instances=1),
        Fetch(study_uid="1.2.77", series_uid="1.2.77", sop_uids=("1.2.77",)),
    ))  # fmt: skip
    assert not [text for text in map(repr, shown) if "77" in text]
