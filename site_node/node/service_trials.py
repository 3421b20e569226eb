"""Try each service of the PACS as a retrieval uses it, so that a list does not find out what is missing."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.errors.inputs import InvalidArgument
from shared.errors.settings import PortInUse
from shared.errors.transport import TransportError
from shared.frozen import Frozen
from site_node.network.arrivals import Arrivals
from site_node.network.interface import QueryRetrieve, Trial
from site_node.network.query import Fetch, Query
from site_node.network.scp import serving
from site_node.network.tls import server_context
from site_node.node.acquisition import Acquisition
from site_node.settings.dimse import PacsSettings


class TriedService(Frozen):
    """A service of the PACS; `reason` is empty if it works, else a code of the catalogue of reasons."""

    service: str
    is_used: bool  # by the settings; the others are tried to say what else there is
    reason: str = ""


def try_services(acquisition: Acquisition, accession: str = "") -> tuple[TriedService, ...]:
    """Try every service; with an accession number one image of its study is fetched by each, and thrown away.

    Raises what `echo` raises, since without it nothing else can be tried, and `InvalidArgument` where the PACS has
    no image with this accession number.
    """
    pacs, settings = acquisition.pacs(), acquisition.pacs_settings()
    pacs.echo()
    over_dimse = isinstance(settings, PacsSettings)
    tried = [TriedService(service="C-ECHO", is_used=True)] if over_dimse else []
    sample = _sample(pacs, accession) if accession else None
    for service, trial in pacs.trials().items():
        is_used = not over_dimse or len(tried) <= 2
        reason = _reason(acquisition, service, trial, sample)
        tried.append(TriedService(service=service, is_used=is_used, reason=reason))
    return tuple(tried)


def _sample(pacs: QueryRetrieve, accession: str) -> Fetch:
    """One image of the study."""
    for study in pacs.studies(Query(accession=accession)):
        for series_uid, sop_uids in pacs.instances(study.study_uid).items():
            if sop_uids:
                return Fetch(study_uid=study.study_uid, series_uid=series_uid, sop_uids=(min(sop_uids),))
    raise InvalidArgument(name="--accession", problem="the PACS lists no image with it")


def _reason(acquisition: Acquisition, service: str, trial: Trial, sample: Fetch | None) -> str:
    """Why the service does not work; empty if it does. What it fetches is removed at once."""
    scp = acquisition.settings.scp
    if service == "C-MOVE" and scp is None:
        return "move-without-scp"
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir=acquisition.home.folder, prefix=".pacs-test-"))
        arrivals = Arrivals(Path(folder), acquisition.names.study_key)
        try:
            if service == "C-MOVE" and scp is not None and sample is not None:
                tls = server_context(scp.tls, acquisition.home.folder) if scp.tls else None
                stack.enter_context(serving(scp, arrivals, tls))
            outcome = trial(sample, arrivals)
        except PortInUse:
            return "move-while-running"
        except TransportError as error:
            return error.reason
        fetches = sample is not None and service not in {"C-FIND", "QIDO-RS"}
        if sample is None or not fetches or arrivals.count(sample.study_uid):
            return outcome.reason
        return outcome.reason or "not-arrived"
