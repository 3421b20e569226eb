"""An agreement that changes while a study is under way loses no study, and lets none in that is not agreed."""

from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from shared.errors.agreements import AgreementNotExecuted
from shared.errors.base import RicordError
from shared.errors.trust import CertificateForeign
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1 import site_pb2, submission_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.membership.agreement import sign_agreement
from site_node.membership.amendment import read_amendment, sign_amendment
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import Pass, run_pass
from site_node.submit import client, pace
from site_node.submit.receipts import Answer, Receipts
from tests.factories.federation import Federation, running_federation
from tests.factories.films import film, prepare

SIGNATORY = "A. Signatory, Director"
Change = Callable[[Federation, SiteHome], None]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("mid-upload")) as running:
        running.curator()
        yield running


def amendment(federation: Federation, home: SiteHome, *, reinstate: bool = False) -> str:
    """Offer the next version; the invitation token, empty unless it reinstates."""
    name = home.load().name
    draft = pb.DraftAgreementRequest(
        site_name=name, curator="curator", modes=["submit"], scope="films", modalities=["DX"], licence="CC BY-NC 4.0"
    )
    with federation.operator() as channel:
        stub = AgreementServiceStub(channel)
        return stub.AmendAgreement(pb.AmendAgreementRequest(draft=draft, reinstate=reinstate)).token


def suspend(federation: Federation, home: SiteHome) -> None:
    federation.suspend(home.load().name)


def resume(federation: Federation, home: SiteHome) -> None:
    federation.execute(home.load().name)


def revoke(federation: Federation, home: SiteHome) -> None:
    with federation.operator() as channel:
        request = site_pb2.RevokeCertificatesRequest(role="site", name=home.load().name)
        SiteServiceStub(channel).RevokeCertificates(request)


def enrol_again(federation: Federation, home: SiteHome) -> None:
    enrol(home, federation.join_token("site", home.load().name))


def terminate(federation: Federation, home: SiteHome) -> None:
    with federation.operator() as channel:
        request = pb.TerminateAgreementRequest(reference=home.load().name)
        AgreementServiceStub(channel).TerminateAgreement(request)


def reinstate(federation: Federation, home: SiteHome) -> None:
    token = amendment(federation, home, reinstate=True)
    read_agreement(home, token)
    sign_agreement(home, token, signatory=SIGNATORY)
    enrol(home, federation.execute(home.load().name))


def amend(federation: Federation, home: SiteHome) -> None:
    amendment(federation, home)
    read_amendment(home)
    sign_amendment(home, signatory=SIGNATORY)
    federation.execute(home.load().name)


def nothing(federation: Federation, home: SiteHome) -> None:
    """The pass heals by itself."""


CHANGES: dict[str, tuple[Change, type[RicordError] | None, Change]] = {
    "suspended": (suspend, AgreementNotExecuted, resume),
    "revoked": (revoke, CertificateForeign, enrol_again),
    "terminated": (terminate, RicordError, reinstate),
    "amended": (amend, None, nothing),
}


def sent(home: SiteHome) -> Pass:
    """One pass over the home."""
    with open_node(home) as node:
        return run_pass(node, State.SUBMITTED)


@pytest.mark.parametrize("name", CHANGES)
def test_a_study_under_way_is_refused_and_sent_later(
    federation: Federation, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator asks again at the commit. What it refuses waits, and has one receipt once the parties agree."""
    change, error, heal = CHANGES[name]
    home, member = federation.site(f"The {name} hospital")
    prepare(home, ["patient-1"], workers=1)
    with open_node(home) as node:
        receive_source(node, film(home, "patient-1"))
        run_pass(node, State.SEALED)
    refusals = list[type[RicordError]]()
    change_in_mid_upload(monkeypatch, lambda: change(federation, home), refusals.append)

    with capture_logs() as logs:
        blocked = sent(home).progress.blocked
        assert refusals, "it was accepted"
        assert isinstance(blocked, error or type(None))
        if error is not None:
            assert federation_rows(federation, member.site_id) == []
        heal(federation, home)
        assert sent(home).progress.blocked is None

    with open_node(home, writing=False) as node:
        [study] = node.ledger.studies()
        assert (study.state, study.receipt is not None) == (State.SUBMITTED, True)
    signed = Signed.model_validate_json((home.receipts / str(study.receipt)).read_bytes())
    receipt = signed.verified(member.coordinator_key, Receipt, what="the receipt")
    assert receipt.agreement_version == (2 if name in {"terminated", "amended"} else 1)
    assert federation_rows(federation, member.site_id) == [receipt.submission]
    assert list(home.outbox.iterdir()) == []
    assert "internal-error" not in str(logs)
    assert "defect" not in str(logs)


def test_a_receipt_that_was_lost_comes_whatever_became_of_the_agreement(federation: Federation) -> None:
    """A study that was committed before the amendment is not sealed again: one submission, not two."""
    home, member = federation.site("The forgetful hospital")
    prepare(home, ["patient-1"], workers=1)
    with open_node(home) as node:
        receive_source(node, film(home, "patient-1"))
    with pytest.MonkeyPatch.context() as patch, open_node(home) as node:
        patch.setattr(Receipts, "keep", lost)
        run_pass(node, State.SUBMITTED)
    assert len(federation_rows(federation, member.site_id)) == 1
    amend(federation, home)
    assert sent(home).progress.blocked is None
    assert len(federation_rows(federation, member.site_id)) == 1
    with open_node(home, writing=False) as node:
        assert [study.state for study in node.ledger.studies()] == [State.SUBMITTED]


def lost(*_: object) -> None:
    """A receipt that does not reach the disk."""
    raise OSError(5, "Input/output error")


def change_in_mid_upload(
    patch: pytest.MonkeyPatch, change: Callable[[], None], refused: Callable[[type[RicordError]], None]
) -> None:
    """Do something once, when the second part of the ciphertext is about to be sent; note what then is raised."""
    parts, upload, pending = client._parts, client.UploadClient.upload, [change]

    def interrupted(manifest: Signed, *place: object) -> Iterator[submission_pb2.UploadRequest]:
        for number, part in enumerate(parts(manifest, *place)):  # type: ignore[arg-type]
            if number == 2 and pending:
                pending.pop()()
            yield part

    def noting(self: client.UploadClient, *arguments: object) -> Answer:
        try:
            return upload(self, *arguments)  # type: ignore[arg-type]
        except RicordError as error:
            refused(type(error))
            raise

    patch.setattr(pace, "CHUNK", 1000)
    patch.setattr(client, "_parts", interrupted)
    patch.setattr(client.UploadClient, "upload", noting)


def federation_rows(federation: Federation, site_id: str) -> list[str]:
    """What the coordinator holds of a site."""
    with federation.reading() as reading:
        return [row.id for row in reading.submissions() if row.site_id == site_id]
