"""`agreement`: drafted, countersigned, amended, suspended, ended."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.commands import drafting
from coordinator.commands.output import AsJson, home_of, moment, show_all
from coordinator.operator import drafts
from coordinator.operator.answers import every_page, plain
from coordinator.operator.channel import operator_channel
from shared.agreement import AgreementTerms, Consent
from shared.agreement_page import terms_page
from shared.agreement_steps import next_step
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.signed_pb2 import SignedDocument
from shared.terminal import make_app, print_json, print_line
from shared.wire import UNARY_SECONDS, from_signed

agreement = make_app("Agreements with hospitals: drafted here, signed there, executed here.")

Reference = Annotated[str, typer.Argument(help="An agreement's id, a site's name or SITEID, or a beginning.")]


@agreement.command()
def draft(
    context: typer.Context,
    site_name: Annotated[str, typer.Argument(help="An invited site's name, or its agreement's id.")],
    *,
    curator: Annotated[str, typer.Option(help="The enrolled curator the site will seal to.")],
    modes: drafting.Modes = "submit",
    scope: drafting.ScopeText = None,
    scope_file: drafting.ScopeFile = None,
    modalities: drafting.Modalities = "CT,CR,DX",
    studies: drafting.Studies = None,
    data_elements: drafting.DataElements = None,
    locations: drafting.Locations = None,
    licence: drafting.Licence = "CC BY-NC 4.0",
    ethics_reference: drafting.EthicsReference = None,
    earlier_site_ids: drafting.EarlierSiteIds = None,
    editions: drafting.Editions = None,
    starts: drafting.Starts = None,
    expires: drafting.Expires = None,
    as_json: AsJson = False,
) -> None:
    """Write the terms for an invited site. A draft that was not signed may be written again."""
    request = drafts.fill(
        pb.DraftAgreementRequest(site_name=site_name, scope=drafts.USUAL_SCOPE),
        curator=curator,
        modes=modes,
        scope=scope,
        scope_file=scope_file,
        modalities=modalities,
        studies=studies,
        data_elements=data_elements,
        locations=locations,
        licence=licence,
        ethics_reference=ethics_reference,
        earlier_site_ids=earlier_site_ids,
        editions=editions,
        starts=starts,
        expires=expires,
    )
    with operator_channel(home_of(context)) as channel:
        answer = AgreementServiceStub(channel).DraftAgreement(request, timeout=UNARY_SECONDS)
    _show(answer.agreement, as_json=as_json)


@agreement.command()
def amend(
    context: typer.Context,
    reference: Reference,
    *,
    curator: drafting.Curator = None,
    modes: drafting.Modes = None,
    scope: drafting.ScopeText = None,
    scope_file: drafting.ScopeFile = None,
    modalities: drafting.Modalities = None,
    studies: drafting.Studies = None,
    data_elements: drafting.DataElements = None,
    locations: drafting.Locations = None,
    licence: drafting.Licence = None,
    ethics_reference: drafting.EthicsReference = None,
    earlier_site_ids: drafting.EarlierSiteIds = None,
    editions: drafting.Editions = None,
    starts: drafting.Starts = None,
    expires: drafting.Expires = None,
    as_json: AsJson = False,
) -> None:
    """Write the next version, changed in what is given. The one in force stays so until both sides have signed."""
    _amend(
        context,
        reference,
        as_json=as_json,
        curator=curator,
        modes=modes,
        scope=scope,
        scope_file=scope_file,
        modalities=modalities,
        studies=studies,
        data_elements=data_elements,
        locations=locations,
        licence=licence,
        ethics_reference=ethics_reference,
        earlier_site_ids=earlier_site_ids,
        editions=editions,
        starts=starts,
        expires=expires,
    )


@agreement.command()
def renew(
    context: typer.Context,
    reference: Reference,
    expires: Annotated[str, typer.Option(help="The new last day; empty: none.")],
    as_json: AsJson = False,
) -> None:
    """Write the next version with another last day, also of an agreement whose last day is over."""
    _amend(context, reference, as_json=as_json, expires=expires)


@agreement.command()
def reinstate(
    context: typer.Context,
    reference: Reference,
    expires: Annotated[str | None, typer.Option(help="The new last day; empty: none; it stays unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Offer a terminated or expired agreement again, as its next version; prints the token to read and sign it with.

    The site keeps its SITEID and its key. The last day stays, and must be given where it is over.
    """
    _amend(context, reference, as_json=as_json, is_reinstated=True, expires=expires)


