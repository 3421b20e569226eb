"""`audit`: what was done."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer

from coordinator.audit.export import FirstLine, read_export, write_export
from coordinator.commands.output import AsJson, home_of, show_fields
from coordinator.home.authority import passphrase_of
from coordinator.operator.answers import plain
from coordinator.operator.channel import operator_channel
from coordinator.store.audit_chain import AuditEvent
from shared.counts import counted
from shared.crypto.keys import load_signing
from shared.errors.trust import AuditBroken
from shared.proto.ricord.v1 import audit_pb2
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.terminal import make_app, print_json, print_line
from shared.wire import UNARY_SECONDS, from_signed, from_timestamp

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
    events = [plain(event) for event in answer.events]
    if as_json:
        print_json(events)
    else:
        columns = ("number", "at", "actor", "action", "object")
        show_fields("Audit", [event | _in_short(event) for event in events], columns)


@audit.command()
def verify(
    context: typer.Context,
    file: Annotated[Path | None, typer.Option(help="What `audit export` wrote, instead of the log itself.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the chain from its first entry; fails when one does not fit, or is missing.

    The log is compared with every receipt and with the last head that the coordinator signed, `audit-head.json` in its
    home. A file is compared with the head in it; no coordinator is needed.
    """
    if file is not None:
        _verify_file(file, as_json=as_json)
        return
    with operator_channel(home_of(context)) as channel:
        answer = _verified(channel)
    if not answer.intact:
        raise AuditBroken(number=str(answer.broken_at))
    if as_json:
        print_json(plain(answer))
    else:
        print_line(f"{counted(answer.events, 'entry')}, all in place, those of the kept head ({answer.kept}) too.")
        print_line(f"Head {answer.head}, root {answer.root}.")


@audit.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write, in JSON lines.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write the whole log into a file that anybody can check with `audit verify --file`.

    Where the log is broken the file is written all the same, and the command fails.
    """
    home = home_of(context)
    key = load_signing(home.signing_key, passphrase_of(home.settings())).public.text
    with operator_channel(home) as channel:
        answer = _verified(channel)
        first = FirstLine(head=from_signed(answer.signed), verify_key=key)
        write_export(file, first, _events(channel, answer.events if answer.intact else None))
    if not answer.intact:
        raise AuditBroken(number=str(answer.broken_at))
    if as_json:
        print_json({"events": answer.events, "root": answer.root, "file": str(file)})
    else:
        print_line(f"{counted(answer.events, 'entry')} in {file}.")


def _in_short(event: Mapping[str, Any]) -> dict[str, str]:
    """The actor without the federation, which is this one; a result only where something was not done."""
    actor, action = event["actor"], event["action"]
    if actor.startswith("spiffe://"):
        actor = " ".join(actor.split("/")[3:])
    return {"actor": actor, "action": action if event["result"] == "done" else f"{action} {event['result']}"}


def _verify_file(file: Path, *, as_json: bool) -> None:
    exported = read_export(file)
    report, head, fingerprint = exported.report, exported.head, exported.key.fingerprint
    if as_json:
        print_json({**report.model_dump(mode="json"), "signed_at": head.signed_at, "fingerprint": fingerprint})
        return
    print_line(
        f"{counted(report.events, 'entry')} of {head.federation}, all in place on {head.signed_at:%Y-%m-%d %H:%M} UTC."
    )
    print_line(f"Signed by {fingerprint}: compare it with the coordinator's fingerprint in an agreement.")


def _verified(channel: grpc.Channel) -> audit_pb2.VerifyAuditResponse:
    return AuditServiceStub(channel).VerifyAudit(audit_pb2.VerifyAuditRequest(), timeout=_VERIFY_SECONDS)


def _events(channel: grpc.Channel, end: int | None) -> Iterator[AuditEvent]:
    """The events up to a number, or all that there are."""
    last, stub = 0, AuditServiceStub(channel)
    while end is None or last < end:
        request = audit_pb2.ListAuditEventsRequest(after=last, limit=0 if end is None else min(end - last, 1000))
        page = stub.ListAuditEvents(request, timeout=UNARY_SECONDS).events
        if not page:
            return
        yield from (_event(message) for message in page)
        last = page[-1].number


def _event(message: audit_pb2.AuditEvent) -> AuditEvent:
    return AuditEvent.model_validate({**plain(message), "at": from_timestamp(message.at)})
