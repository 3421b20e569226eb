"""The linkage: sealed in the ledger, exported, imported, queried with a reason; and an earlier program's index."""

import csv
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from shared.agreement import AgreementTerms
from shared.crypto.sealing import decrypt, generate_identity
from shared.errors.inputs import InvalidArgument, LinkageConflict, LinkageInvalid, NotFound, SourceMissing
from shared.ids import SiteId
from shared.protocol.loader import load_profile
from site_node.deidentify.study import deidentify
from site_node.home.ledger import Ledger
from site_node.home.patients import INTERVALS_NOT_KEPT, PatientRow
from site_node.linkage.anonymizer_index import IndexImport, import_index
from site_node.linkage.export import export_linkage, import_linkage, reidentify
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.pseudonyms.sealed_link import Link, LinkSeal
from site_node.study import Deidentified, Identity, Validated
from site_node.validate.validation import validate
from tests.factories.dicom import make_dx
from tests.factories.studies import make_included, make_received

SECRET, OTHER = bytes(range(32)), bytes(range(1, 33))
SITE, EARLIER = SiteId("654321"), SiteId("419639")
TERMS = AgreementTerms.model_construct(earlier_site_ids=(EARLIER,))  # type: ignore[call-arg]  # nothing else is read
DOE, ROE = Identity(issuer="HOSP", patient_id="MRN-774411"), Identity(issuer="", patient_id="ZZ990011")
texts = st.text(min_size=1, max_size=40)
V19 = ("ANON-PatientID", "ANON-PatientName", "PHI-PatientName", "PHI-PatientID", "DateOffset", "PHI-StudyDate")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "fresh.sqlite")
    yield ledger
    ledger.close()


def known(ledger: Ledger, *identities: Identity, secret: bytes = SECRET) -> Pseudonyms:
    pseudonyms = Pseudonyms(secret, SITE, ledger)
    for identity in identities:
        pseudonyms.patient(identity)
    return pseudonyms


