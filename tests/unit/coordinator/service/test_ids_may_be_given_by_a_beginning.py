"""Every call of an operator and a curator accepts a beginning where it accepts an id, and says which was meant."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from coordinator.commands.output import short, show_fields
from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome, member_of
from shared.errors.inputs import AmbiguousReference, NotFound
from shared.ids import Sha256
from shared.member import member_channel
from shared.proto.ricord.v1 import agreement_pb2, site_pb2, submission_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_study

NORTH, SOUTH = "North Hospital", "North-East Hospital"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        for name in (NORTH, SOUTH):
            site, member = running.site(name)
            with submitting(site, member) as submit:
                submit(sealed_study(site, member))
        yield running


def _submission(channel: grpc.Channel, reference: str) -> str:
    answer = SubmissionServiceStub(channel).GetSubmission(submission_pb2.GetSubmissionRequest(id=reference))
    return answer.submission.id


def _submissions(channel: grpc.Channel, reference: str) -> str:
    request = submission_pb2.ListSubmissionsRequest(site_id=reference)
    (submission,) = SubmissionServiceStub(channel).ListSubmissions(request).submissions
    return submission.site_id


def _agreement(channel: grpc.Channel, reference: str) -> str:
    request = agreement_pb2.GetAgreementRequest(reference=reference)
    return AgreementServiceStub(channel).GetAgreement(request).agreement.site_name


def _suspended(channel: grpc.Channel, reference: str) -> str:
    stub = AgreementServiceStub(channel)
    stub.SuspendAgreement(agreement_pb2.SuspendAgreementRequest(reference=reference))
    return stub.ExecuteAgreement(agreement_pb2.ExecuteAgreementRequest(reference=reference)).agreement.site_name


def _site(channel: grpc.Channel, reference: str) -> str:
    return SiteServiceStub(channel).GetSite(site_pb2.GetSiteRequest(reference=reference)).site.name


def _token(channel: grpc.Channel, reference: str) -> str:
    return SiteServiceStub(channel).IssueJoinToken(site_pb2.IssueJoinTokenRequest(role="site", name=reference)).name


@pytest.mark.parametrize("call", [_agreement, _suspended, _site, _token])
def test_a_site_is_named_by_a_beginning(federation: Federation, call: Callable[[grpc.Channel, str], str]) -> None:
    """The answer says which site was meant; what fits both is refused with their number, what fits none is named."""
    with federation.operator() as channel:
        assert call(channel, "North H") == NORTH
    with pytest.raises(AmbiguousReference) as refused, federation.operator() as channel:
        call(channel, "North")
    assert refused.value.fields["count"] == "2"
    for nothing in ("South", ""):
        with pytest.raises(NotFound), federation.operator() as channel:
            call(channel, nothing)


def test_a_submission_is_named_by_a_beginning(federation: Federation) -> None:
    """By the digits that a list shows, for the operator and for the curator; a list is of one site by its name."""
    with federation.reading() as reading:
        ids = [row.id for row in reading.submissions()]
    home = CuratorHome(federation.folder / "curator-curator")
    with federation.operator() as channel, member_channel(member_of(home, load_curator_keys(home.keys))) as own:
        for full in ids:
            assert _submission(channel, short(full)) == _submission(own, short(full)) == full
        assert _submissions(channel, "North-")
        assert {_submissions(channel, name) for name in (NORTH, SOUTH)} == {
            site.site_id for site in SiteServiceStub(channel).ListSites(site_pb2.ListSitesRequest()).sites
        }


def test_a_list_shows_ids_that_fit_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns each row of many columns has its id on one line; `--json` has it whole."""
    monkeypatch.setenv("COLUMNS", "80")
    digest = Sha256("0123456789abcdef" * 4)
    columns = ("id", "number", "site_id", "sequence", "modalities", "instance_count", "ciphertext_size", "received_at")
    row = dict.fromkeys(columns, 7) | {"id": digest, "received_at": "2026-03-01T12:00:00+00:00"}
    show_fields("Submissions", [row], columns)
    lines = capsys.readouterr().out.splitlines()
    assert sum("0123456789ab" in line for line in lines) == 1
    assert not any("cdef" in line for line in lines)
