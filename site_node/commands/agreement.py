"""`agreement`: read it, sign it, and show its state."""

from typing import Annotated

import typer

from shared.agreement import short_digest
from shared.errors import InvalidArgument
from shared.terminal import make_app, print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.membership.agreement import sign_agreement
from site_node.membership.invitation import read_agreement
from site_node.membership.record import load_membership
from site_node.membership.renewal import standing

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
    for name, value in offered.terms.model_dump(mode="json").items():
        print_line(f"{name}: {value}")
    curator = offered.terms.curator
    print_line("")
    print_line(f"Compare with curator {curator.name} by telephone: signing key {curator.fingerprint},")
    print_line(f"recipient {short_digest(curator.recipient)}. Studies are sealed to that recipient and nobody else.")


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
    """Ask the coordinator where the agreement stands.

    Example: `ricord-site agreement status --json`
    """
    home = home_of(context)
    home.load()
    state = standing(load_membership(home))
    if as_json:
        print_json(state)
    else:
        print_line(f"The agreement is {state.state}, version {state.agreement_version}.")
