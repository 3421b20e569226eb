"""`console`: serve the centre's pages, and say who may see them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.home_folder import folder_of
from coordinator.commands.output import AsJson
from coordinator.console.centre import centre_of
from coordinator.console.roles import Role
from coordinator.home.signals import stop_signals
from coordinator.operator.observer import ObserverHome, ObserverSettings
from shared.errors.inputs import InvalidArgument
from shared.extras import require_extra
from shared.terminal import make_app, print_json, print_line, print_table
from shared.web.people import People
from shared.web.store import Store

console = make_app(
    """Serve the centre's pages to operators and observers; its verbs say who may see them.

    They speak to a running coordinator as the other verbs do, with the certificate of this home: an operator's, or that
    of an observer, which can change nothing.
    """
)
PACKAGES = ("jinja2", "python_multipart", "starlette", "uvicorn")

Name = Annotated[str, typer.Option(help="The person's name, as the audit then shows it.")]


@console.callback(invoke_without_command=True, no_args_is_help=False)
def serve(context: typer.Context) -> None:
    """Serve the pages until Ctrl-C or SIGTERM where no verb is named."""
    if context.invoked_subcommand is not None:
        return
    centre = centre_of(folder_of(context))
    require_extra("console", *PACKAGES)
    from coordinator.console.served import console_served

    with stop_signals() as stop, console_served(centre):
        print_line(f"ready: {centre.settings.address}")
        stop.wait()


@console.command()
def enrol(
    context: typer.Context,
    token: Annotated[str, typer.Option(help="The join token from the coordinators (`token observer`).")],
    key_passphrase_file: Annotated[
        Path | None, typer.Option(help="The file with the passphrase under which the keys are kept.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make this home an observer's, who sees what operators see; with a new token again, for a new certificate."""
    home = ObserverHome(folder_of(context))
    settings = ObserverSettings(key_passphrase_file=key_passphrase_file.resolve() if key_passphrase_file else None)
    membership = home.join(token, settings, check=lambda _: None)
    if as_json:
        print_json({"name": membership.name, "federation": membership.federation})
    else:
        print_line(f"Observer {membership.name} of {membership.federation}. Next: `console invite`, then `console`.")


@console.command()
def invite(
    context: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="viewer: sees everything; operator: decides, too.")],
    as_json: AsJson = False,
) -> None:
    """Invite a person; the link works once, for three days, and is shown now only."""
    centre = centre_of(folder_of(context))
    if role is Role.OPERATOR and not centre.is_operators:
        raise InvalidArgument(name="--role", problem="this home is an observer's, in which nobody decides")
    with _people(context) as people:
        link = f"{centre.settings.address}/invitation/{people.invite(name, role)}"
    if as_json:
        print_json({"link": link})
    else:
        print_line(link)


@console.command(name="list")
def list_people(context: typer.Context, as_json: AsJson = False) -> None:
    """List who may sign in, and who has not used their link yet."""
    with _people(context) as people:
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
    """Remove a person: their link and their sessions end at once, what they decided stays."""
    with _people(context) as people:
        people.remove(name)
    print_line("The person is removed.")


@contextmanager
def _people(context: typer.Context) -> Iterator[People]:
    with closing(Store(centre_of(folder_of(context)).people)) as store:
        yield People(store)
