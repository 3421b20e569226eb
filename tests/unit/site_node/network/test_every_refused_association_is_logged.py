"""AE titles as old workstations pad them, and what the log says of each association that is refused or aborted."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_RJ

from shared.errors.transport import PacsFailed, PacsRefused
from site_node.network.arrivals import Arrivals
from site_node.network.association_request import NO_TITLE, mended, rejection, titles_of
from site_node.network.query_retrieve import Pacs
from site_node.network.scp import serving
from site_node.network.tls import server_context
from site_node.node.log_codes import log_codes_only
from site_node.settings.dimse import PacsSettings, ScpSettings, TlsSettings
from tests.factories.pacs import key_of
from tests.factories.ports import free_port
from tests.factories.tls import make_tls_files

ACCEPTED, REJECTED, ABORTED = 2, 3, 7
TITLES = st.from_regex(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?", fullmatch=True)


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def request(called: bytes, calling: bytes) -> bytes:
    """An A-ASSOCIATE-RQ for verification, with both titles as given, 16 bytes each."""
    context = item(0x20, b"\1\0\0\0" + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2"))
    user = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4"))
    application = item(0x10, b"1.2.840.10008.3.1.1.1")
    return struct.pack(">HH", 1, 0) + called + calling + bytes(32) + application + context + user


def answer_to(port: int, body: bytes) -> int:
    """The type of the PDU that answers; the connection is closed after it, without a release."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(struct.pack(">BBI", 1, 0, len(body)) + body)
        return connection.recv(100)[0]


@contextmanager
def associated(port: int, body: bytes) -> Iterator[None]:
    """An association that is held open; it is asked for until the one before has left its place."""
    until = time.monotonic() + 30
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(struct.pack(">BBI", 1, 0, len(body)) + body)
            if connection.recv(100)[0] == ACCEPTED:
                yield
                return
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def listening(folder: Path, **more: object) -> Iterator[int]:
    """Our SCP, which lets PACS in; at its end every association has ended and is logged."""
    log_codes_only()
    settings = ScpSettings.model_validate({"host": "127.0.0.1", "port": free_port(), "callers": ("PACS",), **more})
    with serving(settings, Arrivals(folder, key_of)) as port:
        yield port


def logged(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, ...]]:
    lines = map(json.loads, capsys.readouterr().err.splitlines())
    return [tuple(str(line.get(name)) for name in ("event", "called", "calling", "reason", "count")) for line in lines]


@pytest.mark.parametrize("padding", [b" ", b"\0"])
def test_titles_padded_with_nul_are_those_padded_with_spaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], padding: bytes
) -> None:
    """Both are let in; a caller that goes without a release is logged with its titles."""
    with listening(tmp_path) as port:
        assert answer_to(port, request(b"RICORD".ljust(16, padding), b"PACS".ljust(16, padding))) == ACCEPTED
    ((event, *titles, _, count),) = logged(capsys)
    assert (event, titles, count) == ("scp.association_aborted", ["RICORD", "PACS"], "1")


def test_every_refusal_has_its_titles_its_reason_and_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blank title, one with another character, and another's are rejected; what is no request is aborted."""
    ours = b"RICORD".ljust(16)
    strange = [bytes(16), b" " * 16, b"PA\0CS".ljust(16), b"PACS\\".ljust(16), b"P\xc4CS".ljust(16), NO_TITLE]
    with listening(tmp_path) as port:
        for calling in strange:
            assert answer_to(port, request(ours, calling)) == REJECTED
        assert answer_to(port, request(ours, b"OTHER".ljust(16))) == REJECTED
        assert answer_to(port, request(b"ELSE".ljust(16), b"PACS".ljust(16))) == REJECTED
        assert answer_to(port, bytes(20)) == ABORTED
        socket.create_connection(("127.0.0.1", port)).close()  # such as a check of the port: no association
    refused, unknown = "scp.association_refused", "calling-title-not-recognized"
    assert sorted(logged(capsys)) == sorted(
        [
            *((refused, "RICORD", NO_TITLE.decode(), unknown, str(number + 1)) for number in range(len(strange))),
            (refused, "RICORD", "OTHER", unknown, str(len(strange) + 1)),
            (refused, "ELSE", "PACS", "called-title-not-recognized", "1"),
            (refused, "", "", "no-valid-request", "1"),
        ]
    )


