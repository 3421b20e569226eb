"""`agreement`: read it, sign it, and show its state."""

import sys
from typing import Annotated

import typer

from shared.agreement_page import terms_page
from shared.agreement_steps import next_step
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import TokenUsed
from shared.terminal import make_app, print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.home.folder import SiteHome
from site_node.membership.agreement import note_signed, sign_agreement, signed_before
from site_node.membership.amendment import fetch_countersigned, read_amendment, sign_amendment
from site_node.membership.invitation import read_agreement
from site_node.membership.record import load_membership
from site_node.membership.renewal import standing
from site_node.membership.step import LocalState, Step, step_of

agreement = make_app("Read and sign the agreement, and see where it stands.")

Token = Annotated[
    str,
    typer.Option("--token", help="The invitation token, RICORD1-…; an enrolled site shows its certificate instead."),
]


@agreement.command()
def read(context: typer.Context, token: Token = "", as_json: Json = False) -> None:
    """Show the agreement that the coordinator offers to the bearer of an invitation token, or an enrolled site.

    Only the token's proof or the certificate is sent. The text shown is kept, and `agreement sign` signs nothing else.

    Example: `ricord-site agreement read --token RICORD1-…`
    """
    home = home_of(context)
    home.load()
    try:
        offered = read_agreement(home, token) if token else read_amendment(home)
    except TokenUsed:
        _show_signed(home, as_json=as_json)
        return
    if as_json:
        print_json(offered)
        return
    print_line(offered.text)
    print_line("")
    print_line(terms_page(offered.terms))
    print_line("")
    print_line(f"Compare the curator's key and recipient with {offered.terms.curator.name} by telephone.")
    print_line("Next: `ricord-site agreement sign`.")


@agreement.command()
def sign(
    context: typer.Context,
    signatory: Annotated[str, typer.Option(help="Who signs for the hospital: name and role.")],
    token: Token = "",
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking again.")] = False,
    as_json: Json = False,
) -> None:
    """Sign the agreement that was read, with the site's own key; an invitation token is used up by this.

    Sent: the signed terms, the signatory's name and role, the site's public key. No patient data.

    Example: `ricord-site agreement sign --token RICORD1-… --signatory "Dr. A. Miller, Research Director"`
    """
    home = home_of(context)
    home.load()
    if not (yes or sys.stdin.isatty()):
        raise InvalidArgument(
            name="--yes", problem="it is needed where there is no terminal to ask at; nothing is signed"
        )
    if not yes and not typer.confirm("Sign the agreement that `agreement read` showed?"):
        raise InvalidArgument(name="--yes", problem="the agreement was not signed")
    try:
        if token:
            terms, following = sign_agreement(home, token, signatory=signatory), " and sends a join token"
        else:
            terms, following = sign_amendment(home, signatory=signatory), "; until then the version before is in force"
    except TokenUsed:
        _show_signed(home, as_json=as_json)
        return
    note_signed(home, terms, signatory)
    if as_json:
        print_json({"agreement": terms.id, "version": terms.version, "state": "signed"})
    else:
        print_line(
            f"Agreement {terms.id}, version {terms.version}, is signed. The coordinator countersigns it{following}."
        )


@agreement.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Show where the agreement stands, and who must do what next; a member's coordinator is asked.

    A next version that both sides have signed is kept.

    Example: `ricord-site agreement status --json`
    """
    home = home_of(context)
    home.load()
    step = step_of(home)
    if step.state is not LocalState.ENROLLED:
        show_step(step, as_json=as_json)
        return
    state = standing(fetch_countersigned(home) or load_membership(home))
    following = next_step(state.state)
    if as_json:
        print_json({**state.model_dump(mode="json"), "next": following})
    else:
        print_line(f"The agreement is {state.state}, version {state.agreement_version}. Next: {following}.")
        if state.amendment is not None:
            print_line(f"Its next version is {state.amendment}. Next: {next_step(state.amendment)}.")


def _show_signed(home: SiteHome, *, as_json: bool) -> None:
    """Show what was signed with a token that is used up; raises `TokenUsed` where that was not in this home."""
    consent = signed_before(home)
    terms = consent.terms
    if as_json:
        print_json({"agreement": terms.id, "version": terms.version, "state": "signed", "signed_at": consent.signed_at})
        return
    signed = f"already signed on {consent.signed_at:%Y-%m-%d} by {consent.signatory}"
    print_line(f"Agreement {terms.id}, version {terms.version}, was {signed}. Next: {step_of(home).next}.")


def show_step(step: Step, *, as_json: bool) -> None:
    """Show how far a site that is not enrolled has come."""
    if as_json:
        print_json(step)
    else:
        print_line(f"The agreement is {step.state}. Next: {step.next}.")
