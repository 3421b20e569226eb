"""A node's figures for Prometheus: counts, codes and times; every label is from a closed list of this program."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from importlib.metadata import version

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.crypto import pki
from shared.errors.base import code_of
from shared.errors.tree import all_errors
from shared.errors.trust import NotEnrolled
from shared.extras import DISTRIBUTION
from shared.monitoring.gauges import Gauges
from site_node.home.folder import SiteHome
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import Ledger, State
from site_node.home.plans import PlanState
from site_node.home.status import Status, status_of
from site_node.membership.record import load_membership
from site_node.membership.witness import Witness
from site_node.monitoring.watch import BOUNDS, Watch
from site_node.reasons import catalogue

_g = Gauges("ricord_site")
OTHER = "other"  # the label of a code that this release does not know, such as one with a PACS's own number


class NodeFigures(Collector):
    """What `/metrics` shows of the node of a home; `space` is its disk."""

    def __init__(self, home: SiteHome, space: FreeSpace, watch: Watch) -> None:
        self._home = home
        self._space = space
        self._watch = watch
        self._codes = known_codes()

    def collect(self) -> Iterator[Metric]:
        """Every figure; raises `OSError` or `sqlite3.Error` where disk or ledger cannot be read."""
        with closing(Ledger(self._home.ledger)) as ledger:
            status = status_of(ledger, name="", site_id=None)
            plans = Counter(plan.state.value for plan in ledger.plans.all())
        yield from self._of_ledger(status, plans)
        yield from self._of_home()
        yield from self._of_watch()

    def _of_ledger(self, status: Status, plans: Mapping[str, int]) -> Iterator[Metric]:
        studies = _g.by("studies", "Studies by place and by the code of the gravest reason.", "place", "reason")
        studies.add_metric(["submitted", ""], status.submitted)
        for place in ("excluded", "quarantined", "refused", "waiting"):
            for code, count in self._closed(getattr(status, place).reasons).items():
                studies.add_metric([place, code], count)
        yield studies
        yield _g.by("images", "Images of studies by place.", "place", values=status.instances)
        yield _g.by("files", "Files that belong to no study, by code.", "reason", values=self._closed(status.files))
        at_centre = {state: counts.total for state, counts in status.at_centre.items()}
        yield _g.by("submissions", "Submissions by their state at the centre.", "state", values=at_centre)
        yield _g.by("pacs_requests", "Requests to the PACS by state.", "state", values=status.requests.states)
        ended = Counter[str]()
        for each in status.associations:
            ended[each.reason] += each.count
        yield _g.by("associations_ended", "Refused or aborted, by reason.", "reason", values=self._closed(ended))
        decided = {state.value: plans.get(state.value, 0) for state in PlanState}
        yield _g.by("plans", "Federated plans by what was decided on them.", "state", values=decided)

    def _of_home(self) -> Iterator[Metric]:
        free, reserve = self._space.free(self._space.folder), self._space.reserve_mb << 20
        yield _g.single("disk_free_bytes", "Free bytes on the home's disk.", free)
        yield _g.single("disk_reserve_bytes", "Bytes that stay free: with less nothing is received.", reserve)
        sizes = []
        for path in self._home.outbox.iterdir():
            with suppress(FileNotFoundError):  # it was sent meanwhile
                sizes.append(path.stat().st_size)
        yield _g.single("outbox_bytes", "Bytes of sealed studies that wait to be sent.", sum(sizes))
        with suppress(NotEnrolled):
            ends = pki.expires_at(load_membership(self._home).certificate.read_bytes()).timestamp()
            yield _g.single("certificate_end_timestamp_seconds", "When the certificate ends, seconds since 1970.", ends)
        contradicted = Witness(self._home).contradiction() is not None
        text = "1 while the coordinator's log contradicts what it signed; then nothing leaves."
        yield _g.single("log_contradicted", text, int(contradicted))

    def _of_watch(self) -> Iterator[Metric]:
        silence = self._watch.pulse.silence()
        if silence is not None:
            text = "Seconds since the node last showed that it goes on, by what it does."
            yield _g.by("silence_seconds", text, "doing", values={silence.doing: silence.seconds})
        if self._watch.contact_at is not None:
            text = "When the coordinator last answered, seconds since 1970."
            yield _g.single("coordinator_contact_timestamp_seconds", text, self._watch.contact_at)
        text = "Seconds that a stage worked on a study."
        seconds = HistogramMetricFamily("ricord_site_stage_seconds", text, labels=["stage"])
        for stage, noted in self._watch.noted().items():
            upto, buckets = 0, []
            for bound, count in zip(BOUNDS, noted.counts, strict=True):
                upto += count
                buckets.append((str(bound).replace("inf", "+Inf"), upto))
            seconds.add_metric([stage], buckets, noted.total)
        yield seconds
        yield _g.by("info", "1, with the release that runs.", "version", values={version(DISTRIBUTION): 1})

    def _closed(self, counts: Mapping[str, int]) -> Mapping[str, int]:
        """Counts with all codes that no list of this release has under `OTHER`."""
        closed = Counter[str]()
        for code, count in counts.items():
            closed[code if code in self._codes else OTHER] += count
        return closed


def known_codes() -> frozenset[str]:
    """Every code that may be a label: of reasons, errors and states."""
    return frozenset((*catalogue(), *map(code_of, all_errors()), *(state.value for state in State)))
