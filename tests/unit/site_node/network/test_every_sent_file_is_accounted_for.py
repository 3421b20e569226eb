"""The C-STORE SCU sends files unchanged, and accounts for every file whatever the PACS does."""

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom.dimse import DIMSEServiceProvider

from shared.errors.transport import PacsRefused, PacsUnreachable
from site_node.network import presentation_contexts, store_scu
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.network.store_scu import DicomFile, SendList, SendOutcome, list_files, report_of, send
from site_node.network.tls import client_context, server_context
from site_node.settings.dimse import ScpSettings, SendSettings, TlsSettings
from tests.factories.dicom import make_ct, write_file
from tests.factories.pacs import key_of
from tests.factories.ports import free_port
from tests.factories.tls import make_tls_files

SLICES = 12


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A study, and beside it a file that is not DICOM."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number, dataset in enumerate(make_ct(slices=SLICES, rows=16)):
        write_file(dataset, folder / f"{number}.dcm")
    (folder / "notes.txt").write_text("not an image")
    return folder


@contextmanager
def pacs(folder: Path, **more: object) -> Iterator[SendSettings]:
    """Serve our SCP as the PACS; yields the settings to reach it."""
    port = free_port()
    settings = {"host": "127.0.0.1", "port": port, "callers": ["RICORD"], "min_free_mb": 0, **more}
    with serving(ScpSettings.model_validate(settings), Arrivals(folder, key_of)):
        yield SendSettings(host="127.0.0.1", port=port, ae_title="RICORD", answer_seconds=5)


def stored_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.dcm"))


def sends(source: Path, settings: SendSettings) -> SendOutcome:
    return send(list_files([source]).files, settings)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
def test_what_arrives_is_what_lies_there(tmp_path: Path, syntax: UID) -> None:
    """Each file in its own transfer syntax, none transcoded, over several associations."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number, dataset in enumerate(make_ct(slices=4, rows=16)):
        write_file(dataset, folder / f"{number}.dcm", syntax)
    with pacs(tmp_path / "pacs") as settings:
        done = sends(folder, settings)
    assert (len(done.sent), done.failed) == (4, {})
    theirs = {dataset.SOPInstanceUID: dataset for dataset in map(dcmread, stored_files(tmp_path / "pacs"))}
    for path in folder.iterdir():
        ours = dcmread(path)
        assert theirs[ours.SOPInstanceUID] == ours
        assert theirs[ours.SOPInstanceUID].file_meta.TransferSyntaxUID == syntax


def test_a_file_is_sent_as_its_bytes_are(source: Path, tmp_path: Path) -> None:
    """Neither decoded nor written anew: group lengths, which the Standard retired, arrive too."""
    data_set = b"\x08\0\0\0UL\x04\0\x2a\0\0\0" + b"\x08\0\x05\0CS"
    path = source / "0.dcm"
    before, after = path.read_bytes().split(b"\x08\0\x05\0CS", 1)
    path.write_bytes(before + data_set + after)
    with pacs(tmp_path / "pacs") as settings:
        done = send(list_files([path]).files, settings)
    assert done.sent == {path}
    (stored,) = stored_files(tmp_path / "pacs")
    assert stored.read_bytes().endswith(data_set + after)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0x0000, ""),
        (0xB000, ""),
        (0xB007, ""),
        (0xA700, "out-of-resources"),
        (0xA7FF, "out-of-resources"),
        (0xA900, "does-not-match"),
        (0xA9FF, "does-not-match"),
        (0xC000, "not-understood"),
        (0xCFFF, "not-understood"),
        (0x0122, "status"),
        (0xA800, "status"),
    ],
)
def test_a_status_says_whether_a_file_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, reason: str
) -> None:
    """Success and warnings are stored; the first byte, or the first digit, of a failure says why (PS3.4 B.2.3)."""
    monkeypatch.setattr("site_node.network.scp.SUCCESS", status)
    path = source / "0.dcm"
    with pacs(tmp_path / "pacs") as settings:
        done = send(list_files([path]).files, settings)
    assert (done.sent, done.failed) == ((frozenset(), {path: reason}) if reason else ({path}, {}))


def test_a_lost_answer_is_unknown_and_sent_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers vanish between pynetdicom's threads; in the end each file counts once, and is stored once."""
    received = DIMSEServiceProvider.get_msg
    lost = iter([False, True, False, True, True])

    def losing(self: DIMSEServiceProvider, block: bool = False) -> object:
        answer = received(self, block)
        return (None, None) if block and self.assoc.is_requestor and next(lost, False) else answer

    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", losing)
    with pacs(tmp_path / "pacs") as settings:
        done = sends(source, settings)
    assert (len(done.sent), done.failed, next(lost, None)) == (SLICES, {}, None)
    assert len(stored_files(tmp_path / "pacs")) == SLICES


