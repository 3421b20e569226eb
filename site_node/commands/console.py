"""`console`: serve the site's pages, and say who may see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from shared.extras import require_extra
from shared.terminal import make_app, print_json, print_line, print_table
from shared.web.settings import ConsoleSettings
from site_node.commands.options import Json, home_of
from site_node.console.people import people_of
from site_node.console.roles import Role
from site_node.home.folder import SiteHome
from site_node.node.service import until_signal

console = make_app(
    """Serve the site's pages to people of the hospital; its verbs say who may see them.

    With `[console]` in the settings `ricord-site run` serves them, too. What leaves the hospital by them is what the
    commands send.

    Example: `ricord-site console`
    """
)
PACKAGES = ("jinja2", "python_multipart", "starlette", "uvicorn")

Name = Annotated[str, typer.Option(help="The person's name, as the audit then shows it.")]


@console.callback(invoke_without_command=True, no_args_is_help=False)
def serve(context: typer.Context) -> None:
    """Serve the pages until Ctrl-C or SIGTERM where no verb is named."""
    if context.invoked_subcommand is not None:
        return
    home = home_of(context)
    settings = _settings(home)
    with until_signal() as stop, served(home, settings):
        print_line(f"ready: {settings.address}")
        stop.wait()


@console.command()
def invite(
    context: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="viewer: counts; reviewer: images too; signatory: agreement and plans.")],
    as_json: Json = False,
) -> None:
    """Invite a person; the link works once, for three days, and is shown now only.

    Example: `ricord-site console invite --name "Dr. A. Miller" --role reviewer`
    """
    home = home_of(context)
    settings = _settings(home)
    with people_of(home) as people:
        link = f"{settings.address}/invitation/{people.invite(name, role)}"
    if as_json:
        print_json({"link": link})
    else:
        print_line(link)


@console.command(name="list")
def listpeople_of(context: typer.Context, as_json: Json = False) -> None:
    """List who may sign in, and who has not used their link yet.

    Example: `ricord-site console list`
    """
    with people_of(home_of(context)) as people:
        everybody = people.all()
    if as_json:
        print_json([person.model_dump(mode="json", exclude={"number"}) for person in everybody])
        return
    rows = [
        (each.name, each.role, "joined" if each.has_joined else "invited", f"{each.since.astimezone():%Y-%m-%d %H:%M}")
        for each in everybody
    ]
    print_table("People of the console", ["Name", "Role", "", "Since"], rows)


@console.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove a person: their link and their sessions end at once, what they decided stays.

    Example: `ricord-site console remove --name "Dr. A. Miller"`
    """
    with people_of(home_of(context)) as people:
        people.remove(name)
    print_line("The person is removed.")


@contextmanager
def served(home: SiteHome, settings: ConsoleSettings) -> Iterator[None]:
    """Serve the pages while the block runs; raises `ExtraMissing`, and what `console_served` raises."""
    require_extra("console", *PACKAGES)
    from site_node.console.site import console_served

    with console_served(home, settings):
        yield


def _settings(home: SiteHome) -> ConsoleSettings:
    return home.load().console or ConsoleSettings()
