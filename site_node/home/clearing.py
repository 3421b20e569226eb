"""What was withdrawn leaves the library: studies, those of patients or of the site, and single images."""

from collections.abc import Sequence
from pathlib import Path

from shared.counts import counted
from shared.durable import recover_folder
from shared.errors.inputs import NotFound
from shared.ids import Uid
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.library import add_study, load_study, remove_decoded, remove_study
from site_node.home.withdrawals import Level, Withdrawn
from site_node.home.words import NO_STUDY


def clear_library(home: SiteHome, ledger: Ledger) -> None:
    """Remove from the library, and from what was decoded of it, what was withdrawn since; a kill leaves it to the next.

    Raises `OSError` for what cannot be removed.
    """
    withdrawn = ledger.withdrawals.in_library()
    if not withdrawn:
        return
    # a kill may have left a study under the name only that it has while it is replaced
    names = {folder.name.removeprefix(".").removesuffix(".earlier") for folder in home.library.glob("*")}
    for name in names:
        if not name.endswith(".unfinished"):
            _clear(home, home.library / name, withdrawn)
    remove_decoded(home.library)  # also where the call that removed the study was killed before it came here
    with ledger.changing():
        ledger.withdrawals.cleared(withdrawn)
        ledger.audit("ricord-site", "library-clear", NO_STUDY, f"of {counted(len(withdrawn), 'withdrawal')}")


def _clear(home: SiteHome, folder: Path, withdrawn: Sequence[Withdrawn]) -> None:
    """Remove a study, or its images, that were withdrawn."""
    recover_folder(folder)
    names = {level: {each.name for each in withdrawn if each.level is level} for level in Level}
    patients, study = names[Level.PATIENT], Uid(folder.name)
    if names[Level.SITE] or study in names[Level.STUDY] or (patients and _patient(folder) in {"", *patients}):
        remove_study(home.library, study)
    elif (instances := {each.name for each in withdrawn if each.study == study}) and folder.exists():
        if rest := load_study(folder).without(instances):
            with home.changing():
                add_study(home.library, rest, {each.file: folder / each.file for each in rest.instances})
        else:
            remove_study(home.library, study)


def _patient(folder: Path) -> str:
    """Whose study it is; empty where its record cannot be read, so that no result can be computed with it."""
    try:
        return load_study(folder).patient
    except NotFound:
        return ""
