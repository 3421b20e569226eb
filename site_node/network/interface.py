"""What a request needs of the one it is made to: to find and to fetch, by DIMSE (`pacs.py`) or web (`dicomweb.py`)."""

from abc import abstractmethod
from typing import Protocol

from site_node.network.arrivals import Arrivals
from site_node.network.query import Fetch, Outcome, Query, SeriesFound, StudyFound


class QueryRetrieve(Protocol):
    """A PACS that is asked. Whatever goes wrong on the way is a `TransportError`, without a value in its text."""

    @abstractmethod
    def echo(self) -> None:
        """Ask whether it is there and lets us in."""

    @abstractmethod
    def studies(self, query: Query) -> tuple[StudyFound, ...]:
        """The studies that fit; raises `InvalidArgument` too, for a query that is not `checked`."""

    @abstractmethod
    def series(self, study_uid: str) -> tuple[SeriesFound, ...]:
        """The series of a study."""

    @abstractmethod
    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        """The SOP Instance UIDs of each series of a study."""

    @abstractmethod
    def retrieve(self, asked: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        """Fetch into `arrivals` while `reserve` bytes of the disk stay free; the caller counts what came."""

    def announced(self, study: StudyFound) -> int:
        """How many instances the study has: as counted for it, else for its series, else one by one."""
        if study.instances is not None:
            return study.instances
        counts = [one.instances for one in self.series(study.study_uid)]
        if counts and None not in counts:
            return sum(one for one in counts if one is not None)
        return sum(len(sop_uids) for sop_uids in self.instances(study.study_uid).values())
