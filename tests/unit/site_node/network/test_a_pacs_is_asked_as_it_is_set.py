"""A PACS over DIMSE: each service is used as the settings say, and every question ends with what was answered."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from pynetdicom.presentation import build_context

from shared.errors.transport import PacsFailed
from site_node.network import query_retrieve
from site_node.network.arrivals import Arrivals
from site_node.network.connection import associated
from site_node.network.query import Fetch, Outcome, Query
from site_node.network.query_retrieve import STUDY_FIND, STUDY_GET, STUDY_MOVE, Pacs
from site_node.network.scp import serving
from site_node.settings.dimse import PacsSettings, ScpSettings
from tests.factories.dicom import make_ct
from tests.factories.dimse_pacs import OURS, DimsePacs, dimse_pacs
from tests.factories.pacs import key_of
from tests.factories.ports import free_port

SLICES = make_ct(slices=3, rows=8, AccessionNumber="A1", PatientID="P1")
OTHERS = make_ct(slices=1, rows=8, study="other", AccessionNumber="A2", PatientID="P2")
STUDY, SERIES = str(SLICES[0].StudyInstanceUID), str(SLICES[0].SeriesInstanceUID)
UIDS = tuple(str(dataset.SOPInstanceUID) for dataset in SLICES)


@contextmanager
def listening(folder: Path, pacs: DimsePacs) -> Iterator[Arrivals]:
    """Our SCP, to which the PACS moves."""
    arrivals = Arrivals(folder, key_of)
    with serving(
        ScpSettings(host="127.0.0.1", port=pacs.moves_to, callers=("PACS",), ae_title=OURS, min_free_mb=0), arrivals
    ):
        yield arrivals


def test_each_level_is_found_by_its_own_key() -> None:
    """The study by what is known of it, its series by its UID, its images by both UIDs; nobody else's come."""
    with dimse_pacs([*SLICES, *OTHERS]) as peer:
        pacs = Pacs(peer.settings())
        pacs.echo()
        matches = [pacs.studies(query) for query in (Query(accession="A1"), Query(patient_id="P1"))]
        (study,) = pacs.studies(Query(study_uid=STUDY))
        assert matches == [(study,)] * 2
        assert (study.study_uid, study.accession, study.patient_id) == (STUDY, "A1", "P1")
        assert [(series.series_uid, series.modality) for series in pacs.series(STUDY)] == [(SERIES, "CT")]
        assert pacs.instances(STUDY) == {SERIES: frozenset(UIDS)}
        assert pacs.announced(study) == len(SLICES)
    assert {asked.QueryRetrieveLevel for asked in peer.asked} == {"STUDY", "SERIES", "IMAGE"}


@pytest.mark.parametrize(("most", "passes"), [(2, True), (1, False)])
def test_a_question_may_have_so_many_answers(monkeypatch: pytest.MonkeyPatch, most: int, passes: bool) -> None:
    """A PACS that answers with everything fills no memory; the bound itself is let through."""
    monkeypatch.setattr(query_retrieve, "_MOST_ANSWERS", most)
    with dimse_pacs([*SLICES, *OTHERS]) as peer:
        pacs = Pacs(peer.settings())
        if passes:
            assert len(pacs.studies(Query(dates="19000101-"))) == 2
        else:
            with pytest.raises(PacsFailed) as caught:
                pacs.studies(Query(dates="19000101-"))
            assert caught.value.reason == "answers-too-many"


@pytest.mark.parametrize(("code", "reason"), [(0xA700, "pacs-out-of-resources"), (0xC001, "pacs-status-c001")])
def test_answers_before_a_failure_are_no_answer(code: int, reason: str) -> None:
    """A study that is named before the PACS fails may not be the only one."""
    with dimse_pacs(SLICES) as peer:
        peer.ends_with = code
        with pytest.raises(PacsFailed) as caught:
            Pacs(peer.settings()).studies(Query(accession="A1"))
    assert caught.value.reason == reason


def test_an_answer_without_a_uid_is_none() -> None:
    """What names no study cannot be fetched: the PACS is told from one that has no match."""
    (unnamed,) = make_ct(slices=1, rows=8, StudyInstanceUID="", AccessionNumber="A9")
    with dimse_pacs([unnamed]) as peer:
        with pytest.raises(PacsFailed) as caught:
            Pacs(peer.settings()).studies(Query(accession="A9"))
        assert Pacs(peer.settings()).studies(Query(accession="A0")) == ()
    assert caught.value.reason == "answer-without-uid"


@pytest.mark.parametrize("method", ["get", "move"])
@pytest.mark.parametrize("sop_uids", [(), UIDS[:2]])
def test_what_is_fetched_is_here(tmp_path: Path, method: str, sop_uids: tuple[str, ...]) -> None:
    """A whole study, or the images named of it, by the service that is set; the counts are the PACS's."""
    with dimse_pacs([*SLICES, *OTHERS], moves_to=free_port()) as peer, listening(tmp_path, peer) as arrivals:
        pacs = Pacs(peer.settings(method=method), destination=OURS)
        outcome = pacs.retrieve(Fetch(study_uid=STUDY, series_uid=SERIES, sop_uids=sop_uids), arrivals)
        count = len(sop_uids or UIDS)
        assert (outcome.reason, outcome.completed, outcome.failed) == ("", count, 0)
        assert arrivals.count(STUDY) == count
        assert arrivals.count(str(OTHERS[0].StudyInstanceUID)) == 0


