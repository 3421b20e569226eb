"""What a restored coordinator has rows of and no ciphertext, as it is copied by other means than a backup."""

from collections.abc import Iterator

from coordinator.home.init import open_ciphertexts, open_home_store
from coordinator.home.settings import Home
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.records import Submission
from coordinator.submission.lookup import blob_name
from shared.submission_state import SubmissionState

_PAGE = 1000  # submissions


def without_ciphertext(home: Home) -> Iterator[Submission]:
    """Each submission that stands and whose ciphertext is not there whole, in the order of their arrival.

    Raises what `open_home_store` and `open_ciphertexts` raise.
    """
    settings = home.settings()
    store, last = open_home_store(home, settings), 0
    try:
        ciphertexts = open_ciphertexts(home, settings, store.locks)
        while True:
            with store.read() as reading:
                page = reading.submissions(after=last, limit=_PAGE)
            if not page:
                return
            last = page[-1].number
            for row in page:
                if row.state is not SubmissionState.WITHDRAWN and not _is_whole(ciphertexts, row):
                    yield row
    finally:
        store.close()


def _is_whole(ciphertexts: CiphertextStore, row: Submission) -> bool:
    """By its place and its size: reading every byte is the curator's, who checks the hash."""
    name = blob_name(row)
    return ciphertexts.is_final(name) and ciphertexts.durable(name) == row.ciphertext_size
