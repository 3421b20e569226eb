"""By what images are compared over all studies: a digest of their decoded pixels, and of films a print of their form.

The print is the perceptual hash of ImageHash's `phash` (a median cut of the lowest frequencies), in 256 bits.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from pydantic import Field

from coordinator.curation.review.images import Image, to_grey
from coordinator.curation.review.verdict import CheckResult, Verdict
from shared.frozen import Frozen
from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.pixels.contrast import Stored

ALIKE = 8  # bits of 256: a picture that was encoded, scaled or windowed anew lies within
_SIDE, _LOW = 64, 16  # of the reduced picture, and of its lowest frequencies

_result = partial(CheckResult, check="prints", verdict=Verdict.REVIEW)


class ImagePrint(Frozen):
    """What an image is compared by; without `pixels` it does not decode."""

    instance: Uid
    pixels: Sha256 | None = None
    is_film: bool
    is_flat: bool = False  # one value everywhere: equal pixels then mean nothing
    form: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")  # of a film that is not flat


class Printed(NamedTuple):
    """A study's prints, and whose they are."""

    submission: Sha256
    patient: PatientPseudonym
    images: tuple[ImagePrint, ...]


class Printer:
    """Makes an image's print while its frames are decoded."""

    def __init__(self, image: Image) -> None:
        self.is_broken = image.frames == 0
        self._image = image
        self._sha256 = hashlib.sha256()
        self._values = set[float]()  # the least and the greatest of each frame, until they differ
        self._form = ""

    def add(self, stored: Stored) -> None:
        """Add the next frame, `(rows, columns)` or `(rows, columns, 3)`.

        As numbers they are equal whatever syntax or width they were kept in.
        """
        self._sha256.update(repr(stored.shape).encode())
        wide = "<f8" if stored.dtype.kind == "f" else "<i8" if _is_wide(stored) else "<i4"
        self._sha256.update(np.ascontiguousarray(stored, dtype=wide).data)
        if len(self._values) < 2:
            self._values |= {float(stored.min()), float(stored.max())}
        if self._image.is_film and not self._form and stored.min() < stored.max():
            self._form = form_of(to_grey(stored), inverted=self._image.photometric == "MONOCHROME1")

    @property
    def printed(self) -> ImagePrint:
        """The print of what was added."""
        if self.is_broken:
            return ImagePrint(instance=self._image.uid, is_film=self._image.is_film)
        return ImagePrint(
            instance=self._image.uid,
            pixels=Sha256(self._sha256.hexdigest()),
            is_film=self._image.is_film,
            is_flat=len(self._values) < 2,
            form=self._form,
        )


def form_of(grey: Stored, *, inverted: bool) -> str:
    """The print of a film's form, 64 hexadecimal digits; `inverted`: the least value is white (MONOCHROME1)."""
    small = Picture.fromarray(grey.astype(np.float32)).resize((_SIDE, _SIDE), Picture.Resampling.BOX)
    cosines = _cosines()
    lowest = (cosines @ np.asarray(small, dtype=np.float64) @ cosines.T).ravel()
    lowest = -lowest if inverted else lowest
    return np.packbits(lowest > np.median(lowest[1:])).tobytes().hex()


def check_decoding(printed: Printed) -> Iterator[CheckResult]:
    """What an image's own values say: whether it can be decoded, and whether a film shows anything."""
    if broken := tuple(image.instance for image in printed.images if image.pixels is None):
        reason = "Its pixels cannot be decoded, so nobody can look at it."
        yield _result(verdict=Verdict.REJECT, code="not-decodable", reason=reason, instances=broken)
    if blank := tuple(image.instance for image in printed.images if image.is_flat and image.is_film):
        yield _result(code="blank", reason="A film has one value everywhere.", instances=blank)


def check_prints(printed: Printed, others: Iterable[Printed]) -> Iterator[CheckResult]:
    """Equal pixels within the study or in another one, and films that look like those of another patient."""
    seen = [image.pixels for image in _telling(printed)]
    if twice := tuple(image.instance for image in _telling(printed) if seen.count(image.pixels) > 1):
        yield _result(code="same-pixels-twice", reason="Several of its images have the same pixels.", instances=twice)
    others = [other for other in others if other.submission != printed.submission]
    strangers = [other for other in others if other.patient != printed.patient]
    yield from _same(printed, strangers, "same-pixels", Verdict.REVIEW, "the pixels are in another patient's study")
    own = [other for other in others if other.patient == printed.patient]
    yield from _same(
        printed, own, "same-pixels-again", Verdict.WARN, "another study of the patient has the same pixels"
    )
    yield from _alike(printed, strangers)


def distances(form: str, forms: Sequence[str]) -> NDArray[np.intp]:
    """In how many bits a print differs from each of others."""
    table = np.frombuffer(bytes.fromhex("".join(forms)), dtype=np.uint8).reshape(len(forms), -1)
    counts: NDArray[np.intp] = np.bitwise_count(table ^ _bytes(form)).sum(axis=1, dtype=np.intp)
    return counts


def _same(printed: Printed, others: Iterable[Printed], code: str, verdict: Verdict, says: str) -> Iterator[CheckResult]:
    own = {image.pixels: image.instance for image in _telling(printed)}
    there = {other.submission: own.keys() & {image.pixels for image in _telling(other)} for other in others}
    if instances := {own[pixels] for shared in there.values() for pixels in shared}:
        submissions = [submission for submission, shared in there.items() if shared]
        reason = f"Of an image {says}: {_named(submissions)}."
        yield _result(verdict=verdict, code=code, reason=reason, instances=tuple(sorted(instances)))


def _alike(printed: Printed, others: Iterable[Printed]) -> Iterator[CheckResult]:
    films = [(other.submission, image.form, image.pixels) for other in others for image in other.images if image.form]
    alike = dict[Uid, list[Sha256]]()
    for image in printed.images:
        near = distances(image.form, [form for _, form, _ in films]) if image.form and films else ()
        for (submission, _, pixels), distance in zip(films, near, strict=False):
            if distance <= ALIKE and pixels != image.pixels:  # equal pixels are a finding of their own
                alike.setdefault(image.instance, []).append(submission)
    if alike:
        reason = f"A film looks like one of another patient: {_named(chain.from_iterable(alike.values()))}."
        yield _result(code="alike-films", reason=reason, instances=tuple(sorted(alike)))


def _telling(printed: Printed) -> list[ImagePrint]:
    """The images of which equal pixels say that they are one picture."""
    return [image for image in printed.images if image.pixels is not None and not image.is_flat]


def _named(submissions: Iterable[Sha256]) -> str:
    """Submissions by the first digits of their ids."""
    names = sorted({submission[:12] for submission in submissions})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"submission {', '.join(names[:3])}{more}"


def _is_wide(stored: Stored) -> bool:
    return stored.dtype.itemsize > 2 and bool(
        stored.max() > np.iinfo(np.int32).max or stored.min() < np.iinfo(np.int32).min
    )


def _bytes(form: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(form), dtype=np.uint8)


@cache
def _cosines() -> NDArray[np.float64]:
    """The lowest frequencies of the discrete cosine transform of `_SIDE` values (DCT-II)."""
    frequency, place = np.ogrid[:_LOW, :_SIDE]
    cosines: NDArray[np.float64] = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _SIDE))
    return cosines
