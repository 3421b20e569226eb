"""What a retrieval needs of a PACS, over DIMSE (`query_retrieve.py`) or the web (`dicomweb.py`): find and fetch."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from site_node.network.arrivals import Arrivals
from site_node.network.query import Fetch, Outcome, Query, SeriesMatch, StudyMatch

Trial = Callable[[Fetch | None, Arrivals], Outcome]  # with a sample to fetch, or without one; raises `TransportError`


class QueryRetrieve(Protocol):
    """A PACS that we query. Every failure on the way is a `TransportError`, without a value in its text."""

    @abstractmethod
    def echo(self) -> None:
        """Check that it answers and lets us in."""

    @abstractmethod
    def studies(self, query: Query) -> tuple[StudyMatch, ...]:
        """The studies that match; raises `InvalidArgument` too, for a query that is not `checked`."""

    @abstractmethod
    def series(self, study_uid: str) -> tuple[SeriesMatch, ...]:
        """The series of a study."""

    @abstractmethod
    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        """The SOP Instance UIDs of each series of a study."""

    @abstractmethod
    def retrieve(self, fetch: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        """Fetch into `arrivals` while `reserve` bytes of the disk stay free; the caller counts the arrivals."""

    def trials(self) -> Mapping[str, Trial]:
        """How to try each service by its name, but that of `echo`; those that a retrieval uses come first."""
        return {}

    def announced(self, study: StudyMatch) -> int:
        """The number of instances of the study: as the PACS counts them, else by series, else listed singly."""
        if study.instances is not None:
            return study.instances
        counts = [series.instances for series in self.series(study.study_uid)]
        if counts and None not in counts:
            return sum(count for count in counts if count is not None)
        return sum(len(sop_uids) for sop_uids in self.instances(study.study_uid).values())