def test_who_speaks_no_tls_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that wants TLS says of each caller without it that it was refused, and how many there were."""
    files = make_tls_files(tmp_path)
    tls = TlsSettings(certificate=files.certificate, key=files.key, authorities=files.authority)
    log_codes_only()
    settings, counted = ScpSettings(host="127.0.0.1", port=free_port(), callers=("PACS",)), list[str]()
    arrivals, context = Arrivals(tmp_path / "arrivals", key_of), server_context(tls, tmp_path)
    with serving(settings, arrivals, context, count_end=lambda reason, *_: counted.append(reason)) as port:
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
                suppress(ConnectionResetError),
            ):
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while connection.recv(100):
                    pass
    assert [(event, reason, count) for event, _, _, reason, count in logged(capsys)] == [
        ("scp.tls_refused", "no-valid-tls", "1"),
        ("scp.tls_refused", "no-valid-tls", "2"),
    ]
    assert counted == ["no-valid-tls"] * 2


@given(TITLES, TITLES, st.sampled_from([b" ", b"\0"]), st.sampled_from([b"", b" ", b"\0"]))
def test_a_title_is_itself_whatever_pads_it(called: str, calling: str, padding: bytes, before: bytes) -> None:
    """Nothing else of the request changes."""
    padded = [(before + title.encode())[:16].ljust(16, padding) for title in (called, calling)]
    body = request(*padded)
    after = mended(body)
    assert titles_of(after) == tuple(title.decode().strip(" \0") for title in padded)
    assert (titles_of(mended(body[:36])), titles_of(mended(body[:35]))) == (titles_of(after), ("", ""))
    assert (len(after), after[:4], after[36:]) == (len(body), body[:4], body[36:])


@given(st.binary(max_size=80))
def test_no_request_is_too_strange_to_be_mended(body: bytes) -> None:
    """Its length stays, and its titles are printable."""
    after = mended(body)
    assert len(after) == len(body)
    assert all(title.isascii() and title.isprintable() for title in titles_of(after))


def test_a_pacs_that_is_full_is_asked_again_and_one_that_refuses_us_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A transient rejection is `pacs-busy`, a permanent one `pacs-refused`; both are logged with both titles."""

    def pacs(port: int, calling: str) -> Pacs:
        return Pacs(PacsSettings(host="127.0.0.1", port=port, ae_title="RICORD", calling=calling, answer_seconds=5))

    with listening(tmp_path, associations=1) as port:
        with pytest.raises(PacsRefused):
            pacs(port, "OTHER").echo()
        body = request(b"RICORD".ljust(16), b"PACS".ljust(16))
        with associated(port, body), pytest.raises(PacsFailed) as caught:
            pacs(port, "PACS").echo()
    assert caught.value.reason == "pacs-busy"
    ours = [line[1:4] for line in logged(capsys) if line[0] == "pacs.association_refused"]
    assert ours == [
        ("RICORD", "OTHER", "calling-title-not-recognized"),
        ("RICORD", "PACS", "local-limit-exceeded"),
    ]


@pytest.mark.parametrize("result", [1, 2])
@pytest.mark.parametrize(("source", "diagnostic"), [(source, number) for source in (1, 2, 3) for number in range(11)])
def test_a_rejection_is_what_the_standard_calls_it(result: int, source: int, diagnostic: int) -> None:
    """By the words of PS3.8, as another program has them; a transient one may be followed by an acceptance."""
    pdu = A_ASSOCIATE_RJ()
    pdu.result, pdu.source, pdu.reason_diagnostic = result, source, diagnostic
    try:
        words = pdu.reason_str.casefold()
    except ValueError:
        words = "reserved"
    meaning = rejection(result, source, diagnostic)
    assert meaning.is_transient == (result == 2)
    for theirs, ours in (("ae title", "title"), ("context name", "context"), ("recognised", "recognized"), (" ", "-")):
        words = words.replace(theirs, ours)
    if "reserved" in words or "no-reason" in words:
        assert meaning.reason == "no-reason-given"
    else:
        assert meaning.reason == words
