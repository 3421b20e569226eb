"""Where outputs lie: `<patient>/<study>/<series>/<instance>.dcm`, new identifiers only."""

from contextlib import suppress
from pathlib import Path

from shared.durable import move, sync_folder
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Instance, Received


def output_name(study: Received, instance: Instance, pseudonyms: Pseudonyms) -> str | None:
    """An output's name below the output folder; `None` where the study names no patient."""
    if study.identity is None:
        return None
    uids = (study.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
    new_study, series, name = map(pseudonyms.uid, uids)
    return f"{pseudonyms.patient(study.identity)}/{new_study}/{series}/{name}.dcm"


def publish(outputs: dict[str, Path], out: Path) -> None:
    """Move finished files to their names below `out`; they replace those of a previous run.

    Raises `DiskFull`, `OSError`.
    """
    series = {name.rpartition("/")[0] for name in outputs}
    for name in series:
        (out / name).mkdir(parents=True, exist_ok=True)
    for name, path in outputs.items():
        move(path, out / name)
    for folder in {out / folder for name in series for folder in (name, *map(str, Path(name).parents))}:
        sync_folder(folder)


def remove_output(name: str, out: Path) -> None:
    """Remove an output of a previous run, and the folders that become empty."""
    (out / name).unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or not there
        for folder in list((out / name).parents)[:3]:
            folder.rmdir()
