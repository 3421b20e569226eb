"""What curators decide on the studies that are sealed to them."""

from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Reading, Store
from coordinator.submission.lookup import named_submission
from shared.crypto.pki import Role
from shared.crypto.signing import VerifyKey
from shared.errors.inputs import SubmissionTransitionInvalid
from shared.errors.trust import SignatureInvalid
from shared.signed import Signed
from shared.submission_state import DECIDED, Decision, check_next

_WHAT = "the decision"


class DecisionService:
    """Curators' decisions, checked and kept with the submissions."""

    def __init__(self, store: Store, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._now = clock

    def decide(self, curator: str, signed: Signed) -> None:
        """Set a submission's state as its curator signed; the same decision again changes nothing.

        Raises `SignatureInvalid`, `NotFound` for what is sealed to another curator, `SubmissionTransitionInvalid`.
        """
        with self._store.begin() as work:
            decision = signed.verified(signing_key(work, curator, signed), Decision, what=_WHAT)
            row = named_submission(work, decision.submission, curator=curator)
            if row.decision == signed:
                return
            if decision.state not in DECIDED:
                raise SubmissionTransitionInvalid(state=row.state, wanted=decision.state)
            check_next(row.state, decision.state)
            uri = self._identity.uri(Role.CURATOR, curator)
            event = work.append_event(at=self._now(), actor=uri, action=f"study {decision.state}", about=row.id)
            decided = {"state": decision.state, "decision": signed, "changed": event.number}
            work.put_submission(row.model_copy(update=decided))


def signing_key(reading: Reading, curator: str, signed: Signed) -> VerifyKey:
    """The key of a curator, the present or a former one, that signed a document; raises `SignatureInvalid`."""
    member = reading.member(Role.CURATOR, curator)
    texts = [member.verify_key] if member is not None else []
    for key in map(VerifyKey.parse, (*texts, *(rotation.verify_key for rotation in reading.rotations(curator)))):
        try:
            key.verify(signed.document.encode(), signed.signature)
        except SignatureInvalid:
            continue
        return key
    raise SignatureInvalid("no key of this curator", what="what the curator states")
