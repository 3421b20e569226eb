"""A PACS over DIMSE for tests, by pynetdicom, on loopback: it answers from its instances, as it is set."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from site_node.network.query_retrieve import STUDY_FIND, STUDY_GET, STUDY_MOVE
from site_node.network.upper_layer import Server
from site_node.settings.dimse import PacsSettings

OURS = "RICORD"
SERVICES = (str(STUDY_FIND), str(STUDY_GET), str(STUDY_MOVE))
_LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_ANY_LEVEL = (*_LEVELS.values(), "AccessionNumber", "PatientID")


class DimsePacs:
    """Its state: what it is asked, and the last status of each answer where that is not success."""

    def __init__(self, instances: Sequence[Dataset], moves_to: int) -> None:
        self.instances = list(instances)
        self.moves_to = moves_to
        self.asked: list[Dataset] = []
        self.ends_with: int | None = None
        self.port = 0

    def settings(self, **more: object) -> PacsSettings:
        """How a site reaches it."""
        values = {
            "host": "127.0.0.1",
            "port": self.port,
            "ae_title": "PACS",
            "answer_seconds": 2,
            "retrieve_seconds": 5,
        }
        return PacsSettings.model_validate({**values, **more})

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """Each entity of the level that matches, once."""
        identifier = self._note(event.identifier)
        by_uid = {str(match.get(_LEVELS[identifier.QueryRetrieveLevel])): match for match in self._matches(identifier)}
        for match in by_uid.values():
            answer = Dataset()
            for element in identifier:
                answer.add(match.get(element.tag, element))
            yield 0xFF00, answer
        if self.ends_with is not None:
            yield self.ends_with, None

    def get(self, event: evt.Event) -> Iterator[object]:
        """The images that match."""
        yield from self._sent(self._note(event.identifier))

    def move(self, event: evt.Event) -> Iterator[object]:
        """The images that match, to whom it knows by the title `OURS`."""
        identifier = self._note(event.identifier)
        if event.move_destination != OURS:
            yield None, None
            return
        contexts = [build_context(CTImageStorage, ExplicitVRLittleEndian)]
        yield "127.0.0.1", self.moves_to, {"ae_title": OURS, "contexts": contexts}
        yield from self._sent(identifier)

    def _sent(self, identifier: Dataset) -> Iterator[object]:
        matches = self._matches(identifier)
        yield len(matches)
        for match in matches:
            match.file_meta = FileMetaDataset()
            match.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            yield 0xFF00, match
        if self.ends_with is not None:
            yield self.ends_with, None

    def _note(self, identifier: Dataset) -> Dataset:
        self.asked.append(identifier)
        return identifier

    def _matches(self, identifier: Dataset) -> list[Dataset]:
        wanted = {key: identifier.get(key) for key in _ANY_LEVEL if identifier.get(key)}
        return [
            instance
            for instance in self.instances
            if all(instance.get(key) == value or instance.get(key) in list(value) for key, value in wanted.items())
        ]


@contextmanager
def dimse_pacs(
    instances: Sequence[Dataset] = (), *, offers: Sequence[str] = SERVICES, moves_to: int = 0, storage: bool = True
) -> Iterator[DimsePacs]:
    """A running PACS that offers these services; C-MOVE goes to the port `moves_to`."""
    state = DimsePacs(instances, moves_to)
    ae = AE(ae_title="PACS")
    for sop_class in (Verification, *offers, *([CTImageStorage] if storage else [])):
        ae.add_supported_context(sop_class, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_C_FIND, state.find), (evt.EVT_C_GET, state.get), (evt.EVT_C_MOVE, state.move)]
    server = ae.make_server(("127.0.0.1", 0), evt_handlers=handlers, server_class=Server)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.port = server.server_address[1]
    try:
        yield state
    finally:
        server.end()
        thread.join()
