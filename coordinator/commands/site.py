"""`site`: which hospitals are interested, invited and in."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.output import AsJson, home_of, moment, show, show_fields, show_values
from coordinator.commands.survey_file import read_survey
from coordinator.operator.answers import every_page, plain
from coordinator.operator.channel import operator_channel
from shared.counts import counted
from shared.proto.ricord.v1 import site_pb2 as pb
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.terminal import make_app, print_json, print_line
from shared.wire import UNARY_SECONDS

site = make_app("Hospitals: interested, invited, enrolled, revoked.")
survey = make_app("Answers to the open call.")
site.add_typer(survey, name="survey")

_COLUMNS = ("name", "site_id", "state", "contact", "enrolled_at", "certificate_ends_at")


@survey.command("import")
def import_survey(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8 with the columns of `--help`; lists have semicolons.")],
    as_json: AsJson = False,
) -> None:
    """Record the hospitals that answered the open call; all rows of the file, or none where one is wrong.

    Columns: name, country (two letters), modalities, studies (about how many), modes, clinical_data (yes or no), ethics
    (approved, exempt, applied or none). Nothing of a person belongs into it.
    """
    request = pb.ImportSurveyRequest(answers=read_survey(file))
    with operator_channel(home_of(context)) as channel:
        answer = SiteServiceStub(channel).ImportSurvey(request, timeout=UNARY_SECONDS)
    if as_json:
        print_json(plain(answer))
    else:
        print_line(f"{answer.recorded} hospitals are new, {answer.replaced} answers were replaced.")


@site.command()
def invite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The hospital's name, as it will stand in the agreement.")],
    as_json: AsJson = False,
) -> None:
    """Record a hospital, unless it is interested already, and print the invitation token to send it."""
    with operator_channel(home_of(context)) as channel:
        answer = SiteServiceStub(channel).InviteSite(pb.InviteSiteRequest(site_name=name), timeout=UNARY_SECONDS)
    if as_json:
        print_json(plain(answer))
    else:
        state, ends = plain(answer.site)["state"], moment(answer.expires_at)
        print_line(f"{answer.site.name} is {state}. Send it this token; it works once, until {ends}:")
        print_line(answer.token)


@site.command("list")
def list_sites(context: typer.Context, as_json: AsJson = False) -> None:
    """Every hospital, where it stands, and how long ago its node reported; over an hour is silence."""
    with operator_channel(home_of(context)) as channel:
        answer = every_page(SiteServiceStub(channel).ListSites, pb.ListSitesRequest())
    if as_json:
        print_json([plain(site) for site in answer.sites])
    else:
        show_fields("Sites", [plain(site) | {"contact": _contact(site)} for site in answer.sites], _COLUMNS)


@site.command("show")
def show_site(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="A site's name or SITEID, or a beginning.")],
    as_json: AsJson = False,
) -> None:
    """One hospital, with the latest report of its node: studies by place, queue, free disk, certificate's end."""
    with operator_channel(home_of(context)) as channel:
        answer = SiteServiceStub(channel).GetSite(pb.GetSiteRequest(reference=reference), timeout=UNARY_SECONDS)
    if as_json:
        print_json(plain(answer.site))
        return
    contact = answer.site.contact
    site = plain(answer.site) | {"contact": _contact(answer.site)}
    survey_answer = site.pop("survey")
    show_values("Site", site)
    if survey_answer:
        show_values("Its answer to the open call", survey_answer | {"site_name": ""})
    if answer.site.HasField("contact"):
        show_values("Its node's latest report", {"at": plain(contact)["at"], **plain(contact.presence)})


@site.command()
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A site's name or SITEID, or a beginning; or a person's name.")],
    role: Annotated[str, typer.Option(help="site, curator, researcher or observer.")] = "site",
    as_json: AsJson = False,
) -> None:
    """Refuse every certificate and token of a member from now on; a new join token lets it in again."""
    with operator_channel(home_of(context)) as channel:
        request = pb.RevokeCertificatesRequest(role=role, name=name)
        answer = SiteServiceStub(channel).RevokeCertificates(request, timeout=UNARY_SECONDS)
    show(answer, as_json=as_json)


def _contact(site: pb.Site) -> str:
    """How long ago the site's node reported, in words; nothing before it is enrolled."""
    if not site.HasField("contact"):
        return "never" if site.HasField("enrolled_at") else ""
    minutes = site.contact.age_seconds // 60
    hours, days = minutes // 60, minutes // (24 * 60)
    age = counted(days, "day") if days > 1 else counted(hours, "hour") if hours > 1 else counted(minutes, "minute")
    return f"silent for {age}" if site.contact.silent else f"{age} ago"
