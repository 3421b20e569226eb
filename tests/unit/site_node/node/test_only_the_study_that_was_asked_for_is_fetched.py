"""Whatever a PACS answers, a request means the studies of its own number or UID, all of one patient, or none."""

from itertools import combinations_with_replacement, product
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors.inputs import InvalidArgument
from site_node.network.query import Query, StudyMatch
from site_node.node.retrieval import Retrieval, _Refusal
from site_node.receive.request_lists import StudyRequest

REQUESTS = [
    StudyRequest(**number, patient_id=patient)
    for number in ({"accession": "A1"}, {"study_uid": "1.1"})
    for patient in ("", "P1")
]
MATCHES = [
    StudyMatch(study_uid=uid, accession=accession, patient_id=patient, issuer=issuer,
               date="", modalities="CT", instances=1, series=1)
    for uid, accession, (patient, issuer) in product(
        ("1.1", "1.2"), ("A1", "A2", ""), (("P1", ""), ("P1", "Other hospital"), ("P2", ""))
    )
]  # fmt: skip


def meant(request: StudyRequest | None, *matches: StudyMatch) -> tuple[StudyMatch, ...]:
    pacs: Any = SimpleNamespace(studies=lambda _: matches)
    nothing: Any = None
    return Retrieval(pacs, nothing, nothing, nothing, nothing)._studies(request)


def refusal(request: StudyRequest | None, *matches: StudyMatch) -> str:
    with pytest.raises(_Refusal) as refused:
        meant(request, *matches)
    return str(refused.value)


def is_asked_for(match: StudyMatch, request: StudyRequest) -> bool:
    return (match.accession, match.study_uid)[not request.accession] == (request.accession or request.study_uid)


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_each_answer_of_two_studies_is_judged_by_what_was_asked(request_: StudyRequest) -> None:
    """A PACS may ignore a key, answer without a number, or have one number for two patients."""
    for matches in combinations_with_replacement(MATCHES, 2):
        asked_for = [match for match in matches if is_asked_for(match, request_)]
        patients = {(match.patient_id, match.issuer) for match in {m.study_uid: m for m in asked_for}.values()}
        is_other = bool(request_.patient_id) and {patient for patient, _ in patients} != {request_.patient_id}
        if len(patients) == 1 and not is_other:
            assert {match.study_uid for match in meant(request_, *matches)} == {m.study_uid for m in asked_for}
        elif patients:
            assert refusal(request_, *matches) == ("several-patients" if len(patients) > 1 else "other-patient")
        elif request_.study_uid:
            assert refusal(request_, *matches) == "unknown-study"
        else:
            has_number = any(match.accession for match in matches)
            assert refusal(request_, *matches) == ("other-accession" if has_number else "answer-without-accession")


def test_no_answer_and_no_question_have_their_reasons() -> None:
    """By what was asked; a query that the PACS cannot be asked, and a list that is lost, end the request."""
    assert [refusal(request) for request in REQUESTS] == ["unknown-accession"] * 2 + ["unknown-study"] * 2
    assert refusal(None) == "request-lost"

    def refusing(_: Query) -> tuple[StudyMatch, ...]:
        raise InvalidArgument(name="The query", problem="of the test")

    nothing: Any = None
    pacs: Any = SimpleNamespace(studies=refusing)
    with pytest.raises(_Refusal, match="query-invalid"):
        Retrieval(pacs, nothing, nothing, nothing, nothing)._studies(REQUESTS[0])
