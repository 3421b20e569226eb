"""`enrol`: become a member with a join token."""

from typing import Annotated

import typer

from shared.errors.trust import TokenUsed
from shared.terminal import print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.membership import enrolment
from site_node.membership.renewal import enrolled_before


def enrol(
    context: typer.Context,
    token: Annotated[str, typer.Option("--token", help="The join token that came when the agreement was executed.")],
    as_json: Json = False,
) -> None:
    """Exchange a join token for the site's certificate and SITEID.

    Sent: a certificate request signed by the site's key. The countersigned agreement is checked before it is kept.
    A home that is a member already, and repeats its token, is told so.

    Example: `ricord-site enrol --token RICORD1-…`
    """
    home = home_of(context)
    home.load()
    try:
        member = enrolment.enrol(home, token)
    except TokenUsed:
        member = enrolled_before(home)
    if as_json:
        print_json({"site_id": member.site_id, "federation": member.federation, "agreement": member.agreement})
    else:
        print_line(
            f"This site is enrolled as {member.site_id} in {member.federation}. Next: `ricord-site receive FOLDER`."
        )