@agreement.command()
def attach(
    context: typer.Context,
    reference: Reference,
    file: Annotated[Path, typer.Argument(help="A PDF that the parties signed; it stays where it is.")],
    as_json: AsJson = False,
) -> None:
    """Note the SHA-256 of a signed PDF with the agreement and in the audit log; the file itself is not sent."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SourceMissing(source=str(file)) from error
    if not data.startswith(b"%PDF-"):
        raise InvalidArgument(name="The file", problem="it is no PDF")
    request = pb.AttachDocumentRequest(reference=reference, sha256=hashlib.sha256(data).hexdigest())
    with operator_channel(home_of(context)) as channel:
        answer = AgreementServiceStub(channel).AttachDocument(request, timeout=UNARY_SECONDS)
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
    """Countersign what the site signed: issues its SITEID and prints its join token, or puts its next version in force.

    Without a signed next version a suspended agreement is put in force again.
    """
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
    """End an agreement and revoke the site's certificates; only a new version that both sign puts it in force again."""
    with operator_channel(home_of(context)) as channel:
        request = pb.TerminateAgreementRequest(reference=reference)
        answer = AgreementServiceStub(channel).TerminateAgreement(request, timeout=UNARY_SECONDS)
    _show(answer.agreement, as_json=as_json)


def _amend(
    context: typer.Context, reference: str, *, as_json: bool, is_reinstated: bool = False, **changes: Any
) -> None:
    """Draft the version after the one offered, or else in force, with `changes`."""
    with operator_channel(home_of(context)) as channel:
        stub = AgreementServiceStub(channel)
        before = stub.GetAgreement(pb.GetAgreementRequest(reference=reference), timeout=UNARY_SECONDS).agreement
        terms = before.amendment_terms or before.terms
        if not terms:
            raise AgreementNotExecuted(state=plain(before)["state"])
        draft = drafts.draft_of(AgreementTerms.model_validate_json(terms))
        drafts.check_last_day(draft, changes.get("expires"))
        draft = drafts.fill(draft, **changes)
        request = pb.AmendAgreementRequest(draft=draft, reinstate=is_reinstated)
        answer = stub.AmendAgreement(request, timeout=UNARY_SECONDS)
    if as_json:
        print_json(plain(answer))
        return
    _show(answer.agreement, as_json=False)
    if answer.token:
        print_line(f"Send it this invitation token; it works once, until {moment(answer.token_expires_at)}:")
        print_line(answer.token)


def _show(message: pb.Agreement, *, as_json: bool) -> None:
    """An agreement: for a person who must do what next, the terms as a page, and who signed."""
    values = plain(message)
    if as_json:
        print_json(values)
        return
    site = f"{message.site_name}, SITEID {message.site_id}" if message.site_id else message.site_name
    following = "" if message.amendment_terms else f" Next: {next_step(values['state'])}."
    print_line(f"The agreement with {site} is {values['state']}.{following}")
    _show_version(message.terms, message.consent if message.HasField("consent") else None)
    if message.attachment:
        print_line(f"A signed document is attached, SHA-256 {message.attachment}.")
    if message.amendment_terms:
        is_signed = message.HasField("amendment_consent")
        following = next_step("signed" if is_signed else "drafted")
        print_line(f"Its next version is {'signed' if is_signed else 'drafted'}. Next: {following}.")
        _show_version(message.amendment_terms, message.amendment_consent if is_signed else None)


def _show_version(terms: bytes, signed: SignedDocument | None) -> None:
    if terms:
        print_line(terms_page(AgreementTerms.model_validate_json(terms)))
    if signed is not None:
        consent = from_signed(signed).unsafe_parsed(Consent, what="the agreement")
        print_line(f"{consent.signatory} signed on {consent.signed_at:%Y-%m-%d} with the key {consent.fingerprint}.")