def test_a_file_whose_answer_is_always_lost_has_failed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the configured attempts; the PACS may have it, but it never counts as sent."""
    received = DIMSEServiceProvider.get_msg

    def losing(self: DIMSEServiceProvider, block: bool = False) -> object:
        answer = received(self, block)
        return (None, None) if block and self.assoc.is_requestor else answer

    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", losing)
    with pacs(tmp_path / "pacs") as settings:
        files = list_files([source]).files[:1]
        done = send(files, settings.model_copy(update={"attempts": 2}))
    assert (done.sent, list(done.failed.values())) == (frozenset(), ["no-answer"])


def test_each_failure_has_its_reason(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PACS has a full disk, or refuses the object; or our file has no readable meta information."""
    with pacs(tmp_path / "full", min_free_mb=1 << 40) as settings:
        assert set(sends(source, settings).failed.values()) == {"out-of-resources"}
    first_context = presentation_contexts.supported_contexts()[:1]
    monkeypatch.setattr("site_node.network.scp.supported_contexts", lambda: first_context)
    with pacs(tmp_path / "other") as settings:
        done = sends(source, settings)
    assert (len(done.failed), set(done.failed.values())) == (SLICES, {"not-accepted"})
    (source / "0.dcm").write_bytes((source / "0.dcm").read_bytes()[:200])
    listed = list_files([source])
    assert (len(listed.files), len(listed.unreadable), listed.others) == (SLICES - 1, 1, 1)


