"""The stage: a de-identified study passes when no frame that may show text shows any but markers."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from shared.durable import write_whole
from shared.errors.base import RicordError
from shared.errors.studies import PixelsUnreadable
from site_node.blanking import BURNED_IN_TEXT, FINDINGS_FILE, SAID_TO_BE_BURNED_IN, FrameWithText, Sides, TextFindings
from site_node.pixels.box import Box
from site_node.pixels.frame import Stack
from site_node.pixels.frames import CT, choose_stacks
from site_node.reasons import reason_for
from site_node.study import Deidentified, DeidentifiedInstance, Ending, LeftOut, Reason, Refused

TEXT, UNREADABLE, UNCHECKED = BURNED_IN_TEXT, "pixels-not-readable", "pixels-not-checked"
WITHOUT = (
    "The pixel check is off: names and numbers burned into pixels are not looked for, no later step looks for them, "
    "and where a picture shows one it leaves with the picture."
)


class Checker(Protocol):
    """Finds text in frames, and draws those that have or declare text."""

    def check(self, stack: Stack, pictures: Sequence[Path] = ()) -> Sequence[tuple[Box, ...] | RicordError]:
        """For each frame, boxes around text that is not a marker, or `PixelsUnreadable` or `PixelCheckFailed`."""


def inspect(
    study: Deidentified, released: frozenset[str], *, checker: Checker, pictures: Path | None
) -> Refused | None:
    """Look for burned-in text; `None` where the study may go on.

    Args:
        study: what was written under the new identifiers.
        released: reason codes that a person lets pass.
        checker: finds text in a frame.
        pictures: the quarantine folder. Frames with text are drawn to `<study key>/<number>.png` in it, for the person
            in review, and the boxes are written beside them; those of a previous run are removed. `None`: no pictures.

    Raises:
        PixelCheckUnavailable: no frame can be searched; the node must not go on.
    """
    folder = pictures / study.key if pictures else None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    if {TEXT, SAID_TO_BE_BURNED_IN, UNREADABLE, UNCHECKED} <= released:
        return None
    reasons = tuple(reason for reason in _search(study, checker, folder) if reason.code not in released)
    return Refused(key=study.key, ending=Ending.QUARANTINED, reasons=reasons) if reasons else None


def inspect_apart(study: Deidentified, checker: Checker) -> Deidentified | Refused:
    """Leave out what shows text, where no person will look: a CT series as a whole, any other file by itself.

    Slices of a CT series are one picture, so that text on a slice counts against the series. New files that are
    left out are removed. Raises `PixelCheckUnavailable`.
    """
    groups: dict[str, list[DeidentifiedInstance]] = {}
    for instance in study.instances:
        is_ct = instance.source.sop_class_uid == CT
        groups.setdefault(instance.series_instance_uid if is_ct else instance.sop_instance_uid, []).append(instance)
    passing: list[DeidentifiedInstance] = []
    left_out: list[LeftOut] = []
    reasons: tuple[Reason, ...] = ()
    for group in groups.values():
        part = study.model_copy(update={"instances": tuple(group)})
        refused = inspect(part, frozenset(), checker=checker, pictures=None)
        if refused is None:
            passing += group
        else:
            reasons = tuple(dict.fromkeys((*reasons, *refused.reasons)))
            ending = refused.ending
            left_out += [LeftOut(instance=file.source, ending=ending, reasons=refused.reasons) for file in group]
            for file in group:
                file.path.unlink()
    if not passing:
        return Refused(key=study.key, ending=Ending.QUARANTINED, reasons=reasons, left_out=tuple(left_out))
    return study.model_copy(update={"instances": tuple(passing), "left_out": (*study.left_out, *left_out)})


def _search(study: Deidentified, checker: Checker, folder: Path | None) -> tuple[Reason, ...]:
    """Every reason against the study, each code once."""
    codes: set[str] = set()
    box_count, with_text, count, drawn = 0, 0, 0, list[FrameWithText]()
    names = {instance.path: instance.sop_instance_uid for instance in study.instances}
    try:
        stacks = choose_stacks(instance.path for instance in study.instances)
    except PixelsUnreadable:
        return (reason_for(UNREADABLE, attribute="PixelData"),)
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stack in stacks:
        files = [folder / f"{count + place}.png" for place in range(len(stack.frames))] if folder is not None else ()
        for frame, boxes in zip(stack.frames, checker.check(stack, files), strict=True):
            if isinstance(boxes, RicordError):
                codes.add(UNREADABLE if isinstance(boxes, PixelsUnreadable) else UNCHECKED)
            elif boxes or frame.declares_text:
                codes |= {SAID_TO_BE_BURNED_IN} if frame.declares_text else set()
                box_count, with_text = box_count + len(boxes), with_text + bool(boxes)
                sides, name = tuple(Sides(*box) for box in boxes), names[frame.path]
                drawn.append(FrameWithText(picture=f"{count}.png", instance=name, frame=frame.number, boxes=sides))
            count += 1
    if folder is not None:
        _write_boxes(folder, drawn)
    text = reason_for(TEXT, attribute="PixelData")
    counts = f"{box_count} pieces in {with_text} of the {count} frames."
    return (
        *((text.model_copy(update={"message": f"{text.message} {counts}"}),) if box_count else ()),
        *(reason_for(code, attribute="PixelData") for code in sorted(codes)),
    )


def _write_boxes(folder: Path, drawn: list[FrameWithText]) -> None:
    """Write the boxes beside their pictures; without pictures, remove the folder."""
    if drawn:
        write_whole(folder / FINDINGS_FILE, TextFindings(frames=tuple(drawn)).model_dump_json().encode(), mode=0o600)
    else:
        shutil.rmtree(folder, ignore_errors=True)
