"""`audit`: what was done."""

from typing import Annotated

import typer

from coordinator.commands.operator_channel import operator_channel
from coordinator.commands.output import AsJson, home_of, plain, show_all
from shared.counts import counted
from shared.errors import AuditBroken
from shared.proto.ricord.v1 import audit_pb2
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.terminal import make_app, print_json, print_line
from shared.wire import UNARY_SECONDS

audit = make_app("The append-only log of who did what, each entry chained to the one before.")

_VERIFY_SECONDS = 600.0


@audit.command("list")
def list_events(
    context: typer.Context,
    after: Annotated[int, typer.Option(help="Start after this number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """The log, at most 1000 entries at a time."""
    request = audit_pb2.ListAuditEventsRequest(after=after)
    with operator_channel(home_of(context)) as channel:
        answer = AuditServiceStub(channel).ListAuditEvents(request, timeout=UNARY_SECONDS)
    show_all("Audit", answer.events, ("number", "at", "actor", "action", "object"), as_json=as_json)


@audit.command()
def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Recompute the chain from its first entry; fails when one does not fit."""
    with operator_channel(home_of(context)) as channel:
        answer = AuditServiceStub(channel).VerifyAudit(audit_pb2.VerifyAuditRequest(), timeout=_VERIFY_SECONDS)
    if not answer.intact:
        raise AuditBroken(number=str(answer.broken_at))
    if as_json:
        print_json(plain(answer))
    else:
        print_line(f"{counted(answer.events, 'entry')}, all in place; head {answer.head}.")