def test_a_pacs_that_dies_half_way(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file that it answered for is sent, every other one has failed."""
    store, count = Arrivals.store, iter(range(SLICES))

    def dying(self: Arrivals, study_uid: str, sop_uid: str, content: bytes) -> None:
        if next(count) >= 3:
            raise SystemError
        store(self, study_uid, sop_uid, content)

    with pacs(tmp_path / "pacs") as settings:
        monkeypatch.setattr(Arrivals, "store", dying)
        done = sends(source, settings.model_copy(update={"attempts": 1}))
    assert len(done.sent) + len(done.failed) == SLICES
    assert len(done.sent) == len(stored_files(tmp_path / "pacs")) == 3


def test_nobody_there_and_not_let_in(source: Path, tmp_path: Path) -> None:
    """The command ends with an error that names the PACS, once, not for each file."""
    with pytest.raises(PacsUnreachable):
        sends(source, SendSettings(host="127.0.0.1", port=free_port(), ae_title="RICORD"))
    with pacs(tmp_path / "pacs", callers=["OTHER"]) as settings, pytest.raises(PacsRefused):
        sends(source, settings)


def test_more_associations_than_the_pacs_accepts_lose_nothing(source: Path, tmp_path: Path) -> None:
    with pacs(tmp_path / "pacs", associations=1) as settings:
        assert len(sends(source, settings).sent) == SLICES


def test_tls_is_mutual(source: Path, tmp_path: Path) -> None:
    """The settings of `[pacs.tls]` work here, too."""
    files = make_tls_files(tmp_path)
    tls = TlsSettings(certificate=files.certificate, key=files.key, authorities=files.authority)
    port = free_port()
    scp = ScpSettings(host="127.0.0.1", port=port, callers=("RICORD",), min_free_mb=0)
    settings = SendSettings(host="127.0.0.1", port=port, ae_title="RICORD", tls=tls, answer_seconds=5)
    with serving(scp, Arrivals(tmp_path / "pacs", key_of), server_context(tls, tmp_path)):
        done = send(list_files([source]).files, settings, client_context(tls, tmp_path))
    assert len(done.sent) == SLICES


def test_more_kinds_than_one_association_can_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are sent over several associations, one after the other."""
    write_file(make_ct(slices=1, rows=16)[0], source / "other.dcm", ImplicitVRLittleEndian)
    monkeypatch.setattr("site_node.network.store_scu._MOST_CONTEXTS", 1)
    with pacs(tmp_path / "pacs") as settings:
        assert len(sends(source, settings).sent) == SLICES + 1


def test_what_is_shown_of_a_list_names_no_file() -> None:
    """A file's name may be a patient's."""
    file = Path("Doe_Jane.dcm")
    listed = SendList(files=(DicomFile(file, ("1.2", "1.2.3")),), unreadable=(file,), others=1)
    outcome = SendOutcome(sent=frozenset({file}), failed={file: "unreadable"})
    assert "Doe" not in f"{listed}{outcome}{report_of(listed, outcome)}"


def test_a_value_that_is_odd_is_sent_and_quoted_nowhere(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The warning that pydicom gives of an odd UID quotes it; it is neither shown nor a reason to keep the file."""
    path = source / "0.dcm"
    content = path.read_bytes()
    start = content.index(b"\x02\0\x03\0UI") + 8
    path.write_bytes(content[:start] + b"DOE^JANE" + content[start + 8 :])
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert len(list_files([path]).files) == 1
    assert "DOE" not in "".join([*map(str, shown), *capfd.readouterr()])


def test_what_is_no_image_file_is_counted_and_not_sent(source: Path, tmp_path: Path) -> None:
    """A DICOMDIR in any letters, and an archive, whose members nobody sends; each counts once."""
    assert (len(list_files([source]).files), list_files([source]).others) == (SLICES, 1)
    write_file(make_ct(slices=1, rows=16)[0], source / "dicomdir")
    with zipfile.ZipFile(source / "images.zip", "w") as archive:
        for number in range(3):
            archive.write(source / f"{number}.dcm", f"{number}.dcm")
    listed = list_files([source])
    assert (len(listed.files), listed.unreadable) == (SLICES, ())
    assert listed.others >= 3
    assert report_of(listed, SendOutcome(sent=frozenset(), failed={})).others == listed.others


@pytest.mark.parametrize(("sent", "failed"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_pacs_that_goes_away_is_an_error_where_it_answered_for_no_file(
    source: Path, sent: bool, failed: bool
) -> None:
    """Else every file is accounted for; those that are left have the reason why it went."""
    first, second, *_ = (file.path for file in list_files([source]).files)
    batch = store_scu._Batch([], SendSettings(host="127.0.0.1", port=1, ae_title="PACS"), None)
    batch._error = PacsUnreachable(address="127.0.0.1:1")
    batch.sent |= {first} if sent else set()
    batch.failed |= {second: "not-accepted"} if failed else {}
    if sent or failed:
        batch.run()
        assert (batch.sent, batch.failed) == ({first} if sent else set(), {second: "not-accepted"} if failed else {})
    else:
        with pytest.raises(PacsUnreachable):
            batch.run()


def test_a_file_that_breaks_in_the_middle_is_no_sent_one(source: Path) -> None:
    """Nobody knows what the PACS has of it, so the association ends, and the others go over another."""
    files = list_files([source]).files[:3]
    batch = store_scu._Batch(files, SendSettings(host="127.0.0.1", port=1, ae_title="PACS"), None)

    def send_c_store(path: Path) -> SimpleNamespace:
        if path == files[1].path:
            raise ValueError("of the test")
        return SimpleNamespace(get=lambda _: 0)

    accepted = [SimpleNamespace(abstract_syntax=file.kind[0], transfer_syntax=[file.kind[1]]) for file in files]
    association: Any = SimpleNamespace(accepted_contexts=accepted, send_c_store=send_c_store)
    with pytest.raises(store_scu._AnswerLost):
        batch._send_over(association)
    assert (batch.sent, batch.failed) == ({files[0].path}, {files[1].path: "unreadable"})
    batch._send_over(association)
    assert batch.sent == {files[0].path, files[2].path}
