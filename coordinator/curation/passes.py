"""A pass of the curator: purge what was withdrawn, open studies, enter them; one that fails stops no other."""

from collections.abc import Sequence
from contextlib import closing
from itertools import takewhile
from typing import NamedTuple

from coordinator.curation.fetching import Fetcher, fetching
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import OpenedStudy, list_opened
from coordinator.curation.purging import purged_submissions
from coordinator.curation.register.register import Register
from coordinator.curation.review.checking import check_opened
from coordinator.curation.review.sending import send_decisions
from shared.errors.base import RicordError
from shared.ids import Sha256
from shared.progress import progress
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.protocol.loader import load_protocol


class Pass(NamedTuple):
    """What came of one pass."""

    opened: tuple[OpenedStudy, ...]
    open_before: tuple[OpenedStudy, ...]  # none where studies were named
    failures: dict[str, RicordError]  # by the submission that did not open
    purged: tuple[Sha256, ...]
    last: int  # the number up to which none failed

    @property
    def whole(self) -> bool:
        """Whether every study that was meant is open now."""
        return not self.failures


def run_pass(home: CuratorHome, submission_ids: Sequence[str] | None, *, after: int = 0) -> Pass:
    """Open the studies named, or with `None` all that are not open yet of those that came `after` a number.

    Raises what `fetching` raises; the error of a study is in the result.
    """
    opened, failures = list[OpenedStudy](), dict[str, RicordError]()
    protocol = load_protocol(home.settings().protocol)
    with fetching(home, home.load_keys(), protocol) as fetcher:
        purged = fetcher.purger.purge_withdrawn()
        open_before = list_opened(home.opened) if submission_ids is None else ()
        listed = fetcher.submissions(after) if submission_ids is None else ()
        wanted = _not_open(listed, open_before) if submission_ids is None else submission_ids
        with progress("Opening", lambda: len(wanted), unit="studies") as advance:
            for submission_id in wanted:
                try:
                    opened.append(fetcher.open(submission_id))
                except RicordError as error:
                    failures[submission_id] = error
                advance()
        _note_open(fetcher, listed, open_before)
        with closing(Register(home.register)) as register:
            now_open = list_opened(home.opened)
            register.follow(now_open, purged_submissions(home))
            check_opened(register, now_open, protocol.criteria)
            send_decisions(register, fetcher.decider)
    settled = takewhile(lambda submission: submission.id not in failures, listed)
    last = max((submission.number for submission in settled), default=after)
    return Pass(tuple(opened), open_before, failures, purged, last)


def _not_open(listed: Sequence[pb.Submission], open_before: Sequence[OpenedStudy]) -> list[str]:
    """The ids of those that arrived after what is open of their study; the number of that the list may know, too."""
    numbers = {submission.id: submission.number for submission in listed}
    last: dict[tuple[str, str], int] = {
        (study.contents.site_id, study.contents.study): max(study.arrival.number, numbers.get(study.submission, 0))
        for study in open_before
    }
    return [
        submission.id
        for submission in listed
        if submission.state != pb.SUBMISSION_STATE_WITHDRAWN
        and submission.number > last.get((submission.site_id, submission.study), -1)
    ]


def _note_open(fetcher: Fetcher, listed: Sequence[pb.Submission], open_before: Sequence[OpenedStudy]) -> None:
    """Say of what an earlier pass opened that it is open, where that pass ended before it could."""
    states = {submission.id: submission.state for submission in listed}
    for study in open_before:
        fetcher.decider.note_open(study, states.get(study.submission, pb.SUBMISSION_STATE_UNSPECIFIED))
