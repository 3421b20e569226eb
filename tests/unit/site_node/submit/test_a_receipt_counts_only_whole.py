"""A receipt counts only if every field of it fits: of a coordinator that lies in one, no study leaves the outbox."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.submission import commits
from shared.crypto.signing import SigningKey
from shared.errors.transport import TransportError
from shared.errors.trust import ReceiptInvalid, SignatureInvalid
from shared.ids import AgreementId, Sha256, SiteId, Uid
from shared.receipt import Receipt
from shared.signed import Signed, of_manifest
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.membership.record import Membership
from site_node.study import Sealed, Submitted
from site_node.submit.client import submitting
from site_node.submit.receipts import SKEW, Answer, Receipts
from tests.factories.federation import Federation, running_federation, sealed_bytes

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).map(Sha256)
COUNTS = st.integers(10, 2**31 - 1)
BEYOND = st.timedeltas(SKEW + timedelta(minutes=5), timedelta(days=3650))
LIES = {
    "submission": DIGESTS,
    "site_id": st.integers(100_000, 999_999).map(lambda number: SiteId(str(number))),
    "agreement": st.text("0123456789abcdef", min_size=12, max_size=12).map(lambda text: AgreementId(f"A-{text}")),
    "agreement_version": COUNTS,
    "study": COUNTS.map(lambda number: Uid(f"2.25.{number}")),
    "sequence": COUNTS,
    "contents_sha256": DIGESTS,
    "ciphertext_sha256": DIGESTS,
    "ciphertext_size": COUNTS,
    "received_at": st.builds(lambda by, sign: datetime.now(UTC) + sign * by, BEYOND, st.sampled_from((1, -1))),
    "audit_number": st.just(1),  # that of an event before the site existed
}


NUMBERS = count(10**10)  # of audit events, each once and none of the coordinator's own


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def member(federation: Federation) -> tuple[SiteHome, Membership]:
    """A site that holds a receipt of an hour ago."""
    home, membership = federation.site("Checking Hospital")
    federation.time.ahead = timedelta(hours=-1)
    with submitting(home, membership) as submit, closing(Ledger(home.ledger)) as ledger:
        enter(ledger, submit(sealed_bytes(home, membership, 9)))
    federation.time.ahead = timedelta()
    return home, membership


@pytest.fixture(scope="module")
def newcomer(federation: Federation) -> tuple[SiteHome, Membership]:
    """A site that holds no receipt."""
    return federation.site("New Hospital")


def answer_to(federation: Federation, sealed: Sealed, *, key: SigningKey | None = None, **changes: object) -> Answer:
    """A receipt that fits, with `changes`, as of an earlier arrival."""
    manifest = sealed.manifest.manifest
    same = {name for name in Receipt.model_fields if name in type(manifest).model_fields and name != "format"}
    receipt = Receipt(
        submission=manifest.submission,
        received_at=datetime.now(UTC),
        audit_number=10**6,
        audit_head=Sha256("2" * 64),
        **manifest.model_dump(include=same),
    )
    return Answer(Signed.by(key or federation.identity.signing_key, receipt.model_copy(update=changes)))


def enter(ledger: Ledger, submitted: Submitted) -> None:
    """As the pipeline does."""
    ledger.add_study(submitted.key, (), state=State.SEALED)
    name, number = submitted.receipt.name, submitted.audit_number
    ledger.advance(submitted.key, State.SUBMITTED, receipt=name, audit_number=number)


def test_each_field_but_the_head_has_its_lie() -> None:
    """The head of the audit chain is compared by proofs; the format is the type's own."""
    assert set(LIES) == set(Receipt.model_fields) - {"format", "audit_head"}


@given(data=st.data(), name=st.sampled_from(sorted(LIES)))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_receipt_with_one_field_altered_is_refused(
    federation: Federation, member: tuple[SiteHome, Membership], data: st.DataObject, name: str
) -> None:
    """At its arrival and at each further try; the sealed study stays, and no receipt is kept."""
    home, membership = member
    lie = data.draw(LIES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "Receipt", lambda **fields: Receipt(**(fields | {name: lie})))
        sealed = sealed_bytes(home, membership, 9)
        refused = (ReceiptInvalid, SignatureInvalid)
        before = set(home.receipts.iterdir())
        with submitting(home, membership) as submit:
            for _ in range(2):
                with pytest.raises(refused) as caught:
                    submit(sealed)
                assert not isinstance(caught.value, TransportError)
        assert sealed.ciphertext.exists()
        assert set(home.receipts.iterdir()) == before


