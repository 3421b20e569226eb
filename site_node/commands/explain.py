"""`explain`: show what the program does with each attribute."""

from pathlib import Path
from typing import Annotated

import typer
from pydicom.dataset import Dataset

from shared.protocol.loader import load_profile, load_protocol
from shared.terminal import print_line, print_table
from site_node.commands.options import node_of
from site_node.commands.reason_table import print_reasons
from site_node.explain.protocol import explain_profile, what_leaves
from site_node.node.standing import changes_here
from site_node.reasons import catalogue
from site_node.standalone.preview import before_and_after

_MAX_SHOWN = 60  # characters of a value


def explain(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="One DICOM file, to be shown before and after.")] = None,
    *,
    profile: Annotated[
        str, typer.Option(help="The de-identification profile: ricord, ricord-2020 or tcia.")
    ] = "ricord",
    leaves: Annotated[bool, typer.Option("--what-leaves", help="Say in a few lines exactly what leaves.")] = False,
    protocol: Annotated[str, typer.Option(help="The protocol, for --what-leaves.")] = "ricord",
    changed: Annotated[
        bool, typer.Option("--changes", help="Say what the protocol installed changes of the one before.")
    ] = False,
    reasons: Annotated[bool, typer.Option(help="Say what each reason code means, and what you can do.")] = False,
) -> None:
    """Say what happens to each attribute of an image, and why; or, for one file, show it before and after.

    With --changes: what the edition of the protocol that is installed changes of the one that the agreement names, or,
    where this home never had that, of the one before; and whether the agreement covers it.

    With --reasons: what each reason code means by which a study, file or request does not go on, and what you can do.

    With FILE the screen shows the patient's own data: use it on the hospital's terminal only. Nothing is kept.

    Example: `ricord-site explain --what-leaves`
    """
    if leaves:
        print_line(what_leaves(load_protocol(protocol)).rstrip())
    elif changed:
        with node_of(context, writing=False) as node:
            for line in changes_here(node):
                print_line(line)
    elif reasons:
        print_reasons("Why something does not go on", catalogue())
    elif file is None:
        for line in explain_profile(load_profile(profile)):
            print_line(line)
    else:
        before, after = before_and_after(file, load_profile(profile))
        print_table("Before and after; PHI", ["Tag", "Attribute", "Before", "After"], _rows(before, after))


def _rows(before: Dataset, after: Dataset) -> list[tuple[str, str, str, str]]:
    tags = sorted({*before.keys(), *after.keys()})
    return [(str(tag), _name(tag, before, after), _shown(before, tag), _shown(after, tag)) for tag in tags]


def _name(tag: int, before: Dataset, after: Dataset) -> str:
    return str((before[tag] if tag in before else after[tag]).name)


def _shown(dataset: Dataset, tag: int) -> str:
    if tag not in dataset:
        return ""
    element = dataset[tag]
    text = f"{len(element.value)} items" if element.VR == "SQ" else str(element.value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
