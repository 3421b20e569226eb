"""Each service of a PACS is tried as a retrieval would use it, and what it fetches to try is thrown away."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors.inputs import InvalidArgument
from shared.errors.settings import PortInUse
from shared.errors.transport import PacsFailed, PacsUnreachable
from site_node.network.arrivals import Arrivals
from site_node.network.interface import Trial
from site_node.network.query import Fetch, Outcome, Query
from site_node.node import service_trials
from site_node.node.service_trials import try_services
from site_node.settings.dicomweb import DicomwebSettings
from site_node.settings.dimse import PacsSettings, ScpSettings, TlsSettings
from tests.factories.pipeline import key_of

PACS = PacsSettings(host="x", port=104, ae_title="PACS")
WEB = DicomwebSettings(url="https://pacs.example/web")
TLS = TlsSettings(certificate=Path("c"), key=Path("k"), authorities=Path("a"))
SCP = ScpSettings(port=11112, callers=("PACS",))


@dataclass
class OneImage:
    """A PACS of one study, whose first series is empty; each service fetches the sample unless it is in `fails`."""

    services: tuple[str, ...]
    fails: Mapping[str, Exception | Outcome]
    samples: list[Fetch | None]

    def echo(self) -> None:
        """It answers, unless that fails."""
        if isinstance(problem := self.fails.get("C-ECHO"), Exception):
            raise problem

    def studies(self, query: Query) -> list[SimpleNamespace]:
        if query.accession == "unknown":
            return [SimpleNamespace(study_uid="1.1")]
        return [SimpleNamespace(study_uid="1.1"), SimpleNamespace(study_uid="1.2")]

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        return {"1.3": frozenset(), "1.4": frozenset({"1.6", "1.5"})} if study_uid == "1.2" else {}

    def trials(self) -> dict[str, Trial]:
        return {service: self._trial(service) for service in self.services}

    def _trial(self, service: str) -> Trial:
        def trial(sample: Fetch | None, arrivals: Arrivals) -> Outcome:
            self.samples.append(sample)
            end = self.fails.get(service)
            if isinstance(end, Exception):
                raise end
            if sample is not None and end is None:
                arrivals.store(sample.study_uid, sample.sop_uids[0], b"an image")
            return end or Outcome()

        return trial


def tried(
    folder: Path, pacs: OneImage, *, scp: ScpSettings | None = None, accession: str = "A1", web: bool = False
) -> dict[str, tuple[bool, str]]:
    """Whether each service is used, and why it does not work."""
    settings: Any = SimpleNamespace(scp=scp)
    acquisition: Any = SimpleNamespace(
        home=SimpleNamespace(folder=folder),
        settings=settings,
        names=SimpleNamespace(study_key=key_of),
        pacs=lambda: pacs,
        pacs_settings=lambda: WEB if web else PACS,
    )
    services = try_services(acquisition, accession)
    assert not list(folder.iterdir()), "what was fetched is removed"
    return {each.service: (each.is_used, each.reason) for each in services}


def one_image(*services: str, **fails: Exception | Outcome) -> OneImage:
    return OneImage(services, {name.replace("_", "-"): end for name, end in fails.items()}, [])


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_trials, "serving", serving)
    monkeypatch.setattr(service_trials, "server_context", lambda tls, _: ("context of", tls))
    SERVED.clear()


SERVED = list[object]()


@contextmanager
def serving(scp: ScpSettings, _: Arrivals, tls: object) -> Iterator[None]:
    if scp.host == "taken":
        raise PortInUse(port="11112", setting="scp.port")
    SERVED.append(tls)
    yield


def test_the_first_two_and_the_echo_are_used(tmp_path: Path) -> None:
    """The others say what else there is; over the web all are used, and none is an echo."""
    assert tried(tmp_path, one_image("C-FIND", "C-GET", "C-MOVE"), scp=SCP) == {
        "C-ECHO": (True, ""), "C-FIND": (True, ""), "C-GET": (True, ""), "C-MOVE": (False, ""),
    }  # fmt: skip
    assert tried(tmp_path, one_image("QIDO-RS", "WADO-RS", "other"), web=True) == {
        "QIDO-RS": (True, ""), "WADO-RS": (True, ""), "other": (True, ""),
    }  # fmt: skip


def test_one_image_is_fetched_by_each_service_that_fetches(tmp_path: Path) -> None:
    """The first of the first series that has any; without an accession number none is, and nothing is said of it."""
    pacs = one_image("C-FIND", "C-GET")
    tried(tmp_path, pacs)
    assert pacs.samples == [Fetch(study_uid="1.2", series_uid="1.4", sop_uids=("1.5",))] * 2
    pacs = one_image("C-GET", C_GET=Outcome(completed=1))
    assert tried(tmp_path, pacs) == {"C-ECHO": (True, ""), "C-GET": (True, "not-arrived")}
    assert tried(tmp_path, pacs, accession="") == {"C-ECHO": (True, ""), "C-GET": (True, "")}
    assert pacs.samples[-1] is None
    assert tried(tmp_path, one_image("C-FIND", C_FIND=Outcome(completed=1)))["C-FIND"] == (True, "")
    assert tried(tmp_path, one_image("QIDO-RS", QIDO_RS=Outcome(completed=1)), web=True)["QIDO-RS"] == (True, "")
    with pytest.raises(InvalidArgument):
        tried(tmp_path, one_image("C-GET"), accession="unknown")


def test_a_failure_is_that_of_its_service(tmp_path: Path) -> None:
    """Whether it raises, says why, or brings nothing; the others are tried."""
    error = PacsFailed(operation="C-GET", problem="of the test", reason="pacs-busy")
    pacs = one_image("C-GET", "C-FIND", C_GET=error, C_FIND=Outcome(reason="no-answer"))
    assert tried(tmp_path, pacs) == {"C-ECHO": (True, ""), "C-GET": (True, "pacs-busy"), "C-FIND": (True, "no-answer")}


def test_without_an_echo_nothing_else_is_tried(tmp_path: Path) -> None:
    """A PACS that is not there has no service."""
    pacs = one_image("C-FIND", C_ECHO=PacsUnreachable(address="x:104"))
    with pytest.raises(PacsUnreachable):
        tried(tmp_path, pacs)
    assert pacs.samples == []


@pytest.mark.parametrize("tls", [None, TLS])
def test_what_is_moved_comes_to_our_own_server(tmp_path: Path, tls: TlsSettings | None) -> None:
    """It serves while the service is tried with a sample, and needs its port, which a running node has."""
    scp = SCP.model_copy(update={"tls": tls})
    assert tried(tmp_path, one_image("C-MOVE"), scp=None)["C-MOVE"] == (True, "move-without-scp")
    assert tried(tmp_path, one_image("C-GET"), scp=None)["C-GET"] == (True, "")
    assert tried(tmp_path, one_image("C-GET"), scp=scp)["C-GET"] == (True, "")
    assert tried(tmp_path, one_image("C-MOVE"), scp=scp, accession="")["C-MOVE"] == (True, "")
    assert SERVED == []
    assert tried(tmp_path, one_image("C-MOVE"), scp=scp)["C-MOVE"] == (True, "")
    assert len(SERVED) == 1
    assert SERVED[0] == (("context of", tls) if tls else None)
    taken = scp.model_copy(update={"host": "taken"})
    assert tried(tmp_path, one_image("C-MOVE"), scp=taken)["C-MOVE"] == (True, "move-while-running")
