"""Whether the images of each series belong together: one modality, one frame of reference, one spacing."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.images import Image, images_of, series_of
from coordinator.curation.review.verdict import CheckResult, Verdict


class _Trait(NamedTuple):
    code: str
    reason: str
    of: Callable[[Image], object]


_TRAITS = (
    _Trait("mixed-modalities", "A series has images of several modalities.", lambda image: image.modality),
    _Trait("mixed-references", "A series has several frames of reference.", lambda image: image.reference),
    _Trait("mixed-spacing", "The pixels of a series' slices are of several sizes.", lambda image: image.spacing),
)


def check_consistency(study: OpenedStudy) -> Iterator[CheckResult]:
    """A person looks where images of one series differ in what a series has once (PS3.3 C.7.3.1, C.7.4.1)."""
    for series in series_of(tuple(image for image in images_of(study) if image.frames)):
        slices = tuple(image for image in series if not image.is_film)
        for trait in _TRAITS:
            members = series if trait.code == "mixed-modalities" else slices
            if len({trait.of(image) for image in members}) > 1:
                yield CheckResult(
                    check="consistency",
                    verdict=Verdict.REVIEW,
                    code=trait.code,
                    reason=trait.reason,
                    instances=tuple(image.uid for image in members),
                )
