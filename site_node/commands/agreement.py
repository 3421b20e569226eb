"""`agreement`: read it, sign it, and show its state."""

from typing import Annotated

import typer

from shared.agreement import terms_sentences
from shared.errors import InvalidArgument, next_step
from shared.terminal import make_app, print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.membership.agreement import sign_agreement
from site_node.membership.invitation import read_agreement
from site_node.membership.record import load_membership
from site_node.membership.renewal import standing
from site_node.membership.step import LocalState, Step, step_of

agreement = make_app("Read and sign the agreement, and see where it stands.")

Token = Annotated[str, typer.Option("--token", help="The token's text, RICORD1-…, as the coordinator gave it.")]


@agreement.command()
def read(context: typer.Context, token: Token, as_json: Json = False) -> None:
    """Show the agreement that the coordinator offers to the bearer of an invitation token.

    Only the token's proof is sent. The text shown is kept, and `agreement sign` signs nothing else.

    Example: `ricord-site agreement read --token RICORD1-…`
    """
    home = home_of(context)
    home.load()
    offered = read_agreement(home, token)
    if as_json:
        print_json(offered)
        return
    print_line(offered.text)
    print_line("")
    for sentence in terms_sentences(offered.terms):
        print_line(sentence)
    print_line("")
    print_line(f"Compare the curator's key and recipient with {offered.terms.curator.name} by telephone.")
    print_line("Next: `ricord-site agreement sign`.")


@agreement.command()
def sign(
    context: typer.Context,
    token: Token,
    signatory: Annotated[str, typer.Option(help="Who signs for the hospital: name and role.")],
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking again.")] = False,
    as_json: Json = False,
) -> None:
    """Sign the agreement that was read, with the site's own key; this uses the invitation token up.

    Sent: the signed terms, the signatory's name and role, the site's public key. No patient data.

    Example: `ricord-site agreement sign --token RICORD1-… --signatory "Dr. A. Miller, Research Director"`
    """
    home = home_of(context)
    home.load()
    if not yes and not typer.confirm("Sign the agreement that `agreement read` showed?"):
        raise InvalidArgument(name="--yes", problem="the agreement was not signed")
    terms = sign_agreement(home, token, signatory=signatory)
    if as_json:
        print_json({"agreement": terms.id, "version": terms.version, "state": "signed"})
    else:
        print_line(f"Agreement {terms.id} is signed. The coordinator countersigns it and sends a join token.")


@agreement.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Show where the agreement stands, and who must do what next; a member's coordinator is asked.

    Example: `ricord-site agreement status --json`
    """
    home = home_of(context)
    home.load()
    step = step_of(home)
    if step.state is not LocalState.ENROLLED:
        show_step(step, as_json=as_json)
        return
    state = standing(load_membership(home))
    following = next_step(state.state)
    if as_json:
        print_json({**state.model_dump(mode="json"), "next": following})
    else:
        print_line(f"The agreement is {state.state}, version {state.agreement_version}. Next: {following}.")


def show_step(step: Step, *, as_json: bool) -> None:
    """Show how far a site that is not enrolled has come."""
    if as_json:
        print_json(step)
    else:
        print_line(f"The agreement is {step.state}. Next: {step.next}.")
