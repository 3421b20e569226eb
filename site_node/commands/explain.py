"""`explain`: the program says what it does."""

import os
import tempfile
import warnings
from pathlib import Path
from typing import Annotated

import pydicom
import typer
from pydicom.dataset import Dataset

from shared.errors import InvalidArgument
from shared.protocol.loader import load_profile, load_protocol
from shared.protocol.profile import Profile
from shared.terminal import print_line, print_table
from site_node.deidentify.study import deidentify
from site_node.explain import explain_profile, what_leaves
from site_node.node.composition import NOT_ENROLLED
from site_node.pseudonyms.keyed import SECRET_BYTES, Pseudonyms
from site_node.standalone.screening import received
from site_node.study import Included, Refused

_SHOWN = 60  # characters of a value


def explain(
    file: Annotated[Path | None, typer.Argument(help="One DICOM file, to be shown before and after.")] = None,
    profile: Annotated[
        str, typer.Option(help="The de-identification profile: ricord, ricord-2020 or tcia.")
    ] = "ricord",
    leaves: Annotated[bool, typer.Option("--what-leaves", help="Say in a few lines exactly what leaves.")] = False,
    protocol: Annotated[str, typer.Option(help="The protocol, for --what-leaves.")] = "ricord",
) -> None:
    """Say what happens to each attribute of an image, and why; or, for one file, show it before and after.

    With FILE the screen shows the patient's own data: use it on the hospital's terminal only. Nothing is kept.

    Example: `ricord-site explain --what-leaves`
    """
    if leaves:
        print_line(what_leaves(load_protocol(protocol)).rstrip())
    elif file is None:
        for line in explain_profile(load_profile(profile)):
            print_line(line)
    else:
        before, after = _both(file, load_profile(profile))
        print_table("Before and after; PHI", ["Tag", "Attribute", "Before", "After"], _rows(before, after))


def _both(file: Path, profile: Profile) -> tuple[Dataset, Dataset]:
    """The file as it is and as it would leave, under a secret of the moment."""
    pseudonyms = Pseudonyms(os.urandom(SECRET_BYTES), NOT_ENROLLED)
    with received(file, pseudonyms) as reception, tempfile.TemporaryDirectory(prefix="ricord-") as folder:
        if not reception.studies:
            raise InvalidArgument(name="FILE", problem=reception.refused[0].reason.message.rstrip("."))
        study = reception.studies[0]
        included = Included(study=study, kept=study.instances, left_out=(), warnings=())
        made = deidentify(included, profile=profile, pseudonyms=pseudonyms, out=Path(folder) / "out")
        if isinstance(made, Refused):
            raise InvalidArgument(name="FILE", problem=made.reasons[0].message.rstrip("."))
        return _read(study.instances[0].path), _read(made.instances[0].path)


def _read(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        dataset.decode()
    return dataset


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
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
