"""Our SCP with pynetdicom as its peer: whom it lets in, what it answers, what it stores and what it logs."""

import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom.association import Association

from shared.errors.settings import KeyFileInvalid, KeyFileMissing, PortInUse
from shared.errors.transport import PacsUnreachable
from site_node.home.folder import init_home
from site_node.network.arrivals import Arrivals
from site_node.network.part10 import study_uid_of
from site_node.network.query_retrieve import Pacs
from site_node.network.scp import OUT_OF_RESOURCES, SUCCESS, serving
from site_node.network.tls import client_context, server_context
from site_node.network.upper_layer import Caller
from site_node.node.scp_process import serving_in_process
from site_node.settings.dimse import PacsSettings, ScpSettings, TlsSettings
from tests.factories.dicom import SECRETS, make_dx, plant_identifiers
from tests.factories.pacs import key_of
from tests.factories.ports import free_port
from tests.factories.tls import make_tls_files


def settings_on(port: int, **more: object) -> ScpSettings:
    return ScpSettings.model_validate(
        {"host": "127.0.0.1", "port": port, "callers": ["SENDER"], "min_free_mb": 0, **more}
    )


@contextmanager
def sending(port: int, calling: str = "SENDER", called: str = "RICORD") -> Iterator[Association]:
    ae = Caller(ae_title=calling)
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.1.1", [ExplicitVRLittleEndian])
    association = ae.associate("127.0.0.1", port, ae_title=called)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def film(**changes: object) -> Dataset:
    dataset = make_dx(rows=16, **changes)  # type: ignore[arg-type] # attribute changes by name
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@pytest.mark.parametrize(("calling", "called"), [("OTHER", "RICORD"), ("SENDER", "OTHER"), ("sender", "RICORD")])
def test_only_the_callers_named_are_let_in(tmp_path: Path, calling: str, called: str) -> None:
    """Another calling title, or another title of ours, is rejected."""
    port = free_port()
    with serving(settings_on(port), Arrivals(tmp_path, key_of)), sending(port, calling, called) as association:
        assert association.is_rejected


def test_what_is_kept_is_what_was_sent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A whole Part 10 file with the sender's bytes; no value of it is in a log line or a name."""
    port, arrivals = free_port(), Arrivals(tmp_path / "arrivals", key_of)
    dataset = film()
    planted = plant_identifiers(dataset)
    with serving(settings_on(port), arrivals), sending(port) as association:
        assert association.send_c_store(dataset).Status == SUCCESS
    (file,) = arrivals.folder.rglob("*.dcm")
    stored = dcmread(file)
    assert stored == dataset
    assert stored.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    output = "".join(capfd.readouterr()) + str(file)
    assert not [text for text in (*planted, SECRETS.patient_id) if len(text) > 3 and text in output]


def test_a_full_disk_is_answered_as_out_of_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0xA700, whether the disk is found full while writing or the reserve is reached; then nothing is kept."""
    port, arrivals = free_port(), Arrivals(tmp_path / "arrivals", key_of)
    with serving(settings_on(port, min_free_mb=1 << 40), arrivals), sending(port) as association:
        assert association.send_c_store(film()).Status == OUT_OF_RESOURCES

    def full(handle: int) -> None:
        raise OSError(28, "no space")

    port = free_port()
    with monkeypatch.context() as patch, serving(settings_on(port), arrivals), sending(port) as association:
        patch.setattr("os.fsync", full)
        assert association.send_c_store(film()).Status == OUT_OF_RESOURCES
    assert not list(arrivals.folder.rglob("*.dcm"))


def test_an_instance_of_no_study_is_refused(tmp_path: Path) -> None:
    """Without a StudyInstanceUID it belongs nowhere: the sender gets a failure, and keeps it."""
    port, arrivals = free_port(), Arrivals(tmp_path / "arrivals", key_of)
    with serving(settings_on(port), arrivals), sending(port) as association:
        assert association.send_c_store(film(StudyInstanceUID=None)).Status == 0xA900
    assert not list(arrivals.folder.rglob("*.dcm"))


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 132, b"\0" * 128 + b"DICM\x02\x00", b"\0" * 128 + b"DICM" + b"\xff" * 99]
)
def test_bytes_that_are_no_dicom_have_no_study(content: bytes) -> None:
    """Whatever bytes a broken sender puts into a data set."""
    assert study_uid_of(content, ExplicitVRLittleEndian) == study_uid_of(content, DeflatedExplicitVRLittleEndian) == ""


def test_each_answer_goes_out_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP_NODELAY is set on every connection that is accepted."""
    set_options: list[tuple[int, ...]] = []
    set_option = socket.socket.setsockopt

    def watching(self: socket.socket, *arguments: int) -> None:
        set_options.append(arguments)
        set_option(self, *arguments)

    monkeypatch.setattr(socket.socket, "setsockopt", watching)
    port = free_port()
    with serving(settings_on(port), Arrivals(tmp_path, key_of)), sending(port) as association:
        assert association.is_established
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in set_options


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(PortInUse) as caught, serving(settings_on(port), Arrivals(tmp_path, key_of)):
            pass
    assert str(port) in caught.value.public


