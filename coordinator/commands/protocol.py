"""`protocol`: the editions of the protocol whose studies are accepted."""

from typing import Annotated

import typer

from coordinator.commands.output import AsJson, home_of, show, show_all
from coordinator.operator.channel import operator_channel
from coordinator.operator.drafts import end_of
from shared.errors.inputs import InvalidArgument
from shared.proto.ricord.v1 import edition_pb2 as pb
from shared.proto.ricord.v1.edition_pb2_grpc import EditionServiceStub
from shared.terminal import make_app
from shared.wire import UNARY_SECONDS, to_timestamp

protocol = make_app("Editions of the protocol: which is installed, and which earlier ones are accepted until when.")


@protocol.command("list")
def list_editions(context: typer.Context, as_json: AsJson = False) -> None:
    """Every edition that was ever installed here or accepted."""
    with operator_channel(home_of(context)) as channel:
        answer = EditionServiceStub(channel).ListEditions(pb.ListEditionsRequest(), timeout=UNARY_SECONDS)
    columns = ("edition", "digest", "installed", "accepted_until", "noted_at")
    show_all("Editions of the protocol", answer.editions, columns, as_json=as_json)


@protocol.command()
def accept(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="Its digest or a beginning, or its name in `protocol list`.")],
    until: Annotated[str, typer.Option(help="The last day, or the moment of its end, ISO 8601; a past one ends it.")],
    edition: Annotated[str, typer.Option(help="Its name, where it was never installed here: as 2026.11.")] = "",
    as_json: AsJson = False,
) -> None:
    """Accept studies of an earlier edition until a date: sites upgrade, and send what they sealed before, meanwhile.

    Example: `ricord-coordinator protocol accept 2026.11 --until 2027-03-31`
    """
    try:
        moment = to_timestamp(end_of(until))
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(name="--until", problem="it is no day or moment in ISO 8601") from error
    with operator_channel(home_of(context)) as channel:
        request = pb.AcceptEditionRequest(reference=reference, until=moment, edition=edition)
        answer = EditionServiceStub(channel).AcceptEdition(request, timeout=UNARY_SECONDS)
    show(answer.edition, as_json=as_json)
