"""`doctor`: examine the node, part by part."""

from datetime import UTC, datetime

import typer

from shared.errors import ExitCode
from shared.terminal import print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.node.doctor import Health, examine


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Examine settings, keys, clock, disk, OCR, PACS, certificate, coordinator and agreement; a line each.

    Nothing is changed, but a certificate that is due is renewed. The PACS and the coordinator are asked whether they
    answer; no patient data is sent.

    Exit code 1: a part has a problem; its line says what to do. Example: `ricord-site doctor`
    """
    parts = []
    for part in examine(home_of(context), datetime.now(UTC)):
        parts.append(part)
        if not as_json:
            print_line(f"{part.health:<8} {part.part}: {part.sentence}")
    if as_json:
        print_json(parts)
    if any(part.health is Health.PROBLEM for part in parts):
        raise typer.Exit(ExitCode.FAILED)
