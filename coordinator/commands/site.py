"""`site`: which hospitals are in."""

from typing import Annotated

import typer

from coordinator.commands.operator_channel import operator_channel
from coordinator.commands.output import AsJson, every_page, home_of, show, show_all
from shared.proto.ricord.v1 import site_pb2 as pb
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.terminal import make_app
from shared.wire import UNARY_SECONDS

site = make_app("Hospitals: invited, enrolled, revoked.")

_COLUMNS = ("name", "site_id", "state", "fingerprint", "enrolled_at", "certificate_ends_at")


@site.command("list")
def list_sites(context: typer.Context, as_json: AsJson = False) -> None:
    """Every hospital and where it stands."""
    with operator_channel(home_of(context)) as channel:
        answer = every_page(SiteServiceStub(channel).ListSites, pb.ListSitesRequest())
    show_all("Sites", answer.sites, _COLUMNS, as_json=as_json)


@site.command("show")
def show_site(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="A site's name or SITEID, or a beginning.")],
    as_json: AsJson = False,
) -> None:
    """One hospital."""
    with operator_channel(home_of(context)) as channel:
        answer = SiteServiceStub(channel).GetSite(pb.GetSiteRequest(reference=reference), timeout=UNARY_SECONDS)
    show(answer.site, as_json=as_json)


@site.command()
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A site's name or SITEID, or a beginning; or a person's name.")],
    role: Annotated[str, typer.Option(help="site, curator or researcher.")] = "site",
    as_json: AsJson = False,
) -> None:
    """Refuse every certificate and token of a member from now on; a new join token lets it in again."""
    with operator_channel(home_of(context)) as channel:
        request = pb.RevokeCertificatesRequest(role=role, name=name)
        answer = SiteServiceStub(channel).RevokeCertificates(request, timeout=UNARY_SECONDS)
    show(answer, as_json=as_json)
