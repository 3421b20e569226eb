"""`pacs send`: send de-identified studies to a research PACS of the hospital."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from shared.durable import write_whole
from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument, NoDicomFound
from shared.errors.settings import InvalidSetting
from shared.terminal import print_json, print_line
from site_node.commands.options import Json, node_of
from site_node.network.store_scu import SendReport, failures, list_files, report_of
from site_node.network.store_scu import send as send_files
from site_node.network.tls import client_context
from site_node.reasons import explanation_of
from site_node.settings.dimse import SendSettings
from site_node.settings.site import SETTINGS_FILE


def send(
    context: typer.Context,
    sources: Annotated[list[Path], typer.Argument(help="Folders or files; only DICOM files in them are sent.")],
    *,
    to: Annotated[str, typer.Option(help="host:port, instead of `[send]` in the settings; without TLS.")] = "",
    ae: Annotated[str, typer.Option(help="With --to: the AE title of that PACS.")] = "",
    calling: Annotated[str, typer.Option(help="With --to: our AE title.")] = "RICORD",
    failed: Annotated[Path | None, typer.Option(help="Write the failed files here: a code, a tab, a path.")] = None,
    as_json: Json = False,
) -> None:
    """Send files to a PACS of the hospital (C-STORE), such as a research PACS; it is not for sending to the centre.

    It sends what you name exactly as it is, and changes nothing: what is not de-identified arrives with its patient
    data, so name de-identified files, or a PACS that may hold originals. `[send]` in the settings has mutual TLS.
    Exit code 3: some files failed; the command may be repeated, since a PACS knows an instance that comes twice.

    Example: `ricord-site pacs send library/ --to research-pacs:11112 --ae RESEARCH`
    """
    settings, home = (_from_options(to, ae, calling), Path()) if to or ae else _from_settings(context)
    tls = client_context(settings.tls, home) if settings.tls else None
    listed = list_files(sources)
    if not listed.files and not listed.unreadable:
        raise NoDicomFound(source=", ".join(map(str, sources)))
    results = send_files(listed.files, settings, tls)
    if failed is not None:
        lines = (f"{code}\t{path}\n" for path, code in failures(listed, results).items())
        write_whole(failed, "".join(lines).encode(), mode=0o600)
    _show(report_of(listed, results), settings.peer, as_json=as_json)


def _show(report: SendReport, peer: str, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        print_line(f"{report.sent} of {report.files} DICOM files sent to {peer}, {report.failed} failed.")
        for code, count in report.reasons.items():
            print_line(f"{count} failed ({code}): {explanation_of(code)}")
        if report.others:
            print_line(f"{report.others} others left alone: no DICOM files, archives or links.")
    if report.failed:
        raise typer.Exit(ExitCode.PARTIAL)


def _from_options(to: str, ae: str, calling: str) -> SendSettings:
    """The settings that the options give; raises `InvalidArgument`."""
    host, _, port = to.rpartition(":")
    try:
        return SendSettings.model_validate({"host": host, "port": port, "ae_title": ae, "calling": calling})
    except ValidationError:
        raise InvalidArgument(
            name="--to", problem="write --to host:port --ae TITLE; a title has at most 16 characters"
        ) from None


def _from_settings(context: typer.Context) -> tuple[SendSettings, Path]:
    """The section `[send]` and the home's folder; raises `InvalidSetting`."""
    with node_of(context, writing=False) as node:
        settings, folder = node.settings.send, node.home.folder
    if settings is None:
        raise InvalidSetting(
            file=str(folder / SETTINGS_FILE),
            line="1",
            key="send",
            problem="it is not there; add it, or give --to and --ae",
        )
    return settings, folder