def test_a_receipt_of_another_key_is_refused(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """Nobody else can say that a study arrived, and a receipt that was kept is not changed unseen."""
    home, membership = member
    receipts, sealed = Receipts(home, membership), sealed_bytes(home, membership, 9)
    foreign = answer_to(federation, sealed, key=SigningKey.generate(), audit_number=10**7)
    with pytest.raises(SignatureInvalid):
        receipts.keep(sealed, foreign)
    receipts.path(sealed.manifest.manifest).write_text(foreign.receipt.model_dump_json())
    with pytest.raises(SignatureInvalid):
        receipts.kept(sealed.manifest.manifest)


def test_a_number_has_one_receipt(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """A further receipt of the same number is refused, before the ledger knows the first and after."""
    home, membership = member
    first, second = (sealed_bytes(home, membership, 9) for _ in range(2))
    with submitting(home, membership) as submit:
        held = submit(sealed_bytes(home, membership, 9))
    receipts = Receipts(home, membership)
    receipts.keep(first, answer_to(federation, first, audit_number=held.audit_number + 1))
    with pytest.raises(ReceiptInvalid, match="another receipt's"):
        receipts.keep(second, answer_to(federation, second, audit_number=held.audit_number + 1))
    with closing(Ledger(home.ledger)) as ledger:
        enter(ledger, held)
    with pytest.raises(ReceiptInvalid, match="another receipt's"):
        Receipts(home, membership).keep(second, answer_to(federation, second, audit_number=held.audit_number))


def test_uploads_that_overlap_end_in_any_order(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """A number must rise over those held when its upload began, not over one that came meanwhile."""
    home, membership = member
    receipts = Receipts(home, membership)
    newest, begun_at = receipts.newest, datetime.now(UTC)
    for ahead in (2, 1):
        sealed = sealed_bytes(home, membership, 9)
        answer = answer_to(federation, sealed, audit_number=newest + ahead)
        receipts.keep(sealed, answer._replace(begun_at=begun_at, newest=newest))
    sealed = sealed_bytes(home, membership, 9)
    late = answer_to(federation, sealed, audit_number=newest + 1)._replace(begun_at=begun_at, newest=receipts.newest)
    with pytest.raises(ReceiptInvalid, match="rise"):
        receipts.keep(sealed, late)


def test_a_study_sealed_again_has_the_receipt_of_its_first_ciphertext(
    federation: Federation, member: tuple[SiteHome, Membership]
) -> None:
    """Where the coordinator shows what the site had signed of it; else the receipt is over something else."""
    home, membership = member
    same: dict[str, Any] = {"study": Uid("2.25.77"), "contents_sha256": Sha256("7" * 64)}
    first = sealed_bytes(home, membership, 9, **same)
    with submitting(home, membership) as submit:
        submit(first).receipt.unlink()  # killed before it was durable
        again = sealed_bytes(home, membership, 10, **same)
        receipts = Receipts(home, membership)
        unexplained = answer_to(federation, first, audit_number=10**8)
        with pytest.raises(ReceiptInvalid, match="ciphertext"):
            receipts.keep(again, unexplained)
        other = of_manifest(sealed_bytes(home, membership, 9).manifest)
        with pytest.raises(ReceiptInvalid, match="another study"):
            receipts.keep(again, unexplained._replace(manifest=other))
        forged = Signed.by(SigningKey.generate(), first.manifest.manifest)
        with pytest.raises(SignatureInvalid):
            receipts.keep(again, unexplained._replace(manifest=forged))
        submitted = submit(again)
    receipt = Receipt.model_validate_json(Signed.model_validate_json(submitted.receipt.read_bytes()).document)
    assert receipt.ciphertext_sha256 == first.manifest.manifest.ciphertext_sha256


@pytest.mark.parametrize("way", ["new", "came before", "came before it was sealed again"])
def test_a_study_arrives_after_it_was_sent_and_not_tomorrow(
    federation: Federation, member: tuple[SiteHome, Membership], way: str
) -> None:
    """Not before its upload, its sealing or the agreement; clocks may differ by a day and an hour."""
    home, membership = member
    now = membership.executed_at.replace(microsecond=0) + timedelta(days=100)
    sealed_at, begun_at = now - timedelta(days=50), now - timedelta(hours=3)
    earliest = {"new": begun_at, "came before": sealed_at}.get(way, membership.executed_at)
    for received_at, counts in (
        (earliest - timedelta(hours=25, seconds=1), False),
        (earliest - timedelta(hours=25), True),
        (now + timedelta(hours=25), True),
        (now + timedelta(hours=25, seconds=1), False),
    ):
        first, same = sealed_bytes(home, membership, 9), dict[str, Any]()
        if way == "came before it was sealed again":
            same = {"study": first.manifest.manifest.study, "contents_sha256": first.manifest.manifest.contents_sha256}
        sealed = sealed_bytes(home, membership, 9, **same) if same else first
        os.utime(sealed.ciphertext, (sealed_at.timestamp(),) * 2)
        receipts = Receipts(home, membership, now=lambda: now)
        receipts._newest = None  # another law orders it
        answer = answer_to(federation, first, audit_number=next(NUMBERS), received_at=received_at)
        answer = answer._replace(manifest=of_manifest(first.manifest) if same else None)
        answer = answer._replace(begun_at=begun_at) if way == "new" else answer
        if counts:
            assert receipts.keep(sealed, answer).received_at == received_at
        else:
            with pytest.raises(ReceiptInvalid, match="arrived at its time"):
                receipts.keep(sealed, answer)


@given(
    steps=st.lists(st.tuples(st.integers(1, 7), st.integers(-15, 15), st.booleans()), max_size=6),
    number=st.integers(10**6, 10**9),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_earlier_arrivals_are_ordered_as_their_numbers_are(
    federation: Federation, newcomer: tuple[SiteHome, Membership], steps: list[tuple[int, int, bool]], number: int
) -> None:
    """Beyond five minutes a later arrival has a higher number than the newest here, also after a restart."""
    home, membership = newcomer
    home = SiteHome(home.folder.parent / f"copy-{next(NUMBERS)}")
    shutil.copytree(newcomer[0].folder, home.folder)
    receipts, now, held = Receipts(home, membership), datetime.now(UTC), dict[int, int]()
    for ahead, minutes, has_restarted in steps:
        sealed = sealed_bytes(home, membership, 9)
        received_at = now + timedelta(minutes=minutes)
        answer = answer_to(federation, sealed, audit_number=number + ahead, received_at=received_at)
        newest = max(held, default=0)
        apart = minutes - held.get(newest, minutes)
        if ahead in held or (abs(apart) > 5 and (apart > 0) != (ahead > newest)):
            with pytest.raises(ReceiptInvalid, match="audit number"):
                receipts.keep(sealed, answer)
            continue
        receipts.keep(sealed, answer)
        held[ahead] = minutes
        assert receipts.newest == number + max(held)
        with closing(Ledger(home.ledger)) as ledger:
            path = receipts.path(sealed.manifest.manifest)
            submitted = Submitted(
                key=sealed.key, receipt=path, sequence=1, received_at=received_at, audit_number=number + ahead
            )
            enter(ledger, submitted)
        receipts = Receipts(home, membership) if has_restarted else receipts


def test_a_receipt_under_another_studys_name_is_none_of_it(
    federation: Federation, member: tuple[SiteHome, Membership]
) -> None:
    """Nor can a site that holds none be told one by a file of another."""
    home, membership = member
    first, second = (sealed_bytes(home, membership, 9) for _ in range(2))
    receipts = Receipts(home, membership)
    assert receipts.kept(first.manifest.manifest) is None
    kept = receipts.keep(first, answer_to(federation, first, audit_number=next(NUMBERS)))
    assert receipts.kept(first.manifest.manifest) == kept
    receipts.path(first.manifest.manifest).rename(receipts.path(second.manifest.manifest))
    with pytest.raises(ReceiptInvalid, match="submission"):
        receipts.kept(second.manifest.manifest)
