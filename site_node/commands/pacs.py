"""`pacs`: query the PACS and fetch studies from it."""

from typing import Annotated

import typer

from shared.counts import counted
from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument
from shared.terminal import make_app, print_json, print_line, print_table
from site_node.commands.fetch_progress import shown
from site_node.commands.options import Json, home_of, node_of
from site_node.commands.pacs_send import send
from site_node.home.retrieve_requests import Pace
from site_node.network.query import Query
from site_node.node.acquisition import Acquisition
from site_node.node.fetch import NO_NEW_REQUESTS, fetch
from site_node.node.open import Node
from site_node.node.service_trials import try_services
from site_node.reasons import explanation_of
from site_node.receive.accessions import ASKED_BEFORE, PROBLEMS, AccessionList, of_text
from site_node.receive.request_lists import StudyRequest

pacs = make_app(
    "Ask the PACS that `[pacs]` or `[dicomweb]` in the settings names, or send to one, all inside the hospital."
)

Accession = Annotated[str, typer.Option(help="An accession number, whole.")]
PatientId = Annotated[str, typer.Option(help="A patient ID, whole.")]
Dates = Annotated[str, typer.Option(help="Study dates: 20200301, or 20200301-20200430.")]
Modality = Annotated[str, typer.Option(help="CT, CR, DX …")]


@pacs.command(name="test")
def try_out(context: typer.Context, accession: Accession = "", as_json: Json = False) -> None:
    """Try each service of the PACS: C-ECHO, C-FIND, C-GET and C-MOVE, or over the web QIDO-RS and WADO-RS.

    With --accession one image of that study is fetched by each service that fetches, and thrown away; without, the
    PACS is only asked whether it offers them. Exit code 4 where a service that the settings use does not work.

    Example: `ricord-site pacs test --accession 2024-0173`
    """
    with node_of(context, writing=False) as node:
        settings = _acquisition(node).pacs_settings()
        tried = try_services(_acquisition(node), accession)
    if as_json:
        address = settings.model_dump(include={"host", "port", "ae_title", "url"})
        print_json({"answered": True, **address, "services": [service.model_dump() for service in tried]})
    else:
        print_line(f"{settings.peer} answers.")
        for service in tried:
            works = "works." if accession or service.service not in {"C-GET", "C-MOVE"} else "is offered."
            said = f"{explanation_of(service.reason)} ({service.reason})" if service.reason else works
            print_line(f"{service.service}{'' if service.is_used else ' (not used)'}: {said}")
    if any(service.reason and service.is_used for service in tried):
        raise typer.Exit(ExitCode.REFUSED)


@pacs.command()
def find(
    context: typer.Context,
    *,
    accession: Accession = "",
    patient_id: PatientId = "",
    dates: Dates = "",
    modality: Modality = "",
    as_json: Json = False,
) -> None:
    """List the studies that fit (C-FIND, QIDO-RS). The answer is patient data: it is for the hospital's screen only.

    Example: `ricord-site pacs find --dates 20200301-20200331 --modality CT`
    """
    with node_of(context, writing=False) as node:
        matches = _acquisition(node).pacs().studies(_query(accession, patient_id, dates, modality))
    if as_json:
        print_json([study.model_dump() for study in matches])
        return
    rows = [
        (study.accession, study.patient_id, study.date, study.modalities, study.series, study.instances)
        for study in matches
    ]
    print_table("Studies", ["Accession", "Patient", "Date", "Modalities", "Series", "Images"], rows)


@pacs.command()
def get(
    context: typer.Context,
    *,
    accession: Accession = "",
    patient_id: PatientId = "",
    dates: Dates = "",
    modality: Modality = "",
    as_json: Json = False,
) -> None:
    """Fetch the studies that fit, one request per study, until every announced image arrived or failed with a reason.

    Example: `ricord-site pacs get --accession 2024-0173`
    """
    query = _query(accession, patient_id, dates, modality)
    if accession and not (patient_id or dates or modality):
        fetch_and_show(context, of_text(accession), as_json=as_json, again=True)
        return
    with node_of(context, writing=False) as node:
        matches = _acquisition(node).pacs().studies(query)
    requests = tuple(StudyRequest(study_uid=study.study_uid, patient_id=study.patient_id) for study in matches)
    rows = tuple(range(1, len(requests) + 1))
    fetch_and_show(context, AccessionList(requests=requests, rows=rows, problems=()), as_json=as_json, again=True)


@pacs.command()
def retry(context: typer.Context, as_json: Json = False) -> None:
    """Request again everything that ended with something missing.

    Example: `ricord-site pacs retry`
    """
    with node_of(context, writing=False) as node:
        _acquisition(node).pacs_settings()
        count = node.ledger.requests.reopen()
    if not as_json:
        print_line(f"{counted(count, 'request', 'is')} made again.")
    fetch_and_show(context, NO_NEW_REQUESTS, as_json=as_json)


def fetch_and_show(
    context: typer.Context, listed: AccessionList, *, as_json: bool, again: bool = False, pace: Pace = Pace.SOON
) -> None:
    """Fetch the studies of a list and show how each row ended; exit code 3 where one failed."""
    report, left_to_service = fetch(home_of(context), listed, again=again, pace=pace, show=shown)
    if as_json:
        print_json(report)
    else:
        print_line(
            f"{counted(report.requests, 'request')}, {report.reconciled} reconciled: "
            f"{counted(report.announced, 'image')} announced, "
            f"{report.arrived} arrived, {report.failed} failed."
        )
        if not left_to_service:
            print_line(f"Received: {counted(report.studies, 'study')} with {counted(report.instances, 'new image')}.")
        for row, code in report.rows.items():
            problem = f"{PROBLEMS[code]}." if code in PROBLEMS else explanation_of(code)
            print_line(f"Row {row} ({code}): {problem}")
        if left_to_service and report.requests:
            print_line("The node that is running fetches and receives them; `ricord-site status` shows how far it is.")
        elif report.waiting:
            print_line(f"{report.waiting} wait for the PACS or its hours; `ricord-site run` goes on with them.")
    if report.failed or set(report.rows.values()) - {ASKED_BEFORE}:
        raise typer.Exit(ExitCode.PARTIAL)


def _query(accession: str, patient_id: str, dates: str, modality: str) -> Query:
    """The query of the options; raises `InvalidArgument`."""
    try:
        query = Query(accession=accession, patient_id=patient_id, dates=dates, modality=modality)
    except ValueError:
        raise InvalidArgument(
            name="The query", problem="write dates as 20200301 or 20200301-20200430, a modality as CT"
        ) from None
    return query.checked()


def _acquisition(node: Node) -> Acquisition:
    return Acquisition(node.home, node.settings, node.stages.names)


pacs.command()(send)
