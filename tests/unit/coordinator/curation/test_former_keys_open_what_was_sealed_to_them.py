"""A curator changes its keys: what was sealed before stays open to it, what is agreed after names the new ones."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

import coordinator.cli
from coordinator.curation import membership
from coordinator.curation.fetching import fetching
from coordinator.curation.keys import lock_curator_keys
from coordinator.curation.membership import CuratorHome, join, member_of, rotate
from shared.crypto.keys import find_passphrase, make_signing, required
from shared.crypto.passphrase import CREDENTIAL
from shared.crypto.pki import Role
from shared.enrolment import Enrolment, KeyRotation
from shared.errors.settings import KeyFileLocked
from shared.errors.trust import SignatureInvalid
from shared.ids import Sha256
from shared.member import member_channel, renew_if_due
from shared.proto.ricord.v1 import agreement_pb2
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.membership_pb2 import RotateKeysRequest
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.protocol.loader import load_protocol
from shared.signed import Signed
from shared.wire import to_signed
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.membership.agreement import sign_agreement
from site_node.membership.amendment import fetch_countersigned, read_amendment, sign_amendment
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.membership.record import Membership, load_membership
from site_node.submit.client import submitting
from site_node.submit.states import fetch_states
from tests.factories.federation import Federation, running_federation, sealed_study

pytestmark = pytest.mark.slow

SIGNATORY = "A. Signatory, Director"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("rotation")) as running:
        yield running


def send(site: SiteHome, member: Membership, **study: str) -> None:
    with submitting(site, member) as submit:
        submit(sealed_study(site, member, **study))  # type: ignore[arg-type] # one keyword only


def opened(home: CuratorHome) -> int:
    """How many studies the curator opens of all that the coordinator holds for it."""
    with fetching(home, home.load_keys(), load_protocol()) as fetcher:
        return len([fetcher.open(submission.id) for submission in fetcher.submissions()])


def test_old_keys_open_old_studies_and_new_agreements_name_new_keys(federation: Federation) -> None:
    """Through two rotations; the certificate is renewed by the present key, and the coordinator kept each rotation."""
    home = federation.curator("curator")
    site, member = federation.site("First Hospital")
    send(site, member)
    named = [member.terms.curator]
    for number in (2, 3):
        keys = rotate(home)
        send(site, member, study=f"study-{number}")  # still under the agreement that names the first keys
        later, later_member = federation.site(f"Hospital {number}")
        named.append(later_member.terms.curator)
        assert (named[-1].recipient, named[-1].fingerprint) == (keys.identity.recipient, keys.signing.fingerprint)
        send(later, later_member)
    assert opened(home) == 5
    assert len({keys.fingerprint for keys in named}) == len({keys.recipient for keys in named}) == 3
    assert renew_if_due(member_of(home, home.load_keys()), datetime.now(UTC) + timedelta(days=21))
    with federation.reading() as reading:
        rotations = reading.rotations("curator")
        events = [event for event in reading.events() if event.action == "keys rotated"]
    assert [row.verify_key for row in rotations] == [keys.verify_key for keys in named[:-1]]
    assert len(events) == 2


def rotated(federation: Federation, name: str, curator: str) -> tuple[CuratorHome, SiteHome, Membership, str]:
    """A site that sent a study under an agreement whose curator then changed its keys; the new recipient."""
    home = federation.curator(curator)
    site = init_home(federation.folder / name, name=name)
    token = federation.invite(name)
    federation.draft(name, curator=curator)
    read_agreement(site, token)
    sign_agreement(site, token, signatory=SIGNATORY)
    member = enrol(site, federation.execute(name))
    send(site, member)
    return home, site, member, rotate(home).identity.recipient


def amend(federation: Federation, site: SiteHome, name: str, curator: str) -> Membership:
    """Both sides sign a version that names the curator's present keys."""
    draft = agreement_pb2.DraftAgreementRequest(
        site_name=name, curator=curator, modes=["submit"], scope="More", modalities=["CT"], licence="CC BY 4.0"
    )
    with federation.operator() as channel:
        AgreementServiceStub(channel).AmendAgreement(agreement_pb2.AmendAgreementRequest(draft=draft))
    read_amendment(site)
    sign_amendment(site, signatory=SIGNATORY)
    federation.execute(name)
    fetch_countersigned(site)
    return load_membership(site)


def test_a_site_seals_to_the_new_keys_once_it_signed_an_amendment(federation: Federation) -> None:
    """It sees them in the amendment; what it sealed before and after is opened."""
    home, site, member, recipient = rotated(federation, "Amending Hospital", "amended")
    amended = amend(federation, site, "Amending Hospital", "amended")
    assert amended.recipient == recipient != member.recipient
    send(site, amended, study="study-2")
    assert opened(home) == 2