def index_of(folder: Path, *rows: tuple[str, str, str], dates: str = "20200401") -> Path:
    """A patient index as version 19 writes it: new PatientID, old PatientID, offset."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(V19)
    writer.writerows((new, new, "DOE^JANE", old, offset, dates) for new, old, offset in rows)
    (folder / "index.csv").write_text(text.getvalue())
    return folder / "index.csv"


@given(issuer=texts, patient_id=texts, token=st.binary(min_size=32, max_size=32))
def test_what_is_sealed_is_opened_by_the_same_key_and_token_only(issuer: str, patient_id: str, token: bytes) -> None:
    """Another key, another row's token or a changed byte opens nothing; the text is not in the ciphertext."""
    link, seal = Link(issuer=issuer, patient_id=patient_id), LinkSeal(SECRET)
    sealed = seal.seal(token, link)
    assert seal.open(token, sealed) == link
    assert seal.seal(token, link) != sealed
    for key, row, text in [
        (OTHER, token, sealed),
        (SECRET, token[::-1] + b"x", sealed),
        (SECRET, token, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (SECRET, token, b""),
    ]:
        with pytest.raises(LinkageInvalid):
            LinkSeal(key).open(row, text)


def test_no_identifier_is_in_the_ledgers_files(ledger: Ledger, tmp_path: Path) -> None:
    """Neither PatientID nor issuer can be read in the ledger, its log or its index."""
    known(ledger, DOE, ROE)
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.sqlite*"))
    assert not any(text.encode() in raw for who in (DOE, ROE) for text in (who.patient_id, who.issuer) if text)


def test_a_first_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    """A row without a link gets one when its patient is seen again, and keeps its number."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    pseudonyms = Pseudonyms(SECRET, SITE, ledger)
    token = pseudonyms.token(DOE)
    assert ledger.number(token) == 1
    assert ledger.link(token) is None
    assert pseudonyms.patient(DOE) == "654321-000001"
    sealed = ledger.link(token)
    assert sealed is not None
    assert pseudonyms.links.open(token, sealed).identity == DOE
    ledger.close()


def test_a_ledger_of_the_first_release_is_read(tmp_path: Path) -> None:
    """Its table had numbers only; they stay, also where two processes open it at once."""
    old = sqlite3.connect(tmp_path / "ledger.sqlite")
    old.execute("create table patients (token blob primary key, number integer not null unique) strict, without rowid")
    old.execute("insert into patients values (?, 7)", (Pseudonyms(SECRET, SITE).token(DOE),))
    old.commit()
    old.close()
    ledgers = [Ledger(tmp_path / "ledger.sqlite") for _ in range(2)]
    assert [Pseudonyms(SECRET, SITE, ledger).patient(DOE) for ledger in ledgers] == ["654321-000007"] * 2
    for ledger in ledgers:
        ledger.close()


def test_the_export_comes_back_in_a_new_ledger(ledger: Ledger, fresh: Ledger, tmp_path: Path) -> None:
    """Same numbers, same patients; a second import changes nothing; the file is the owner's and shows no text."""
    pseudonyms = known(ledger, DOE, ROE)
    file = tmp_path / "linkage.age"
    assert export_linkage(ledger, pseudonyms, file, [], actor="me") == (2, 0)
    assert file.stat().st_mode & 0o077 == 0
    assert DOE.patient_id.encode() not in file.read_bytes()
    again = Pseudonyms(SECRET, SITE, fresh)
    assert import_linkage(fresh, again, file, actor="me") == (2, 2)
    assert import_linkage(fresh, again, file, actor="me") == (2, 0)
    assert [again.patient(who) for who in (DOE, ROE)] == [pseudonyms.patient(who) for who in (DOE, ROE)]
    assert [event.action for event in fresh.events()] == ["linkage-import", "linkage-import"]
    with pytest.raises(InvalidArgument):
        export_linkage(ledger, pseudonyms, file, [], actor="me")


@pytest.mark.parametrize("kind", ["x25519", "hybrid"])
def test_the_hospitals_own_key_opens_an_export(kind: str, ledger: Ledger, fresh: Ledger, tmp_path: Path) -> None:
    """Beside the site's secret, which still does."""
    pseudonyms, file = known(ledger, DOE), tmp_path / "linkage.age"
    identity = generate_identity(kind)  # type: ignore[arg-type]  # both are kinds
    export_linkage(ledger, pseudonyms, file, [identity.recipient], actor="me")
    plain = io.BytesIO()
    with file.open("rb") as source:
        decrypt(identity, source, plain)
    assert DOE.patient_id in plain.getvalue().decode()
    assert import_linkage(fresh, Pseudonyms(SECRET, SITE, fresh), file, actor="me") == (1, 1)


def test_a_file_that_does_not_fit_changes_nothing(ledger: Ledger, fresh: Ledger, tmp_path: Path) -> None:
    """Another secret, a damaged or cut file, none at all, or numbers that contradict the ledger."""
    file = tmp_path / "linkage.age"
    pseudonyms = known(ledger, DOE, ROE)
    export_linkage(ledger, pseudonyms, file, [], actor="me")
    whole = file.read_bytes()
    with pytest.raises(LinkageInvalid):
        import_linkage(fresh, Pseudonyms(OTHER, SITE, fresh), file, actor="me")
    for broken in (whole[:-1], whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], b"", b"age-encryption.org/v1\n"):
        (tmp_path / "broken.age").write_bytes(broken)
        with pytest.raises(LinkageInvalid):
            import_linkage(fresh, Pseudonyms(SECRET, SITE, fresh), tmp_path / "broken.age", actor="me")
    with pytest.raises(SourceMissing):
        import_linkage(fresh, Pseudonyms(SECRET, SITE, fresh), tmp_path / "absent.age", actor="me")
    assert list(fresh.patients.all()) == []
    known(fresh, ROE)  # who is 1 here is 2 there
    with pytest.raises(LinkageConflict):
        import_linkage(fresh, Pseudonyms(SECRET, SITE, fresh), file, actor="me")
    assert len(list(fresh.patients.all())) == 1


