"""`doctor`: examine the node, part by part."""

from datetime import UTC, datetime

import typer

from shared.terminal import show_examination
from site_node.commands.options import Json, home_of
from site_node.node.doctor import examine


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Examine settings, keys, clock, disk, OCR, PACS, certificate, coordinator, agreement and sending; a line each.

    Nothing is changed, but a certificate that is due is renewed. The PACS and the coordinator are asked whether they
    answer; no patient data is sent.

    Exit code 1: a part has a problem; its line says what to do. Example: `ricord-site doctor`
    """
    show_examination(examine(home_of(context), datetime.now(UTC)), as_json=as_json)
