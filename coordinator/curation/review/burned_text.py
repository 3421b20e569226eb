"""Text in pixels: the site's search, once more over every frame that was opened."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.verdict import CheckResult, Verdict
from shared.errors.base import RicordError
from shared.errors.settings import PixelCheckUnavailable
from shared.errors.studies import PixelsUnreadable
from shared.ids import Uid
from site_node.pixels.box import Box
from site_node.pixels.client import PixelChecker
from site_node.pixels.frame import Stack
from site_node.pixels.frames import choose_stacks

_REASONS = {
    "burned-in-text": "Pixels show text that is no marker.",
    "said-to-be-burned-in": "The header says that text is burned into the pixels.",
    "pixels-not-readable": "Pixels cannot be decoded, so no text was looked for.",
    "pixels-not-checked": "The search for text in pixels did not end.",
}
_result = partial(CheckResult, check="burned-text", verdict=Verdict.REVIEW)


def check_burned_text(study: OpenedStudy, checker: PixelChecker) -> Iterator[CheckResult]:
    """Each frame that shows or declares text, or of which nobody knows; a person looks at each."""
    instances = dict[str, list[Uid]]()
    for code, uid in _codes(study, checker):
        instances.setdefault(code, []).append(uid)
    for code, uids in instances.items():
        yield _result(code=code, reason=_REASONS[code], instances=tuple(dict.fromkeys(uids)))


def _codes(study: OpenedStudy, checker: PixelChecker) -> Iterator[tuple[str, Uid]]:
    readable = [path for path in study.instances if _has_matrix(path)]
    yield from (("pixels-not-readable", Uid(path.stem)) for path in study.instances if path not in readable)
    for stack in choose_stacks(readable):
        for frame, boxes in zip(stack.frames, _answers(checker, stack), strict=True):
            uid = Uid(frame.path.stem)
            if isinstance(boxes, RicordError):
                yield "pixels-not-readable" if isinstance(boxes, PixelsUnreadable) else "pixels-not-checked", uid
            elif boxes:
                yield "burned-in-text", uid
            if frame.declares_text:
                yield "said-to-be-burned-in", uid


def _answers(checker: PixelChecker, stack: Stack) -> Sequence[tuple[Box, ...] | RicordError]:
    """What the search says of each frame; where it cannot be started on this machine, that."""
    try:
        return checker.check(stack)
    except PixelCheckUnavailable as error:
        return [error] * len(stack.frames)


def _has_matrix(path: Path) -> bool:
    try:
        return bool(choose_stacks([path]))
    except PixelsUnreadable:
        return False
