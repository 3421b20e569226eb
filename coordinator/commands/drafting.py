"""The options by which a coordinator fills in an agreement's terms."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from coordinator.commands.output import end_of
from shared.agreement import AgreementTerms
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.proto.ricord.v1.agreement_pb2 import DraftAgreementRequest
from shared.wire import from_timestamp, to_timestamp

Curator = Annotated[str | None, typer.Option(help="The enrolled curator the site will seal to.")]
Modes = Annotated[str | None, typer.Option(help="Ways of taking part, comma-separated.")]
ScopeText = Annotated[str | None, typer.Option("--scope", help="Exhibit A in general words, so that later data fit.")]
ScopeFile = Annotated[Path | None, typer.Option(help="Instead of --scope: a file with a longer text, in UTF-8.")]
Modalities = Annotated[str | None, typer.Option(help="Codes of DICOM, comma-separated.")]
Studies = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="The most studies that it covers; 0: no bound.")
]
DataElements = Annotated[str | None, typer.Option(help="What clinical data come with the images, comma-separated.")]
Locations = Annotated[str | None, typer.Option(help="Where the data come from, comma-separated.")]
Licence = Annotated[str | None, typer.Option(help="Of what is published.")]
EthicsReference = Annotated[str | None, typer.Option(help="Of the hospital's ethics committee.")]
EarlierSiteIds = Annotated[str | None, typer.Option(help="SITEIDs of earlier contributions, comma-separated.")]
Starts = Annotated[str | None, typer.Option(help="First day, or the moment of its begin, ISO 8601; empty: at once.")]
Expires = Annotated[str | None, typer.Option(help="Last day, or the moment of its end, ISO 8601; empty: none.")]
Editions = Annotated[
    str | None, typer.Option(help="Of the protocol, FIRST-LAST, as 2026.11-2027.12; empty: only the one installed.")
]

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


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SourceMissing(source=str(file)) from error