def test_a_patient_is_shown_for_a_reason_that_is_kept(ledger: Ledger) -> None:
    """The audit holds who asked, for which pseudonym and why, also where nobody is found; never the answer."""
    pseudonyms = known(ledger, DOE, ROE)
    assert reidentify(ledger, pseudonyms, "654321-000002", actor="me", reason=" a  finding ")[0].identity == ROE
    with pytest.raises(NotFound):
        reidentify(ledger, pseudonyms, "654321-000009", actor="me", reason="curious")
    events = ledger.events()
    assert [(event.action, event.detail) for event in events] == [
        ("reidentify", "654321-000002: a finding"),
        ("reidentify", "654321-000009: curious"),
    ]
    assert not any(who.patient_id in str(event) for who in (DOE, ROE) for event in events)


@pytest.mark.parametrize(("pseudonym", "reason"), [("654321-000001", "  "), ("123456-000001", "x"), ("Doe", "x")])
def test_no_reason_or_no_pseudonym_of_this_site_is_refused(pseudonym: str, reason: str, ledger: Ledger) -> None:
    pseudonyms = known(ledger, DOE)
    with pytest.raises(InvalidArgument):
        reidentify(ledger, pseudonyms, pseudonym, actor="me", reason=reason)
    assert ledger.events() == ()


def test_a_known_shift_is_kept_and_an_unknown_one_flagged(ledger: Ledger, tmp_path: Path) -> None:
    """DateOffset counts days added; none, zero, words or two different ones are no shift to keep."""
    rows = [
        ("419639-000001", "A1", "312"),
        ("419639-000002", "B2", "-2721"),
        ("419639-000003", "C3", "0"),
        ("419639-000004", "D4", ""),
        ("419639-000005", "E5", "5"),
        ("419639-000005", "E5", "6"),
        ("419639-000006", "F6", "99999"),
        ("419639-000000", "", "0"),
    ]
    pseudonyms = Pseudonyms(SECRET, SITE, ledger)
    before = {name: pseudonyms.shift_days(Identity(issuer="", patient_id=name)) for name in ("C3", "D4", "E5", "F6")}
    done = import_index(ledger, pseudonyms, TERMS, index_of(tmp_path, *rows), issuer="", actor="me")
    assert done == IndexImport(patients=6, shift_kept=2, nobody=1)
    assert ledger.patients.flagged() == 4
    assert pseudonyms.shift_days(Identity(issuer="", patient_id="A1")) == -312
    assert pseudonyms.shift_days(Identity(issuer="", patient_id="B2")) == 2721
    assert {name: pseudonyms.shift_days(Identity(issuer="", patient_id=name)) for name in before} == before
    number = pseudonyms.patient(Identity(issuer="", patient_id="B2"))
    earlier = reidentify(ledger, pseudonyms, number, actor="me", reason="test")[0].earlier
    flagged = pseudonyms.patient(Identity(issuer="", patient_id="C3"))
    assert reidentify(ledger, pseudonyms, flagged, actor="me", reason="test")[1] == INTERVALS_NOT_KEPT
    assert earlier is not None
    assert earlier.pseudonym == "419639-000002"
    again = import_index(ledger, pseudonyms, TERMS, index_of(tmp_path, *rows), issuer="", actor="me")
    assert again == done


@pytest.mark.parametrize("study_date", ["20200615", "99991201", "00010203"])
def test_images_go_by_the_kept_shift(study_date: str, ledger: Ledger, tmp_path: Path) -> None:
    """De-identification and validation both use it, forward as in version 19, to the ends of the calendar."""
    film = make_dx(PatientID="A1", StudyDate=study_date, SeriesDate="20200616", PatientBirthDate="")
    pseudonyms = Pseudonyms(SECRET, SITE, ledger)
    file = index_of(tmp_path, ("419639-000001", "A1", "312"))
    import_index(ledger, pseudonyms, TERMS, file, issuer="", actor="me")
    study = make_included(make_received(tmp_path / "spool", [film]))
    deidentified = deidentify(study, profile=load_profile(), pseudonyms=pseudonyms, out=tmp_path / "out")
    assert isinstance(deidentified, Deidentified)
    new = pydicom.dcmread(deidentified.instances[0].path)
    moved = {"20200615": "20210423", "99991201": "", "00010203": "00011212"}
    assert (new.StudyDate, new.SeriesDate) == (moved[study_date], "20210424")
    report = tmp_path / "report.json"
    validated = validate(study, deidentified, profile=load_profile(), pseudonyms=pseudonyms, report=report)
    assert isinstance(validated, Validated)


