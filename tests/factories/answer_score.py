"""How well a profile meets the answer key: the share of its expectations that hold, and which do not.

As in MIDI-B, an image that does not come out keeps nothing: what must go is then gone, what must stay is missing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from shared.protocol.profile import Profile
from site_node.blanking import BlankBox, Blanking
from site_node.deidentify.study import deidentify
from site_node.study import Deidentified
from tests.factories.answer_key import SIZE, Action, Expectation, KeyedImage, KeyedStudy
from tests.factories.deidentified import PSEUDONYMS
from tests.factories.planted import is_left, words_of
from tests.factories.studies import make_included, make_received

_HIDING = frozenset({Action.TEXT_REMOVED, Action.DATE_SHIFTED, Action.UID_CHANGED})  # holds where there is no image
_ABSENT = _HIDING | {Action.UID_CONSISTENT, Action.PATIENT_CONSISTENT}  # holds where there is no element


@dataclass
class Score:
    """What was expected of one profile, and what of it did not hold, by type of action and attribute."""

    expected: Counter[Action] = field(default_factory=Counter)
    failed: Counter[tuple[Action, str]] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """The share of the expectations that hold."""
        return 1 - self.failed.total() / self.expected.total()

    def table(self) -> str:
        """The failures, most frequent first, a line each: how many, type of action, attribute."""
        lines = [f"{count:5} {action:16} {attribute}" for (action, attribute), count in self.failed.most_common()]
        return "\n".join([f"{self.share:.2%} of {self.expected.total()}", *lines])


def score(studies: Sequence[KeyedStudy], profile: Profile, folder: Path) -> Score:
    """De-identify the set, boxes with text blanked as by a person, and judge every image by its key."""
    total, mapped = Score(), Mapped()
    for number, study in enumerate(studies):
        outputs = _outputs(study, profile, folder / str(number))
        for image in study.images:
            new = outputs.get(str(image.dataset.SOPInstanceUID))
            for expectation in image.key:
                total.expected[expectation.action] += 1
                if not holds(expectation, image, new, mapped):
                    total.failed[expectation.action, expectation.attribute] += 1
    return total


def _outputs(study: KeyedStudy, profile: Profile, folder: Path) -> Mapping[str, Dataset]:
    """The new images of a study by their old SOP Instance UIDs."""
    boxes = tuple(
        BlankBox(instance=PSEUDONYMS.uid(str(image.dataset.SOPInstanceUID)), frame=0, **image.burned_in._asdict())
        for image in study.images
        if image.burned_in
    )
    result = deidentify(
        make_included(make_received(folder / "spool", [image.dataset for image in study.images], study.syntax)),
        profile=profile,
        pseudonyms=PSEUDONYMS,
        out=folder / "out",
        blank=Blanking(boxes=boxes) if boxes else None,
    )
    instances = result.instances if isinstance(result, Deidentified) else ()
    return {instance.source.sop_instance_uid: pydicom.dcmread(instance.path) for instance in instances}


class Mapped:
    """What identifiers have become so far: always the same, and no two alike."""

    def __init__(self) -> None:
        self._new: dict[str, str] = {}
        self._old: dict[str, str] = {}

    def agrees(self, old: str, new: str) -> bool:
        """Whether `old` became `new` wherever it stood, and nothing else did."""
        return self._new.setdefault(old, new) == new and self._old.setdefault(new, old) == old


def holds(expectation: Expectation, image: KeyedImage, new: Dataset | None, mapped: Mapped) -> bool:
    """Whether what the key expects became of an image; `new` is None where it did not come out."""
    action = expectation.action
    if new is None:
        return action in _HIDING
    if action in {Action.PIXELS_HIDDEN, Action.PIXELS_RETAINED}:
        return _pixels_hold(action, image, new)
    element = _element_at(new, expectation.path)
    if element is None:
        return action in _ABSENT
    text = "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)
    match action:
        case Action.TAG_RETAINED:
            held = True
        case Action.TEXT_NOT_NULL:
            held = text != ""
        case Action.TEXT_RETAINED:
            held = expectation.text == text or expectation.text.casefold() in words_of(text)
        case Action.TEXT_REMOVED:
            held = not is_left(expectation.text, text)
        case Action.DATE_SHIFTED:
            held = text in {"", _shifted(expectation.text, image.dataset, new)}
        case Action.UID_CHANGED:
            held = text != expectation.text
        case _:
            held = text == "" or mapped.agrees(expectation.text, text)
    return held


def _element_at(dataset: Dataset, path: Sequence[int]) -> DataElement | None:
    """The element at a path of tags and numbers of items; None where it is missing."""
    for tag, number in zip(path[:-1:2], path[1::2], strict=True):
        if tag not in dataset or number >= len(dataset[tag].value):
            return None
        dataset = dataset[tag].value[number]
    element: DataElement | None = dataset.get(path[-1])
    return element


def _shifted(old: str, before: Dataset, after: Dataset) -> str:
    """The day that is as far from the new StudyDate as `old` was from the old one; empty if nothing was shifted."""
    if not after.get("StudyDate"):
        return ""
    days = [date(int(text[:4]), int(text[4:6]), int(text[6:8])) for text in (old, before.StudyDate, after.StudyDate)]
    new = days[2] + (days[0] - days[1])
    return "" if new == days[0] else f"{new:%Y%m%d}{old[8:]}"


def _pixels_hold(action: Action, image: KeyedImage, new: Dataset) -> bool:
    """Whether a box is dark, or all pixels outside it are as they were."""
    before, after = _pixels(image.dataset), _pixels(new)
    inside = np.zeros(before.shape, np.bool_)
    if box := image.burned_in:
        inside[box.top : box.bottom, box.left : box.right] = True
    if action is Action.PIXELS_HIDDEN:
        return bool(np.ptp(after[inside]) == 0)
    return bool((before == after)[~inside].all())


def _pixels(dataset: Dataset) -> NDArray[np.uint16]:
    return np.frombuffer(dataset.PixelData, "<u2").reshape(SIZE, SIZE)
