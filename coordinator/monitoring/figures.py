"""A coordinator's figures for Prometheus: counts, sizes and times, by SITEID and by states from closed lists."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import get_args

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from coordinator.home.settings import Home
from coordinator.store.interface import Reading, Store
from coordinator.store.records import Presence, Unfinished
from shared.crypto import pki
from shared.extras import DISTRIBUTION
from shared.monitoring.gauges import Gauges

_g = Gauges("ricord_coordinator")
_FRESH_SECONDS = 10.0  # in which the same figures are shown again: a million submissions are not counted each second


class CoordinatorFigures(Collector):
    """What `/metrics` shows of the coordinator of a home. Coordinators that share a store show the same counts."""

    def __init__(self, home: Home, store: Store) -> None:
        self._home = home
        self._store = store
        self._kept: tuple[Metric, ...] = ()
        self._kept_until = 0.0

    def collect(self) -> Iterator[Metric]:
        """Every figure; raises the store's errors, and `OSError` where the home cannot be read."""
        if time.monotonic() >= self._kept_until:
            with self._store.read() as reading:
                self._kept = (*_of_sites(reading), *_of_submissions(reading), *_of_log(reading))
            self._kept_until = time.monotonic() + _FRESH_SECONDS
        yield from self._kept
        yield from self._of_home()

    def _of_home(self) -> Iterator[Metric]:
        yield _g.single("disk_free_bytes", "Free bytes on the home's disk.", shutil.disk_usage(self._home.folder).free)
        home = self._home
        files = {"root": home.root, "issuing": home.issuing_certificate, "server": home.server_certificate}
        ends = {name: pki.expires_at(file.read_bytes()).timestamp() for name, file in files.items() if file.exists()}
        text = "When a certificate ends, seconds since 1970."
        yield _g.by("certificate_end_timestamp_seconds", text, "certificate", values=ends)
        yield _g.by("info", "1, with the release that runs.", "version", values={version(DISTRIBUTION): 1})


def _of_sites(reading: Reading) -> Iterator[Metric]:
    sites, agreements = reading.sites(), reading.agreements()
    states = Counter(agreement.state.value for agreement in agreements)
    yield _g.by("agreements", "Agreements by state.", "state", values=states)
    reports = [report for site in sites if site.site_id and (report := reading.presence(site.site_id)) is not None]
    for name, text, value in (
        ("contact_timestamp_seconds", "When a site's node last reported, seconds since 1970.", _reported_at),
        ("certificate_end_timestamp_seconds", "When a site's certificate ends, seconds since 1970.", _ends_at),
        ("waiting", "Studies that wait at a site.", lambda report: report.waiting),
        ("queued", "Sealed studies that wait at a site to be sent.", lambda report: report.queued),
        ("quarantined", "Studies that wait at a site for a person.", lambda report: report.quarantined),
        ("disk_free_bytes", "Free bytes at a site.", lambda report: report.free_bytes),
    ):
        yield _g.by(f"site_{name}", text, "site", values={report.site_id: value(report) for report in reports})


def _reported_at(report: Presence) -> float:
    return report.reported_at.timestamp()


def _ends_at(report: Presence) -> float:
    return report.certificate_ends_at.timestamp()


def _of_submissions(reading: Reading) -> Iterator[Metric]:
    counts = _g.by("submissions", "Submissions by site and state.", "site", "state")
    sizes = _g.by("submission_bytes", "Sealed bytes by site and state.", "site", "state")
    for tally in reading.submission_tally():
        counts.add_metric([tally.site_id, tally.state], tally.submissions)
        sizes.add_metric([tally.site_id, tally.state], tally.bytes)
    yield counts
    yield sizes
    text = "Sequence numbers of a site below its highest that did not arrive."
    yield _g.by("missing_sequence_numbers", text, "site", values=reading.missing_numbers())
    uploads = Counter[str]()
    for upload in reading.uploads():
        uploads[upload.site_id] += 1
    yield _g.by("unfinished_uploads", "Uploads that began and have not ended, by site.", "site", values=uploads)
    text = "Withdrawals without a receipt of deletion, or without the curator's statement."
    withdrawals = _g.by("unfinished_withdrawals", text, "missing")
    for kind in get_args(Unfinished):
        withdrawals.add_metric([kind], len(reading.withdrawals(unfinished=kind)))
    yield withdrawals


def _of_log(reading: Reading) -> Iterator[Metric]:
    runs = reading.run_tally()
    yield _g.by(
        "runs", "Federated runs by state.", "state", values={str(state): count for state, count in runs.items()}
    )
    yield _g.single("audit_events", "Events in the audit log.", reading.log_size())
