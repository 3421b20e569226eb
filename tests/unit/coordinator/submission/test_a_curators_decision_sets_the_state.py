"""A submission's state follows one table, by decisions that its curator signed, and nothing else sets it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.records import Rotation
from coordinator.store.sql import SqlStore
from coordinator.submission.decisions import DecisionService
from coordinator.submission.service import SubmissionService
from shared.crypto.pki import Role
from shared.crypto.signing import SigningKey
from shared.errors.inputs import NotFound, SubmissionTransitionInvalid
from shared.errors.trust import SignatureInvalid
from shared.ids import Sha256
from shared.signed import Signed, of_manifest
from shared.submission_state import DECIDED, NEXT, Decision, SubmissionState
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from tests.factories.ciphertexts import open_ciphertexts
from tests.factories.federation import Federation, sealed_bytes

RECEIVED, QUARANTINED, ACCEPTED, REJECTED, WITHDRAWN = SubmissionState
Submit = Callable[[], Sha256]


@pytest.fixture
def ciphertexts(tmp_path: Path) -> CiphertextStore:
    """Of one kind: rows only are asked."""
    return open_ciphertexts("folder", tmp_path, None)


@pytest.fixture
def submit(service: SubmissionService, member: tuple[SiteHome, Membership]) -> Submit:
    """The id of a new submission."""

    def new() -> Sha256:
        sealed = sealed_bytes(*member, 9)
        list(service.receive(member[1].site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
        return sealed.manifest.manifest.submission

    return new


@pytest.fixture
def decisions(store: SqlStore, federation: Federation) -> DecisionService:
    return DecisionService(store, federation.identity)


@pytest.fixture
def key(federation: Federation) -> SigningKey:
    return load_curator_keys(CuratorHome(federation.folder / "curator-curator").keys).signing


def signed(key: SigningKey, submission: Sha256, state: SubmissionState, *reasons: str) -> Signed:
    return Signed.by(key, Decision(submission=submission, state=state, reasons=reasons, decided_at=datetime.now(UTC)))


def test_the_table_names_every_state() -> None:
    """Each state has a row; all can be withdrawn, only that may come again, and a decision can be corrected."""
    assert set(NEXT) == set(SubmissionState)
    assert all((WITHDRAWN in after, RECEIVED in after) == (True, state is WITHDRAWN) for state, after in NEXT.items())
    assert (REJECTED in NEXT[ACCEPTED], ACCEPTED in NEXT[REJECTED], ACCEPTED in NEXT[RECEIVED]) == (True, True, False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(st.sampled_from(SubmissionState), max_size=6))
def test_the_state_is_where_the_table_leads(
    store: SqlStore, decisions: DecisionService, submit: Submit, key: SigningKey, wanted: list[SubmissionState]
) -> None:
    """A step of the table is taken, with one event; another is refused and changes nothing; a repeat is no step."""
    submission, state = submit(), RECEIVED
    for target in wanted:
        decision = signed(key, submission, target, "remark")
        with store.read() as reading:
            before, events = reading.submission(submission), reading.log_size()
        if target in NEXT[state] and target in DECIDED:
            for _ in range(2):
                decisions.decide("curator", decision)
            state = target
            with store.read() as reading:
                row = reading.submission(submission)
                assert row is not None
                assert (row.state, row.decision, row.changed) == (state, decision, events + 1)
                assert reading.log_size() == events + 1
        else:
            with pytest.raises(SubmissionTransitionInvalid):
                decisions.decide("curator", decision)
            with store.read() as reading:
                assert (reading.submission(submission), reading.log_size()) == (before, events)


def test_only_its_curator_decides(
    store: SqlStore, federation: Federation, decisions: DecisionService, submit: Submit, key: SigningKey
) -> None:
    """Neither another key nor another curator, who does not even learn that it is there."""
    submission = submit()
    with pytest.raises(SignatureInvalid):
        decisions.decide("curator", signed(SigningKey.generate(), submission, REJECTED, "no"))
    with pytest.raises(SignatureInvalid):
        decisions.decide("nobody", signed(key, submission, REJECTED, "no"))
    other = load_curator_keys(federation.curator("other").keys).signing
    with pytest.raises(NotFound):
        decisions.decide("other", signed(other, submission, REJECTED, "no"))
    with store.read() as reading:
        row = reading.submission(submission)
    assert row is not None
    assert (row.state, row.decision) == (RECEIVED, None)


def test_what_a_curator_signed_with_a_former_key_counts(
    store: SqlStore, decisions: DecisionService, submit: Submit, key: SigningKey
) -> None:
    """A decision that was on its way while its curator changed its keys is that curator's still."""
    submission, now, following = submit(), datetime.now(UTC), SigningKey.generate()
    with store.begin() as work:
        member = work.member(Role.CURATOR, "curator")
        assert member is not None
        assert member.recipient is not None
        former = signed(key, submission, RECEIVED)
        work.add_rotation(
            Rotation(
                name="curator", verify_key=member.verify_key, recipient=member.recipient, signed=former, rotated_at=now
            )
        )
        work.put_member(member.model_copy(update={"verify_key": following.public.text}))
    try:
        for signer, state in ((key, QUARANTINED), (following, ACCEPTED), (key, REJECTED)):
            decisions.decide("curator", signed(signer, submission, state))
        with pytest.raises(SignatureInvalid):
            decisions.decide("curator", signed(SigningKey.generate(), submission, ACCEPTED))
    finally:
        with store.begin() as work:
            work.put_member(member)


@pytest.mark.parametrize("reasons", [("x" * 101,), ("",), ("two\nlines",), ("\x1b[2J",), ("x",) * 6])
def test_a_reason_is_a_short_line(key: SigningKey, reasons: tuple[str, ...]) -> None:
    """So that a thousand fit a page of a list, and none writes on a terminal."""
    with pytest.raises(ValueError, match="reasons"):
        signed(key, Sha256("0" * 64), REJECTED, *reasons)
