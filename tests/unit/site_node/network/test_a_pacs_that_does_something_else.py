"""A PACS that does not do what it is asked, or does something else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet, Verification

from shared.errors.transport import PacsFailed
from site_node.network.arrivals import Arrivals
from site_node.network.query import Fetch
from site_node.network.query_retrieve import Pacs
from site_node.network.upper_layer import Server
from site_node.settings.dimse import PacsSettings
from tests.factories.dicom import make_ct
from tests.factories.pacs import key_of

REQUESTED, OTHER = make_ct(slices=2, rows=8, study="meant"), make_ct(slices=1, rows=8, study="other")
GET = str(StudyRootQueryRetrieveInformationModelGet)


@contextmanager
def pacs(*offers: str, sends: tuple[Dataset, ...] = ()) -> Iterator[Pacs]:
    """A PACS that offers these classes, and answers every C-GET with `sends`."""

    def answer(_: evt.Event) -> Iterator[object]:
        yield len(sends)
        for dataset in sends:
            yield 0xFF00, dataset

    ae = AE(ae_title="PACS")
    for sop_class in (Verification, *offers):
        ae.add_supported_context(sop_class, scu_role=True, scp_role=True)
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
    """The data set as a PACS stores it."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def test_a_pacs_without_c_get_fails_with_that_reason(tmp_path: Path) -> None:
    """It lets us in and offers storage only, or nothing that we ask for: the row says which service is missing."""
    arrivals = Arrivals(tmp_path, key_of)
    for offers in ((CTImageStorage,), ()):
        with pacs(*offers) as peer:
            with pytest.raises(PacsFailed, match="does not offer") as caught:
                peer.retrieve(Fetch(study_uid="1.2"), arrivals)
            assert caught.value.reason == "pacs-without-c-get"
            with pytest.raises(PacsFailed) as caught:
                peer.series("1.2")
            assert caught.value.reason == "pacs-without-c-find"


@pytest.mark.parametrize("sop_uids", [(), (str(REQUESTED[0].SOPInstanceUID),)])
def test_what_was_not_asked_for_is_not_kept(tmp_path: Path, sop_uids: tuple[str, ...]) -> None:
    """Neither another study in the answer to a C-GET, nor other images than those named, is stored."""
    arrivals = Arrivals(tmp_path, key_of)
    requested, other = map(sent, REQUESTED), map(sent, OTHER)
    uid, series = str(REQUESTED[0].StudyInstanceUID), str(REQUESTED[0].SeriesInstanceUID)
    with pacs(GET, CTImageStorage, sends=(*requested, *other)) as peer:
        peer.retrieve(Fetch(study_uid=uid, series_uid=series if sop_uids else "", sop_uids=sop_uids), arrivals)
    assert arrivals.count(uid) == len(sop_uids or REQUESTED)
    assert arrivals.count(str(OTHER[0].StudyInstanceUID)) == 0
