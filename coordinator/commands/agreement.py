"""`agreement`: drafted, countersigned, suspended, ended."""

from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from coordinator.commands.operator_channel import operator_channel
from coordinator.commands.output import AsJson, end_of, every_page, home_of, moment, plain, show_all
from shared.agreement import AgreementTerms, Consent, terms_sentences
from shared.errors import InvalidArgument, next_step
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.terminal import make_app, print_json, print_line
from shared.wire import UNARY_SECONDS, from_signed, to_timestamp

agreement = make_app("Agreements with hospitals: drafted here, signed there, executed here.")

Reference = Annotated[str, typer.Argument(help="An agreement's id, a site's name or SITEID, or a beginning.")]


@agreement.command()
def draft(
    context: typer.Context,
    site_name: Annotated[str, typer.Argument(help="An invited site's name, or its agreement's id.")],
    *,
    curator: Annotated[str, typer.Option(help="The enrolled curator the site will seal to.")],
    modes: Annotated[str, typer.Option(help="Ways of taking part, comma-separated.")] = "submit",
    scope: Annotated[str, typer.Option(help="Exhibit A: locations, numbers, data elements, in general words.")] = (
        "Chest imaging for suspected COVID-19 with supporting clinical data"
    ),
    modalities: Annotated[str, typer.Option(help="Comma-separated.")] = "CT,CR,DX",
    licence: Annotated[str, typer.Option(help="Of what is published.")] = "CC BY-NC 4.0",
    ethics_reference: Annotated[str, typer.Option(help="Of the hospital's ethics committee.")] = "",
    earlier_site_ids: Annotated[str, typer.Option(help="SITEIDs of earlier contributions, comma-separated.")] = "",
    expires: Annotated[str, typer.Option(help="Last day, or the moment of its end, ISO 8601; empty: none.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write the terms for an invited site. A draft that was not signed may be written again."""
    request = pb.DraftAgreementRequest(
        site_name=site_name,
        curator=curator,
        modes=_split(modes),
        scope=scope,
        modalities=_split(modalities),
        licence=licence,
        ethics_reference=ethics_reference,
        earlier_site_ids=_split(earlier_site_ids),
        expires_at=_end_timestamp(expires),
    )
    with operator_channel(home_of(context)) as channel:
        answer = AgreementServiceStub(channel).DraftAgreement(request, timeout=UNARY_SECONDS)
    _show(answer.agreement, as_json=as_json)


@agreement.command("list")
def list_agreements(context: typer.Context, as_json: AsJson = False) -> None:
    """Every agreement and where it stands."""
    with operator_channel(home_of(context)) as channel:
        answer = every_page(AgreementServiceStub(channel).ListAgreements, pb.ListAgreementsRequest())
    columns = ("id", "site_name", "site_id", "state", "version", "changed_at")
    show_all("Agreements", answer.agreements, columns, as_json=as_json)


@agreement.command("show")
def show_agreement(context: typer.Context, reference: Reference, as_json: AsJson = False) -> None:
    """One agreement: terms, signatures and text."""
    with operator_channel(home_of(context)) as channel:
        answer = AgreementServiceStub(channel).GetAgreement(
            pb.GetAgreementRequest(reference=reference), timeout=UNARY_SECONDS
        )
    if as_json:
        print_json(plain(answer))
    else:
        _show(answer.agreement, as_json=False)
        print_line("")
        print_line(answer.text)


@agreement.command()
def execute(context: typer.Context, reference: Reference, as_json: AsJson = False) -> None:
    """Countersign what the site signed: issues its SITEID and prints its join token. Resumes a suspended one."""
    with operator_channel(home_of(context)) as channel:
        request = pb.ExecuteAgreementRequest(reference=reference)
        answer = AgreementServiceStub(channel).ExecuteAgreement(request, timeout=UNARY_SECONDS)
    if as_json:
        print_json(plain(answer))
        return
    print_line(f"{answer.agreement.site_name} has SITEID {answer.agreement.site_id}; the agreement is in force.")
    if answer.token:
        print_line(f"Send it this join token; it works once, until {moment(answer.token_expires_at)}:")
        print_line(answer.token)


@agreement.command()
def suspend(context: typer.Context, reference: Reference, as_json: AsJson = False) -> None:
    """Take an agreement out of force; nothing is accepted under it until it is executed again."""
    with operator_channel(home_of(context)) as channel:
        request = pb.SuspendAgreementRequest(reference=reference)
        answer = AgreementServiceStub(channel).SuspendAgreement(request, timeout=UNARY_SECONDS)
    _show(answer.agreement, as_json=as_json)


@agreement.command()
def terminate(context: typer.Context, reference: Reference, as_json: AsJson = False) -> None:
    """End an agreement for good and revoke the site's certificates."""
    with operator_channel(home_of(context)) as channel:
        request = pb.TerminateAgreementRequest(reference=reference)
        answer = AgreementServiceStub(channel).TerminateAgreement(request, timeout=UNARY_SECONDS)
    _show(answer.agreement, as_json=as_json)


def _show(message: pb.Agreement, *, as_json: bool) -> None:
    """An agreement: for a person who must do what next, the terms as sentences, and who signed."""
    values = plain(message)
    if as_json:
        print_json(values)
        return
    site = f"{message.site_name}, SITEID {message.site_id}" if message.site_id else message.site_name
    print_line(f"The agreement with {site} is {values['state']}. Next: {next_step(values['state'])}.")
    for sentence in terms_sentences(AgreementTerms.model_validate_json(message.terms)) if message.terms else ():
        print_line(sentence)
    if message.HasField("consent"):
        consent = from_signed(message.consent).unsafe_parsed(Consent, what="the agreement")
        print_line(f"{consent.signatory} signed on {consent.signed_at:%Y-%m-%d} with the key {consent.fingerprint}.")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _end_timestamp(text: str) -> Timestamp | None:
    if not text:
        return None
    try:
        return to_timestamp(end_of(text))
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(name="--expires", problem="it is no day or moment in ISO 8601") from error
