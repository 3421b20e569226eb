"""A PACS that does not do, or does something else than, what it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet, Verification

from shared.errors import PacsFailed
from site_node.network.arrivals import Arrivals
from site_node.network.query import Fetch
from site_node.network.query_retrieve import Pacs
from site_node.network.server import Server
from site_node.settings.dimse import PacsSettings
from tests.factories.dicom import make_ct
from tests.factories.pacs import key_of

MEANT, OTHER = make_ct(slices=2, rows=8, study="meant"), make_ct(slices=1, rows=8, study="other")
GET = str(StudyRootQueryRetrieveInformationModelGet)


@contextmanager
def pacs(*offers: str, sends: tuple[Dataset, ...] = ()) -> Iterator[Pacs]:
    """One that offers so much, and answers every C-GET with `sends`."""

    def answer(_: evt.Event) -> Iterator[object]:
        yield len(sends)
        for one in sends:
            yield 0xFF00, one

    ae = AE(ae_title="PACS")
    for one in (Verification, *offers):
        ae.add_supported_context(one, scu_role=True, scp_role=True)
    server = ae.make_server(("127.0.0.1", 0), evt_handlers=[(evt.EVT_C_GET, answer)], server_class=Server)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        port = server.server_address[1]
        yield Pacs(PacsSettings(host="127.0.0.1", port=port, ae_title="PACS", answer_seconds=2, retrieve_seconds=5))
    finally:
        server.end()
        thread.join()


def sent(dataset: Dataset) -> Dataset:
    """As a PACS has it."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def test_a_pacs_without_c_get_fails_with_that_reason(tmp_path: Path) -> None:
    """It lets us in and offers images only: one of the errors that a request can end with."""
    with pacs(CTImageStorage) as asked, pytest.raises(PacsFailed, match="does not offer"):
        asked.retrieve(Fetch(study_uid="1.2"), Arrivals(tmp_path, key_of))


@pytest.mark.parametrize("named", [(), (str(MEANT[0].SOPInstanceUID),)])
def test_what_was_not_asked_for_is_not_kept(tmp_path: Path, named: tuple[str, ...]) -> None:
    """Another study in the answer to a C-GET, or other images than those named."""
    arrivals = Arrivals(tmp_path, key_of)
    meant, other = map(sent, MEANT), map(sent, OTHER)
    uid, series = str(MEANT[0].StudyInstanceUID), str(MEANT[0].SeriesInstanceUID)
    with pacs(GET, CTImageStorage, sends=(*meant, *other)) as asked:
        asked.retrieve(Fetch(study_uid=uid, series_uid=series if named else "", sop_uids=named), arrivals)
    assert arrivals.count(uid) == len(named or MEANT)
    assert arrivals.count(str(OTHER[0].StudyInstanceUID)) == 0
