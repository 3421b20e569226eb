"""`console`: the same in a browser."""

from typing import Annotated

import typer

from coordinator.home.signals import stop_signals
from coordinator.research.commands.options import home_of
from shared.extras import require_extra
from shared.terminal import print_line
from shared.web.settings import ConsoleSettings

_PACKAGES = ("jinja2", "python_multipart", "starlette", "uvicorn")


def console(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Where it listens, on this machine alone.")] = 8422,
) -> None:
    """Show runs, curves and plans at pages until Ctrl-C: prints a link that opens them once, in one browser."""
    require_extra("console", *_PACKAGES)
    from coordinator.research.console.served import console_served

    with stop_signals() as stop, console_served(home_of(context), ConsoleSettings(port=port)) as link:
        print_line(f"ready: {link}")
        stop.wait()