def test_whom_the_pacs_does_not_know_it_sends_nothing(tmp_path: Path) -> None:
    """C-MOVE to a title that is not in its configuration fails, with that reason."""
    with dimse_pacs(SLICES, moves_to=free_port()) as peer, listening(tmp_path, peer) as arrivals:
        outcome = Pacs(peer.settings(method="move"), destination="NOBODY").retrieve(Fetch(study_uid=STUDY), arrivals)
        assert (outcome.reason, arrivals.count(STUDY)) == ("destination-unknown", 0)


def test_the_reserve_holds_for_what_is_fetched(tmp_path: Path) -> None:
    """An image that would use the last of the disk is refused, and the PACS counts it as failed."""
    with dimse_pacs(SLICES) as peer:
        arrivals = Arrivals(tmp_path, key_of)
        outcome = Pacs(peer.settings()).retrieve(Fetch(study_uid=STUDY), arrivals, reserve=1 << 60)
    assert (outcome.failed, arrivals.count(STUDY)) == (len(SLICES), 0)
    assert outcome.reason


@pytest.mark.parametrize(
    ("method", "order"), [("get", ["C-FIND", "C-GET", "C-MOVE"]), ("move", ["C-FIND", "C-MOVE", "C-GET"])]
)
def test_each_service_is_tried_as_a_retrieval_uses_it(tmp_path: Path, method: str, order: list[str]) -> None:
    """The one that the settings use comes first of the two; with a sample it is fetched, without one nothing is."""
    sample = Fetch(study_uid=STUDY, series_uid=SERIES, sop_uids=UIDS[:1])
    with dimse_pacs(SLICES, moves_to=free_port()) as peer, listening(tmp_path, peer) as arrivals:
        trials = Pacs(peer.settings(method=method), destination=OURS).trials()
        assert list(trials) == order
        for trial in trials.values():
            assert trial(None, arrivals) == Outcome()
        assert arrivals.count(STUDY) == 0
        assert [asked.QueryRetrieveLevel for asked in peer.asked] == ["STUDY"]
        for name in ("C-GET", "C-MOVE"):
            arrived = Arrivals(tmp_path / name, key_of) if name == "C-GET" else arrivals
            assert trials[name](sample, arrived).reason == ""
            assert arrived.count(STUDY) == 1


@pytest.mark.parametrize("missing", [STUDY_FIND, STUDY_GET, STUDY_MOVE])
def test_a_service_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    """Its trial fails with its name, whether there is a sample or none; the others pass."""
    offers = [str(service) for service in (STUDY_FIND, STUDY_GET, STUDY_MOVE) if service != missing]
    names = {STUDY_FIND: "C-FIND", STUDY_GET: "C-GET", STUDY_MOVE: "C-MOVE"}
    with dimse_pacs(SLICES, offers=offers) as peer:
        arrivals = Arrivals(tmp_path, key_of)
        for name, trial in Pacs(peer.settings(), destination=OURS).trials().items():
            if name != names[missing]:
                assert trial(None, arrivals) == Outcome()
                continue
            for sample in (None, Fetch(study_uid=STUDY, series_uid=SERIES, sop_uids=UIDS[:1])):
                with pytest.raises(PacsFailed) as caught:
                    trial(sample, arrivals)
                assert caught.value.reason == f"pacs-without-{name.lower()}"


def test_an_association_in_which_something_failed_is_aborted() -> None:
    """The PACS need not wait for more; one that ended well is released."""
    with dimse_pacs() as peer:
        settings = peer.settings()
        with associated(settings, "C-ECHO", [build_context("1.2.840.10008.1.1")], answer_seconds=5) as whole:
            assert whole.is_established
        with (
            pytest.raises(KeyError),
            associated(settings, "C-ECHO", [build_context("1.2.840.10008.1.1")], answer_seconds=5) as broken,
        ):
            raise KeyError
        assert (whole.is_released, whole.is_aborted) == (True, False)
        assert (broken.is_released, broken.is_aborted) == (False, True)  # before the PACS ends and aborts by itself


@pytest.mark.parametrize("statuses", [[], [0xFF00], [0xFF00, 0xFF01]])
def test_answers_without_an_end_are_no_answer(monkeypatch: pytest.MonkeyPatch, statuses: list[int]) -> None:
    """The association was cut: there may be further studies."""
    answers = [(SimpleNamespace(get=lambda _, code=code: code), None) for code in statuses]
    association = SimpleNamespace(send_c_find=lambda *_: iter(answers))
    monkeypatch.setattr(Pacs, "_associated", lambda *_: nullcontext(association))
    settings = PacsSettings(host="127.0.0.1", port=104, ae_title="PACS")
    with pytest.raises(PacsFailed) as caught:
        Pacs(settings).studies(Query(accession="A1"))
    assert caught.value.reason == "no-answer"
