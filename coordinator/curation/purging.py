"""Purge what was withdrawn: the statement is signed and kept first, then the copies go, then the coordinator is told.

A kill in between is made good by the next pass, since the coordinator names a withdrawal until it has the statement.
"""

import hashlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc

from coordinator.curation.keys import CuratorKeys
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import ARRIVAL_NAME, MANIFEST_NAME, OpenedStudy, list_opened
from shared.crypto.contents import Contents
from shared.durable import sync_folder, write_whole
from shared.errors.agreements import SubmissionWithdrawn
from shared.ids import Sha256, SiteId, Uid
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import Signed
from shared.wire import UNARY_SECONDS, to_signed
from shared.withdrawal import Purge


class Purger:
    """A curator's deletions on one connection."""

    def __init__(self, channel: grpc.Channel, home: CuratorHome, keys: CuratorKeys) -> None:
        self._stub = SubmissionServiceStub(channel)
        self._home = home
        self._keys = keys

    def purge_withdrawn(self) -> tuple[Sha256, ...]:
        """Purge what was withdrawn since, and say so; returns the submissions."""
        purged = list[Sha256]()
        for withdrawal in self._unpurged():
            self._purge(withdrawal)
            purged.append(Sha256(withdrawal.submission))
        return tuple(purged)

    def _unpurged(self) -> Iterator[pb.Withdrawal]:
        request = pb.ListWithdrawalsRequest(unpurged=True)
        while True:
            page = self._stub.ListWithdrawals(request, timeout=UNARY_SECONDS)
            yield from page.withdrawals
            if page.next <= request.after:
                return
            request.after = page.next

    def _purge(self, withdrawal: pb.Withdrawal) -> None:
        submission, instances = Sha256(withdrawal.submission), tuple(Uid(uid) for uid in withdrawal.instances)
        kept = self._home.purges / f"{withdrawal.number}.json"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True, mode=0o700)
            purge = Purge(
                number=withdrawal.number, submission=submission, instances=instances, purged_at=datetime.now(UTC)
            )
            write_whole(kept, canonical_json(Signed.by(self._keys.signing, purge)))
        (self._home.fetching / f"{hashlib.sha256(submission.encode()).hexdigest()}.age").unlink(missing_ok=True)
        target = self._home.opened / SiteId(withdrawal.site_id) / Uid(withdrawal.study)
        if not (target / MANIFEST_NAME).exists():
            shutil.rmtree(target, ignore_errors=True)  # what a kill left
        for study in list_opened(self._home.opened):
            if study.folder == target and instances:
                _remove_instances(study, instances)
            elif study.folder == target and study.submission == submission:
                (target / MANIFEST_NAME).unlink()  # first: nothing half lies there
                shutil.rmtree(target)
                sync_folder(target.parent)
        statement = Signed.model_validate_json(kept.read_bytes())
        self._stub.ReportPurge(pb.ReportPurgeRequest(statement=to_signed(statement)), timeout=UNARY_SECONDS)


def _remove_instances(study: OpenedStudy, instances: tuple[Uid, ...]) -> None:
    """Note them as withdrawn, so that nobody counts on them, then delete them."""
    withdrawn = tuple(sorted({*study.arrival.withdrawn, *instances}))
    arrival = study.arrival.model_copy(update={"withdrawn": withdrawn})
    write_whole(study.folder / ARRIVAL_NAME, canonical_json(arrival))
    for made_of_images in [path for path in study.folder.iterdir() if path.is_dir()]:
        shutil.rmtree(made_of_images)
    for uid in instances:
        (study.folder / f"{uid}.dcm").unlink(missing_ok=True)
    sync_folder(study.folder)


def purged_submissions(home: CuratorHome) -> frozenset[Sha256]:
    """The submissions that were withdrawn whole, of which nothing is kept here."""
    purges = map(_statement, home.purges.glob("*.json"))
    return frozenset(purge.submission for purge in purges if not purge.instances)


def refuse_withdrawn(home: CuratorHome, contents: Contents) -> None:
    """Raise `SubmissionWithdrawn` where a study brings an instance that was withdrawn."""
    there = {instance.sop_instance_uid for instance in contents.instances}
    for kept in home.purges.glob("*.json"):
        if there & set(_statement(kept).instances):
            raise SubmissionWithdrawn(study=contents.study)


def _statement(kept: Path) -> Purge:
    return Signed.model_validate_json(kept.read_bytes()).unsafe_parsed(Purge, what="a kept statement")
