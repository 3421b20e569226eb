"""The linkage: which hospital patient has which number. It is exported sealed, and queried with a reason.

A linkage file is an age file (c2sp.org/age) of JSON lines, sealed to an identity derived from the site's secret and to
further recipients that the hospital names. All that this module returns is PHI.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import Field, ValidationError

from shared.crypto.recipients import HybridIdentity, X25519Identity
from shared.crypto.sealing import AgeIdentity, open_chunks, seal_writer
from shared.durable import replacing
from shared.errors.inputs import InvalidArgument, InvalidIdentifier, LinkageInvalid, NotFound, SourceMissing
from shared.errors.studies import SealedFileInvalid
from shared.frozen import Frozen
from shared.ids import PatientPseudonym, StudyKey
from site_node.home.ledger import Ledger
from site_node.home.patients import PatientRow
from site_node.home.words import NO_STUDY
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.pseudonyms.names import KeyedNames
from site_node.pseudonyms.sealed_link import Link

_X25519 = "age1"
_HYBRID = "age1pq1"


class _Head(Frozen):
    """The first line of a linkage file."""

    format: Literal["ricord-linkage/1"] = "ricord-linkage/1"
    site_id: str
    exported_at: datetime
    patients: int


class _Line(Frozen):
    """One patient of a linkage file."""

    pseudonym: str
    number: int = Field(ge=1)
    link: Link
    flag: str = ""


def export_linkage(
    ledger: Ledger, pseudonyms: Pseudonyms, file: Path, recipients: Sequence[str], *, actor: str
) -> tuple[int, int]:
    """Write which patient has which number; returns how many patients, and how many more have no identity kept.

    Raises `InvalidArgument` where `file` exists, `InvalidIdentifier` for an invalid age recipient.
    """
    if file.exists() or file.is_symlink():
        raise InvalidArgument(name="FILE", problem="it exists; a linkage file is never overwritten")
    known = sum(row.link is not None for row in ledger.patients.all())
    unknown = sum(row.link is None for row in ledger.patients.all())
    ledger.audit(actor, "linkage-export", NO_STUDY, f"{known} patients")
    head = _Head(site_id=pseudonyms.site_id, exported_at=datetime.now(UTC), patients=known)
    with replacing(file, mode=0o600) as target:
        writer = seal_writer([_identity(pseudonyms, recipients).recipient, *recipients], target)
        for line in chain([head], _lines(ledger, pseudonyms)):
            writer.write(line.model_dump_json().encode() + b"\n")
        writer.finish()
    return known, unknown


def import_linkage(ledger: Ledger, names: KeyedNames, file: Path, *, actor: str) -> tuple[int, int]:
    """Enter what `export_linkage` wrote, in one transaction; returns how many patients it holds, and how many are new.

    Raises `SourceMissing`, `LinkageInvalid`, or `LinkageConflict` where the ledger contradicts the file.
    """
    if not file.is_file():
        raise SourceMissing(source="the linkage file")
    identities = (_identity(names, ()), _identity(names, (_X25519,)))
    with file.open("rb") as source:
        rows = list(_rows(_opened(identities, source), names))
    with ledger.changing():
        new = ledger.patients.add(rows)
        ledger.audit(actor, "linkage-import", NO_STUDY, f"{len(rows)} patients, {new} of them new")
    return len(rows), new


def reidentify(ledger: Ledger, pseudonyms: Pseudonyms, pseudonym: str, *, actor: str, reason: str) -> tuple[Link, str]:
    """The identity of the patient with a pseudonym of this site, and the patient's flag.

    The request is audited before the answer is decrypted.

    Raises `InvalidArgument` for an empty reason or a pseudonym not of this site, `NotFound`, `LinkageInvalid`.
    """
    why = " ".join(reason.split())
    if not why:
        raise InvalidArgument(name="--reason", problem="say why; it is kept")
    number = _number(pseudonyms, pseudonym)
    row = ledger.patients.with_number(number)
    key = StudyKey(row.token[:16].hex()) if row else NO_STUDY
    ledger.audit(actor, "reidentify", key, f"{pseudonym}: {why}")
    if row is None or row.link is None:
        raise NotFound(kind="patient whose identity is kept behind", name=pseudonym)
    return pseudonyms.links.open(row.token, row.link), row.flag


def _number(pseudonyms: Pseudonyms, pseudonym: str) -> int:
    with suppress(InvalidIdentifier):
        site_id, _, number = PatientPseudonym(pseudonym).partition("-")
        if site_id == pseudonyms.site_id:
            return int(number)
    raise InvalidArgument(name="PSEUDONYM", problem=f"it is none of this site, as {pseudonyms.site_id}-000001")


def _identity(names: KeyedNames, recipients: Sequence[str]) -> AgeIdentity:
    """The site's own identity: post-quantum, unless a recipient is not."""
    plain = any(text.startswith(_X25519) and not text.startswith(_HYBRID) for text in recipients)
    return X25519Identity(names.file_seed) if plain else HybridIdentity(names.file_seed)


def _lines(ledger: Ledger, pseudonyms: Pseudonyms) -> Iterator[_Line]:
    for row in ledger.patients.all():
        if row.link is not None:
            link = pseudonyms.links.open(row.token, row.link)
            yield _Line(pseudonym=pseudonyms.numbered(row.number), number=row.number, link=link, flag=row.flag)


def _opened(identities: Sequence[AgeIdentity], source: BinaryIO) -> Iterator[bytes]:
    """The lines of a linkage file that one of the identities opens."""
    for identity in identities:
        source.seek(0)
        with suppress(SealedFileInvalid):
            chunks = open_chunks(identity, source)
            break
    else:
        raise LinkageInvalid(problem="it is no linkage file, or was made with another secret")
    rest = b""
    try:
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    except SealedFileInvalid as error:
        raise LinkageInvalid(error.private, problem="the file is damaged") from None
    if rest:
        raise LinkageInvalid(problem="the file ends in the middle of a line")


def _rows(lines: Iterator[bytes], names: KeyedNames) -> Iterator[PatientRow]:
    """The patients of a file, each sealed anew; raises `LinkageInvalid` unless it holds as many as it says."""
    count = 0
    try:
        head = _Head.model_validate_json(next(lines, b""))
        for text in lines:
            line = _Line.model_validate_json(text)
            token = names.token(line.link.identity)
            count += 1
            yield PatientRow(token, line.number, names.links.seal(token, line.link), line.flag)
    except ValidationError as error:
        raise LinkageInvalid(type(error).__name__, problem="the file holds something else than a linkage") from None
    if count != head.patients:
        raise LinkageInvalid(problem="the file holds another number of patients than it says")