def test_the_old_java_programs_sheet_is_read_by_its_dates(ledger: Ledger, tmp_path: Path) -> None:
    """Eleven columns; both study dates say the shift better than the offset does."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append([f"column {number}" for number in range(11)])
    sheet.append(["x", "419639-000001", "DOE^JANE", "A1", -10, "20200311", "20200321", "a", "b", "1.2", "1.3"])
    sheet.append(["x", "419639-000002", "ROE^JOHN", 123456, "10", None, None, "a", "b", "1.2", "1.3"])
    book.save(tmp_path / "index.xlsx")
    pseudonyms = Pseudonyms(SECRET, SITE, ledger)
    done = import_index(ledger, pseudonyms, TERMS, tmp_path / "index.xlsx", issuer="HOSP", actor="me")
    assert done == IndexImport(patients=2, shift_kept=2, nobody=0)
    assert pseudonyms.shift_days(Identity(issuer="HOSP", patient_id="A1")) == 10
    assert pseudonyms.shift_days(Identity(issuer="HOSP", patient_id="123456")) == -10


def test_who_is_known_here_keeps_the_shift_of_this_ledger(ledger: Ledger, tmp_path: Path) -> None:
    """Studies of theirs may have left under it; intervals to the earlier contribution are lost, and that is said."""
    identity = Identity(issuer="", patient_id="A1")
    pseudonyms = known(ledger, identity)
    shift, number = pseudonyms.shift_days(identity), pseudonyms.patient(identity)
    file = index_of(tmp_path, ("419639-000001", "A1", "312"))
    assert import_index(ledger, pseudonyms, TERMS, file, issuer="", actor="me") == IndexImport(1, 0, 0)
    assert (pseudonyms.shift_days(identity), pseudonyms.patient(identity)) == (shift, number)
    assert [row.flag for row in ledger.patients.all()] == [INTERVALS_NOT_KEPT]


def test_an_index_that_does_not_fit_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """A SITEID the agreement does not name, a patient with two pseudonyms, other columns, a pickle."""
    pseudonyms = Pseudonyms(SECRET, SITE, ledger)
    for rows in (
        [("777777-000001", "A1", "1")],
        [("419639-000001", "A1", "1"), ("419639-000002", "A1", "1")],
    ):
        with pytest.raises(LinkageConflict):
            import_index(ledger, pseudonyms, TERMS, index_of(tmp_path, *rows), issuer="", actor="me")
    for name, content in (("a.csv", b"one,two\n1,2\n"), ("AnonymizerModel.pkl", b"\x80\x04\x95"), ("e.csv", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LinkageInvalid):
            import_index(ledger, pseudonyms, TERMS, tmp_path / name, issuer="", actor="me")
    with pytest.raises(SourceMissing):
        import_index(ledger, pseudonyms, TERMS, tmp_path / "absent.csv", issuer="", actor="me")
    assert list(ledger.patients.all()) == []


def test_two_processes_give_each_patient_one_number(ledger: Ledger, tmp_path: Path) -> None:
    """Two connections to one ledger, as two workers have, agree on every number."""
    other = Ledger(tmp_path / "ledger.sqlite")
    tokens = [bytes([number]) * 32 for number in range(20)]
    mine = {token: (ledger if number % 2 else other).number(token, lambda: b"x") for number, token in enumerate(tokens)}
    assert sorted(mine.values()) == list(range(1, 21))
    assert mine == {token: other.number(token) for token in tokens} == {token: ledger.number(token) for token in tokens}
    other.close()


def test_a_number_is_never_given_twice(ledger: Ledger) -> None:
    """Importing a row under a number that is in use, or a token under another number, changes nothing."""
    ledger.patients.add([PatientRow(b"a", 5, b"x"), PatientRow(b"b", 0, b"y")])
    assert [row.number for row in ledger.patients.all()] == [5, 6]
    for row in (PatientRow(b"c", 6, b"z"), PatientRow(b"a", 7, b"z")):
        with pytest.raises(LinkageConflict):
            ledger.patients.add([PatientRow(b"d", 0, b"w"), row])
    assert [row.token for row in ledger.patients.all()] == [b"a", b"b"]
