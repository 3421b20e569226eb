"""`submission`: what was received."""

from typing import Annotated, Any

import typer

from coordinator.commands.output import AsJson, home_of, short, show, show_all, show_fields
from coordinator.operator.answers import every_page, plain
from coordinator.operator.channel import operator_channel
from shared.counts import counted
from shared.errors.inputs import InvalidArgument, NotFound
from shared.proto.ricord.v1 import submission_pb2
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.terminal import make_app, print_json, print_line
from shared.wire import UNARY_SECONDS

SiteOption = Annotated[str, typer.Option(help="One site only, by name or SITEID.")]

submission = make_app("Sealed studies that were received. Nobody here can open them; the curator can.")


@submission.command("list")
def list_submissions(
    context: typer.Context,
    site_id: SiteOption = "",
    after: Annotated[int, typer.Option(min=0, help="What came after the submission of this number.")] = 0,
    limit: Annotated[int, typer.Option(min=0, max=1000, help="So many at most; 0: all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """What was received; `submission gaps` says what is missing."""
    request = submission_pb2.ListSubmissionsRequest(site_id=site_id, after=after, limit=limit)
    with operator_channel(home_of(context)) as channel:
        answer = every_page(SubmissionServiceStub(channel).ListSubmissions, request)
    if as_json:
        print_json(plain(answer))
        return
    columns = ("id", "number", "site_id", "modalities", "received_at", "state")
    show_all("Submissions", answer.submissions, columns, as_json=False)
    for row in answer.submissions:
        if row.problem:
            print_line(f"Submission {short(row.id)} of site {row.site_id}: {row.problem}.")
    if answer.next:
        print_line(f"There are more; ask for them with --after {answer.next}.")


@submission.command("gaps")
def list_gaps(context: typer.Context, site_id: SiteOption = "", as_json: AsJson = False) -> None:
    """Which of each site's sequence numbers did not arrive, and which came more than once."""
    request = submission_pb2.ListSequenceFaultsRequest(site_id=site_id)
    with operator_channel(home_of(context)) as channel:
        answer = every_page(SubmissionServiceStub(channel).ListSequenceFaults, request)
    if as_json:
        print_json(plain(answer))
        return
    for gap in answer.gaps:
        numbers = f"number {gap.first}" if gap.first == gap.last else f"numbers {gap.first} to {gap.last}"
        print_line(f"Site {gap.site_id}: {numbers} did not arrive.")
    for repeat in answer.repeats:
        print_line(f"Site {repeat.site_id}: number {repeat.sequence} came {counted(repeat.count, 'time')}.")
    if not (answer.gaps or answer.repeats):
        print_line("Every sequence number up to each site's highest came, and came once.")


@submission.command("show")
def show_submission(
    context: typer.Context,
    submission_id: Annotated[str, typer.Argument(help="Its id, or a beginning as `submission list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """One submission with its manifest and receipt."""
    request = submission_pb2.GetSubmissionRequest(id=submission_id)
    with operator_channel(home_of(context)) as channel:
        answer = SubmissionServiceStub(channel).GetSubmission(request, timeout=UNARY_SECONDS)
    show(answer, as_json=as_json)


@submission.command("withdraw")
def withdraw(
    context: typer.Context,
    submission_ids: Annotated[list[str] | None, typer.Argument(help="Ids of submissions, or beginnings.")] = None,
    *,
    study: Annotated[str, typer.Option(help="Every submission of a study, by its UID.")] = "",
    patient: Annotated[str, typer.Option(help="Every submission of a patient, by the pseudonym.")] = "",
    site_id: Annotated[str, typer.Option(help="Every submission of a site, by name or SITEID.")] = "",
    instance: Annotated[list[str] | None, typer.Option(help="Only this image of the submission named.")] = None,
    allow: Annotated[bool, typer.Option("--allow", help="Let what operators withdrew be submitted again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw submissions: their ciphertext is deleted now, the curator purges its copies, none may come again."""
    if sum(map(bool, (submission_ids, study, patient, site_id))) != 1:
        raise InvalidArgument(name="What to withdraw", problem="name submissions, a study, a patient or a site")
    with operator_channel(home_of(context)) as channel:
        stub = SubmissionServiceStub(channel)
        if not submission_ids:
            rows = every_page(stub.ListSubmissions, submission_pb2.ListSubmissionsRequest(site_id=site_id)).submissions
            submission_ids = [row.id for row in rows if study in ("", row.study) and patient in ("", row.patient)]
        if not submission_ids:
            raise NotFound(kind="submission of", name=study or patient or site_id)
        receipts = list[Any]()
        for each in submission_ids:
            if allow:
                request = submission_pb2.AllowResubmissionRequest(submission=each)
                stub.AllowResubmission(request, timeout=UNARY_SECONDS)
            else:
                withdrawal = submission_pb2.WithdrawRequest(submissions=[each], instances=instance)
                receipts += plain(stub.Withdraw(withdrawal, timeout=UNARY_SECONDS))["receipts"]
    if as_json:
        print_json({"allowed": submission_ids if allow else [], "receipts": receipts})
    else:
        done = "may be submitted again" if allow else "withdrawn"
        print_line(f"{counted(len(submission_ids), 'submission')} {done}.")


@submission.command("withdrawals")
def list_withdrawals(context: typer.Context, as_json: AsJson = False) -> None:
    """What was withdrawn, by which side, and whether ciphertext and the curator's copies are deleted."""
    with operator_channel(home_of(context)) as channel:
        answer = every_page(SubmissionServiceStub(channel).ListWithdrawals, submission_pb2.ListWithdrawalsRequest())
    if as_json:
        print_json(plain(answer))
        return
    rows = [
        {
            **plain(row),
            "instances": len(row.instances) or "all",
            "ciphertext": "deleted" if row.HasField("deletion") else "not yet",
            "copies": "purged" if row.HasField("purge") else "not yet",
        }
        for row in answer.withdrawals
    ]
    columns = ("number", "submission", "site_id", "by", "instances", "withdrawn_at", "ciphertext", "copies")
    show_fields("Withdrawals", rows, columns)
