"""The stage: a de-identified study passes when no frame that may show text shows any but markers."""

import shutil
from pathlib import Path
from typing import Protocol

from shared.durable import write_whole
from shared.errors import PixelCheckFailed, PixelsUnreadable
from site_node.blanking import BURNED_IN_TEXT, FOUND_FILE, SAID_TO_BE_BURNED_IN, Found, FoundFrame, Sides
from site_node.pixels.box import Box
from site_node.pixels.frames import Frame, choose_frames
from site_node.study import Deidentified, Ending, Reason, Refused, Severity

TEXT, UNREADABLE, UNCHECKED = BURNED_IN_TEXT, "pixels-not-readable", "pixels-not-checked"
WITHOUT = (
    "The pixel check is off: names and numbers burned into pixels are not looked for, no later step looks for them, "
    "and where a picture shows one it leaves with the picture."
)
_SENTENCES = {
    SAID_TO_BE_BURNED_IN: "BurnedInAnnotation says that the pixels hold text.",
    UNREADABLE: "A frame cannot be decoded, so nobody has seen what it shows.",
    UNCHECKED: "The search for burned-in text ended without an answer.",
}


class Checker(Protocol):
    """What finds text in one frame and draws it, as it does a frame that is said to show some."""

    def check(self, frame: Frame, picture: Path | None = None) -> tuple[Box, ...]:
        """Boxes around text that is no marker; raises `PixelsUnreadable`, `PixelCheckFailed`."""


def inspect(
    study: Deidentified, released: frozenset[str], *, checker: Checker, pictures: Path | None
) -> Refused | None:
    """Look for burned-in text; `None` where the study may go on.

    Args:
        study: what was written under the new identifiers.
        released: reason codes that a person has looked at and lets pass.
        checker: finds text in a frame.
        pictures: the quarantine folder. Frames with text are drawn to `<study key>/<number>.png` in it, for the person
            in review, and the boxes are written beside them; earlier ones are removed. `None`: no pictures.

    Raises:
        PixelCheckUnavailable: nothing can be looked for; the node must not go on.
    """
    folder = pictures / study.key if pictures else None
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    if {TEXT, SAID_TO_BE_BURNED_IN, UNREADABLE, UNCHECKED} <= released:
        return None
    reasons = tuple(reason for reason in _look(study, checker, folder) if reason.code not in released)
    return Refused(key=study.key, ending=Ending.QUARANTINED, reasons=reasons) if reasons else None


def _look(study: Deidentified, checker: Checker, folder: Path | None) -> tuple[Reason, ...]:
    """Every reason there is against the study, each code once."""
    codes: set[str] = set()
    boxes, with_text, shown = 0, 0, list[FoundFrame]()
    names = {instance.path: instance.sop_instance_uid for instance in study.instances}
    try:
        frames = choose_frames(instance.path for instance in study.instances)
    except PixelsUnreadable:
        return (_reason(UNREADABLE, _SENTENCES[UNREADABLE]),)
    for number, frame in enumerate(frames):
        try:
            found = checker.check(frame, _file(folder, number))
        except PixelsUnreadable:
            codes.add(UNREADABLE)
        except PixelCheckFailed:
            codes.add(UNCHECKED)
        else:
            boxes += len(found)
            with_text += bool(found)
            if frame.said:
                codes.add(SAID_TO_BE_BURNED_IN)
            if found or frame.said:
                sides = tuple(Sides(*box) for box in found)
                name = names[frame.path]
                shown.append(FoundFrame(picture=f"{number}.png", instance=name, frame=frame.number, boxes=sides))
    if folder is not None:
        _keep(folder, shown)
    seen = f"in {with_text} of {len(frames)} frames that were looked at."
    text = f"{boxes} pieces of text that are no known marker, {seen}"
    return (
        *((_reason(TEXT, text),) if boxes else ()),
        *(_reason(code, _SENTENCES[code]) for code in sorted(codes)),
    )


def _keep(folder: Path, shown: list[FoundFrame]) -> None:
    """Write the boxes beside their pictures; without any, no folder stays."""
    if shown:
        write_whole(folder / FOUND_FILE, Found(frames=tuple(shown)).model_dump_json().encode(), mode=0o600)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _file(folder: Path | None, number: int) -> Path | None:
    """Where a frame's picture goes, in a folder that only its owner can enter."""
    if folder is None:
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{number}.png"


def _reason(code: str, message: str) -> Reason:
    return Reason(code=code, message=message, severity=Severity.REVIEW, attribute="PixelData")
