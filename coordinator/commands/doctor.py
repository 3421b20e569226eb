"""`doctor`: examine the coordinator, part by part."""

from datetime import UTC, datetime

import typer

from coordinator.commands.output import AsJson, home_of
from coordinator.service.doctor import examine
from shared.terminal import show_examination


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Examine settings, keys, certificates, database, audit, clock, sealed studies, ports, federated runs; a line each.

    Nothing is changed, and `serve` may run or not. Exit code 1: a part has a problem; its line says what to do.
    """
    show_examination(examine(home_of(context), datetime.now(UTC)), as_json=as_json)
