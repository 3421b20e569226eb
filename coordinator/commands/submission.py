"""`submission`: what was received."""

from typing import Annotated

import typer

from coordinator.commands.operator_channel import operator_channel
from coordinator.commands.output import AsJson, every_page, home_of, plain, short, show, show_all
from shared.counts import counted
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
    columns = ("id", "number", "site_id", "sequence", "modalities", "instance_count", "received_at", "state")
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
        print_line(f"Site {gap.site_id}: numbers {gap.first} to {gap.last} did not arrive.")
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
