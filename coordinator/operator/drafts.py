"""The draft of an agreement's terms, filled in with what a person gives."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shared.agreement import AgreementTerms
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.proto.ricord.v1.agreement_pb2 import DraftAgreementRequest
from shared.wire import from_timestamp, to_timestamp

USUAL_SCOPE = "Chest imaging for suspected COVID-19 with supporting clinical data"
_LISTS = ("modes", "modalities", "data_elements", "locations", "earlier_site_ids")


def draft_of(terms: AgreementTerms) -> DraftAgreementRequest:
    """The draft that would give `terms` again, under the next version."""
    return DraftAgreementRequest(
        site_name=terms.id,
        curator=terms.curator.name,
        modes=terms.modes,
        scope=terms.scope.description,
        modalities=terms.scope.modalities,
        studies=terms.scope.studies or 0,
        data_elements=terms.scope.data_elements,
        locations=terms.scope.locations,
        licence=terms.licence,
        ethics_reference=terms.ethics_reference,
        earlier_site_ids=terms.earlier_site_ids,
        editions=f"{terms.editions.first}-{terms.editions.last}" if terms.editions else "",
        starts_at=to_timestamp(terms.starts_at) if terms.starts_at else None,
        expires_at=to_timestamp(terms.expires_at) if terms.expires_at else None,
    )


def fill(
    draft: DraftAgreementRequest,
    *,
    scope_file: Path | None = None,
    starts: str | None = None,
    expires: str | None = None,
    **given: str | int | None,
) -> DraftAgreementRequest:
    """A draft with what was `given`, by the names of its fields; `None` leaves a field as it is.

    Raises `InvalidArgument` for a day that is none, and for a text beside a file of it; `SourceMissing` for a file that
    cannot be read.
    """
    if scope_file is not None and given.get("scope") is not None:
        raise InvalidArgument(name="--scope-file", problem="--scope is given, too; give one of them")
    if scope_file is not None:
        given["scope"] = _text_of(scope_file)
    changes: dict[str, Any] = {
        name: _split(str(value)) if name in _LISTS else value for name, value in given.items() if value is not None
    }
    if starts is not None:
        changes["starts_at"] = _timestamp("--starts", starts, _start_of)
    if expires is not None:
        changes["expires_at"] = _timestamp("--expires", expires, end_of)
    kept = {field.name: value for field, value in draft.ListFields() if field.name not in changes}
    return DraftAgreementRequest(**kept, **changes)


def check_last_day(draft: DraftAgreementRequest, expires: str | None) -> None:
    """Raise `InvalidArgument` where a next version would keep a last day that is over, since `expires` is not given."""
    ends = from_timestamp(draft.expires_at) if draft.HasField("expires_at") else None
    if expires is None and ends is not None and ends <= datetime.now(UTC):
        problem = f"the version before ended on {ends:%Y-%m-%d %H:%M} UTC; give the next one's last day, or '' for none"
        raise InvalidArgument(name="--expires", problem=problem)


def _timestamp(option: str, text: str, parse: Callable[[str], datetime]) -> Timestamp | None:
    try:
        return to_timestamp(parse(text)) if text else None
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(name=option, problem="it is no day or moment in ISO 8601") from error


def _start_of(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def end_of(text: str) -> datetime:
    """The end of a day (`2027-01-31`), or a moment in ISO form; UTC where it names no zone. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return moment + timedelta(days=1) if len(text) == len("2027-01-31") else moment


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SourceMissing(source=str(file)) from error
