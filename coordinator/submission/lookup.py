"""Look up submissions and their ciphertexts by name."""

import hashlib

from coordinator.store.interface import Reading
from coordinator.store.records import Submission
from coordinator.store.references import resolve
from shared.errors.inputs import NotFound
from shared.ids import Sha256
from shared.manifest import Manifest
from shared.submission_state import SubmissionState


def blob_name(study: Manifest | Submission) -> Sha256:
    """The file's name: a study sealed again has another ciphertext, so its upload starts over."""
    submission = study.id if isinstance(study, Submission) else study.submission
    return Sha256(hashlib.sha256(f"{submission}{study.ciphertext_sha256}".encode()).hexdigest())


def standing_submission(reading: Reading, submission: Sha256) -> Submission | None:
    """The submission of that id, unless it was withdrawn: then it is as if it had never come."""
    row = reading.submission(submission)
    return None if row is None or row.state is SubmissionState.WITHDRAWN else row


def named_submission(reading: Reading, reference: str, *, curator: str | None = None) -> Submission:
    """The submission that a person means, by its id or a beginning; raises `NotFound`, `AmbiguousReference`.

    What is sealed to another than `curator` is not there.
    """
    row = reading.submission(Sha256(resolve(reading, "submission", reference, curator=curator)))
    if row is None:
        raise NotFound(kind="submission", name=reference)
    return row