def test_tls_is_mutual_and_modern(tmp_path: Path) -> None:
    """A caller with a certificate of the authority is served; one without, or without TLS, is not."""
    files = make_tls_files(tmp_path)
    tls = TlsSettings(certificate=files.certificate, key=files.key, authorities=files.authority)
    port = free_port()
    pacs = {"host": "127.0.0.1", "port": port, "ae_title": "RICORD", "calling": "SENDER", "answer_seconds": 3}
    asking = PacsSettings.model_validate(pacs)
    with serving(settings_on(port), Arrivals(tmp_path / "a", key_of), server_context(tls, tmp_path)):
        Pacs(asking, client_context(tls, tmp_path)).echo()
        without_certificate = ssl.create_default_context(cafile=str(files.authority))
        for context in (without_certificate, None):
            with pytest.raises(PacsUnreachable):
                Pacs(asking, context).echo()
        with socket.create_connection(("127.0.0.1", port)):  # a silent peer blocks nobody
            Pacs(asking, client_context(tls, tmp_path)).echo()
    assert server_context(tls, tmp_path).minimum_version is ssl.TLSVersion.TLSv1_2
    names = [cipher["name"] for cipher in server_context(tls, tmp_path).get_ciphers()]
    assert all("GCM" in name or "CHACHA20" in name or "CCM" in name for name in names)


def test_tls_files_that_are_wrong_stop_the_start(tmp_path: Path) -> None:
    files = make_tls_files(tmp_path)
    with pytest.raises(KeyFileMissing):
        server_context(TlsSettings(certificate=Path("no"), key=files.key, authorities=files.authority), tmp_path)
    wrong = TlsSettings(certificate=files.certificate, key=files.authority, authorities=files.authority)
    with pytest.raises(KeyFileInvalid):
        server_context(wrong, tmp_path)


def test_compressed_images_are_accepted_as_they_are(tmp_path: Path) -> None:
    """A context for JPEG alone is accepted: no sender has to decompress for us."""
    port = free_port()
    ae = Caller(ae_title="SENDER")
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.1.1", [JPEGBaseline8Bit])
    with serving(settings_on(port), Arrivals(tmp_path, key_of)):
        association = ae.associate("127.0.0.1", port, ae_title="RICORD")
        assert [context.transfer_syntax for context in association.accepted_contexts] == [[JPEGBaseline8Bit]]
        association.release()


def test_the_listening_process_logs_no_value(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The warning of pydicom about an invalid UID quotes it, and is logged nowhere."""
    home, port = init_home(tmp_path / "home", name="General"), free_port()
    dataset = film()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.StudyInstanceUID = "1.2.DOE^JANE"
        with serving_in_process(home.folder, settings_on(port)), sending(port) as association:
            assert association.send_c_store(dataset).Status == SUCCESS
    assert "DOE" not in "".join(capfd.readouterr())


def test_a_message_without_an_end_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory; nothing of it is stored, and the next association is served."""
    monkeypatch.setattr("site_node.network.upper_layer._LONGEST_MESSAGE", 100_000)
    port, arrivals, endless = free_port(), Arrivals(tmp_path, key_of), film()
    endless.EncapsulatedDocument = bytes(1 << 20)
    with serving(settings_on(port), arrivals):
        with sending(port) as association:
            assert "Status" not in association.send_c_store(endless)
        assert arrivals.count(str(endless.StudyInstanceUID)) == 0
        with sending(port) as association:
            assert association.send_c_store(film()).Status == SUCCESS