def test_a_decision_counts_by_any_key_that_an_agreement_named(federation: Federation) -> None:
    """Decided before the keys changed, or after: the site knows the curator's word once it signed who signs it."""
    name, curator = "Deciding Hospital", "deciding"
    home, site, member, _ = rotated(federation, name, curator)
    send(site, member, study="study-2")
    assert ("blurred",) in decided(home, site, member, "blurred", count=1)
    member = amend(federation, site, name, curator)
    send(site, member, study="study-3")
    assert sorted(decided(home, site, member, "cut off")) == [("blurred",), ("cut off",), ("cut off",)]


def decided(
    home: CuratorHome, site: SiteHome, member: Membership, reason: str, *, count: int = 9
) -> list[tuple[str, ...]]:
    """Reject the first `count` that are new with a reason, and return the reasons that the site then knows."""
    with fetching(home, home.load_keys(), load_protocol()) as fetcher:
        new = [row.id for row in fetcher.submissions() if row.state == pb.SUBMISSION_STATE_RECEIVED][:count]
    arguments = ["--home", str(home.folder), "curate", "reject", *new, "--reason", reason]
    assert CliRunner().invoke(coordinator.cli.app, arguments).exit_code == 0
    with closing(Ledger(site.ledger)) as ledger:
        fetch_states(site, ledger, member)
        return [each.reasons for each in ledger.submissions.all()]


def test_a_rotation_that_was_cut_short_goes_on(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before or after the coordinator registered the keys: the same keys, once, and studies open in between."""
    home = federation.curator("cut")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("member_channel", "adopt_next_pair"):
        before = home.load_keys()
        with monkeypatch.context() as patch:
            patch.setattr(membership, step, killed)
            with pytest.raises(KeyboardInterrupt):
                rotate(home)
        pending = (home.keys / "next" / "age.key").read_bytes()
        assert home.load_keys().identity.recipient == before.identity.recipient
        after = rotate(home)
        assert (max(home.keys.glob("0*")) / "age.key").read_bytes() == pending
        assert after.former[-1].signing.fingerprint == before.signing.fingerprint
    with federation.reading() as reading:
        assert len(reading.rotations("cut")) == 2
        registered = reading.member(Role.CURATOR, "cut")
    assert registered is not None
    assert registered.recipient == home.load_keys().identity.recipient


def test_only_the_present_key_names_the_next(federation: Federation, tmp_path: Path) -> None:
    """Neither a stranger's key nor a former one, nor for another name, nor without the next key's own statement."""
    home = federation.curator("guarded")
    former = home.load_keys()
    rotate(home)
    keys = home.load_keys()
    following, stranger = make_signing(tmp_path / "next.pem"), make_signing(tmp_path / "stranger.pem")
    recipient = former.identity.recipient
    rotation = KeyRotation(name="guarded", verify_key=following.public.text, recipient=recipient)
    back = rotation.model_copy(update={"verify_key": former.signing.public.text})
    other = rotation.model_copy(update={"name": "curator"})
    statement = Enrolment(csr_sha256=Sha256("0" * 64), token_sha256=None, recipient=recipient)
    silent = statement.model_copy(update={"recipient": None})
    for document, signer, stated, by in (
        (rotation, stranger, statement, following),
        (rotation, former.signing, statement, following),
        (rotation, keys.signing, statement, stranger),
        (rotation, keys.signing, silent, following),
        (other, keys.signing, statement, following),
        (back, keys.signing, statement, former.signing),
    ):
        request = RotateKeysRequest(
            rotation=to_signed(Signed.by(signer, document)), statement=to_signed(Signed.by(by, stated))
        )
        with pytest.raises(SignatureInvalid), member_channel(member_of(home, keys)) as channel:
            MembershipServiceStub(channel).RotateKeys(request)
    with federation.reading() as reading:
        assert len(reading.rotations("guarded")) == 1


def test_keys_under_a_passphrase_need_no_person(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file that the settings name or from systemd; without either nothing opens."""
    secret = tmp_path / "passphrase"
    secret.write_text("a long passphrase\n")
    secret.chmod(0o600)
    home = CuratorHome(federation.folder / "curator-locked")
    token = federation.join_token("curator", "locked")
    join(home, token, protocol="ricord", passphrase_file=secret)
    rotate(home)
    pairs = [folder / name for folder in (home.keys, home.keys / "0002") for name in ("age.key", "signing.pem")]
    pairs.append(home.keys / "tls.pem")
    assert not [file for file in pairs if b"ENCRYPTED" not in file.read_bytes() and b"scrypt" not in file.read_bytes()]
    moved = CuratorHome(Path(shutil.copytree(home.folder, tmp_path / "moved")))
    moved.settings_file.write_text('protocol = "ricord"\n')
    with pytest.raises(KeyFileLocked):
        moved.load_keys()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    shutil.copy(secret, tmp_path / CREDENTIAL)
    assert moved.load_keys().identity.recipient == home.load_keys().identity.recipient
    member = member_of(moved, moved.load_keys())
    assert renew_if_due(member, datetime.now(UTC) + timedelta(days=21))
    with member_channel(member) as channel:
        SubmissionServiceStub(channel).ListSubmissions(pb.ListSubmissionsRequest(limit=1))
    assert lock_curator_keys(moved.keys, required(find_passphrase(secret))) == 0
