"""`token`: who may come in."""

from typing import Annotated

import typer

from coordinator.commands.output import AsJson, home_of, moment, show_all
from coordinator.operator.answers import every_page, plain
from coordinator.operator.channel import operator_channel
from shared.proto.ricord.v1 import site_pb2 as pb
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.terminal import make_app, print_json, print_line
from shared.wire import UNARY_SECONDS

_COLUMNS = ("digest", "kind", "role", "subject", "state", "expires_at")

token = make_app("Tokens that let a hospital or a person in. Each works once and for a limited time.")


@token.command()
def curator(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="The curator's short name, without spaces.")],
    as_json: AsJson = False,
) -> None:
    """A join token for a curator: `ricord-coordinator --home FOLDER curate init --token TOKEN`."""
    _join(context, "curator", name, as_json=as_json)


@token.command()
def researcher(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="The researcher's short name, without spaces.")],
    as_json: AsJson = False,
) -> None:
    """A join token for a researcher: `ricord-research enrol --token TOKEN`."""
    _join(context, "researcher", name, as_json=as_json)


@token.command()
def observer(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="The observer's short name, without spaces.")],
    as_json: AsJson = False,
) -> None:
    """A join token for an observer: `ricord-coordinator --home FOLDER console enrol --token TOKEN`."""
    _join(context, "observer", name, as_json=as_json)


@token.command()
def site(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="A site's name or SITEID, or a beginning.")],
    as_json: AsJson = False,
) -> None:
    """Another join token for a site with an agreement in force: a lost one, or an expired certificate."""
    _join(context, "site", name, as_json=as_json)


@token.command("list")
def list_tokens(context: typer.Context, as_json: AsJson = False) -> None:
    """Every token that was issued, whose it is and whether it can still be used; its secret is kept nowhere."""
    with operator_channel(home_of(context)) as channel:
        answer = every_page(SiteServiceStub(channel).ListTokens, pb.ListTokensRequest())
    tokens: list[pb.IssuedToken] = sorted(answer.tokens, key=lambda token: token.expires_at.seconds)
    show_all("Tokens", tokens, _COLUMNS, as_json=as_json)


@token.command()
def revoke(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="Whose tokens: a site's or person's name; or a digest's beginning.")],
    as_json: AsJson = False,
) -> None:
    """Refuse tokens that were not used yet; what was enrolled with others stays (`site revoke` ends that)."""
    with operator_channel(home_of(context)) as channel:
        request = pb.RevokeTokensRequest(reference=reference)
        answer = SiteServiceStub(channel).RevokeTokens(request, timeout=UNARY_SECONDS)
    show_all("Revoked", answer.tokens, _COLUMNS, as_json=as_json)


def _join(context: typer.Context, role: str, name: str, *, as_json: bool) -> None:
    with operator_channel(home_of(context)) as channel:
        request = pb.IssueJoinTokenRequest(role=role, name=name)
        answer = SiteServiceStub(channel).IssueJoinToken(request, timeout=UNARY_SECONDS)
    if as_json:
        print_json(plain(answer))
    else:
        print_line(f"Join token for {role} {answer.name}; it works once, until {moment(answer.expires_at)}:")
        print_line(answer.token)
