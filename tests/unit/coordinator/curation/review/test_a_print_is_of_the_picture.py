"""Equal pixels have equal digests whatever their syntax; a film's form is compared with other patients' only."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Picture
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from compose.sample import films, objects
from coordinator.curation.register.register import Register
from coordinator.curation.review.checking import check_opened
from coordinator.curation.review.images import Image, read_image
from coordinator.curation.review.prints import (
    ALIKE,
    ImagePrint,
    Printed,
    Printer,
    check_decoding,
    check_prints,
    distances,
    form_of,
)
from coordinator.curation.review.reviewing import results_of
from coordinator.curation.review.verdict import CheckResult, Verdict
from shared.ids import PatientPseudonym, Sha256, Uid
from shared.protocol.loader import load_criteria
from tests.factories.dicom import make_dx, write_file
from tests.factories.reviewed import open_datasets

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEG2000Lossless)
FILM = Image(Uid("2.25.1"), Path(), modality="DX", frames=1)


def printed(stored: NDArray[np.generic], image: Image = FILM) -> ImagePrint:
    printer = Printer(image)
    printer.add(stored)
    return printer.printed


def print_of_file(file: Path) -> ImagePrint:
    image = read_image(Uid("2.25.1"), file)
    return printed(image.values(0), image)


def study(number: int, patient: int, *images: ImagePrint) -> Printed:
    return Printed(Sha256(f"{number:012x}{0:052x}"), PatientPseudonym(f"123456-{patient:06d}"), images)


def codes(results: list[CheckResult]) -> set[str]:
    return {result.code for result in results}


def thorax(seed: int) -> NDArray[np.float64]:
    return np.asarray(films.frontal(np.random.default_rng(seed), 512, positive=bool(seed % 2)), dtype=np.float64) * 3500


@given(
    seed=st.integers(0, 2**32), first=st.sampled_from(SYNTAXES), second=st.sampled_from(SYNTAXES), change=st.booleans()
)
def test_a_digest_is_of_the_decoded_pixels(seed: int, first: UID, second: UID, change: bool) -> None:
    """Equal if and only if each decoded value is, in any two syntaxes that lose nothing."""
    values = np.random.default_rng(seed).integers(0, 4096, (64, 64), dtype=np.uint16)
    other = values.copy()
    other[seed % 64, 3] ^= change
    with TemporaryDirectory() as folder:
        files = [
            write_file(objects.radiograph(each, objects.Header()), Path(folder) / name, syntax)
            for name, each, syntax in (("a", values, first), ("b", other, second))
        ]
        one_print, other_print = map(print_of_file, files)
    assert (one_print.pixels == other_print.pixels) is not change


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32])
def test_a_digest_is_of_numbers_not_of_their_width(kind: type[np.integer]) -> None:
    """The same numbers in wider words are the same picture; the same bytes in another shape are not."""
    values = np.arange(100, dtype=kind).reshape(10, 10)
    assert printed(values).pixels == printed(values.astype(np.int64)).pixels
    assert printed(values).pixels != printed(values.reshape(5, 20)).pixels


@pytest.mark.parametrize("seed", range(4))
def test_a_film_that_was_made_anew_lies_near(seed: int) -> None:
    """Scaled, windowed, compressed with loss or inverted with its photometric interpretation it stays within reach."""
    film = thorax(seed)
    form = form_of(film, inverted=False)
    small = np.asarray(Picture.fromarray(film.astype(np.float32)).resize((300, 300), Picture.Resampling.BOX))
    noisy = film + np.random.default_rng(seed).normal(0, 60, film.shape)
    versions = [form_of(each, inverted=False) for each in (small, film * 0.5 + 200, noisy)]
    versions.append(form_of(4095 - film, inverted=True))
    assert max(distances(form, versions)) <= ALIKE


def test_films_of_different_patients_lie_apart() -> None:
    """Two thoraxes of the sample are never within reach, positive or not."""
    forms = [form_of(thorax(seed), inverted=False) for seed in range(24)]
    near = [sorted(distances(form, forms))[1] for form in forms]
    assert min(near) > ALIKE, near


def test_the_same_picture_in_two_patients_waits_for_a_person() -> None:
    """Whichever is checked last; within one patient it is only said."""
    values = np.random.default_rng(1).integers(0, 4096, (16, 16), dtype=np.uint16)
    slice_print = printed(values, FILM._replace(modality="CT"))
    own, stranger = study(1, 1, slice_print), study(2, 2, slice_print)
    (result,) = check_prints(own, [own, stranger])
    assert (result.code, result.verdict, result.instances) == ("same-pixels", Verdict.REVIEW, ("2.25.1",))
    assert stranger.submission[:12] in result.reason
    (result,) = check_prints(study(3, 1, slice_print), [own])
    assert (result.code, result.verdict) == ("same-pixels-again", Verdict.WARN)
    twice = study(4, 4, slice_print, slice_print.model_copy(update={"instance": Uid("2.25.2")}))
    assert codes(list(check_prints(twice, []))) == {"same-pixels-twice"}


@given(st.integers(0, 255), st.integers(1, 2), st.integers(0, 40))
def test_forms_are_compared_between_patients_only(first: int, patient: int, bits: int) -> None:
    """A pair of the same patient is never a finding, one of two patients within eight bits always."""
    form = bytes([first]) * 32
    changed = int.from_bytes(form, "big") ^ ((1 << bits) - 1)
    pair = [
        ImagePrint(instance=Uid("2.25.1"), pixels=Sha256(f"{n:064x}"), is_film=True, form=each)
        for n, each in enumerate((form.hex(), f"{changed:064x}"))
    ]
    results = list(check_prints(study(1, 1, pair[0]), [study(2, patient, pair[1])]))
    assert codes(results) == ({"alike-films"} if patient == 2 and bits <= ALIKE else set())


def test_what_shows_nothing_is_no_likeness() -> None:
    """A film of one value is blank, for a person to see, and equal to no other; a slice of one value is nothing."""
    flat = np.full((16, 16), 7, dtype=np.uint16)
    film, part = printed(flat), printed(flat, FILM._replace(modality="CT"))
    assert codes(list(check_decoding(study(1, 1, film)))) == {"blank"}
    assert not list(check_decoding(study(1, 1, part)))
    assert not list(check_prints(study(1, 1, film, part), [study(2, 2, film, part)]))


def test_many_studies_are_named_by_three() -> None:
    """And the number of the rest, so that the reason stays a sentence."""
    part = printed(np.arange(256, dtype=np.uint16).reshape(16, 16), FILM._replace(modality="CT"))
    others = [study(number, number, part) for number in range(2, 7)]
    (three,), (five,) = check_prints(study(1, 1, part), others[:3]), check_prints(study(1, 1, part), others)
    assert three.reason.endswith(f"{others[2].submission[:12]}.")
    assert five.reason.endswith(f"{others[2].submission[:12]} and 2 more.")


def test_a_slice_has_no_form_and_wide_numbers_a_digest() -> None:
    """Neighbouring slices look alike; numbers beyond 32 bits are told apart."""
    values = np.arange(256, dtype=np.uint32).reshape(16, 16)
    assert not printed(values, FILM._replace(modality="CT")).form
    wide, low = values + np.uint32(1 << 31), values.astype(np.int64) - (1 << 31)
    assert len({printed(each).pixels for each in (values, wide, low)}) == 3


def test_a_film_and_its_photometric_inverse_have_one_form() -> None:
    """The least value may be black or white: the picture is the same."""
    values = (thorax(1)[:64, :64]).astype(np.uint16)
    inverse = printed(4095 - values, FILM._replace(photometric="MONOCHROME1"))
    assert distances(printed(values).form, [inverse.form])[0] <= ALIKE


def test_what_does_not_decode_is_rejected() -> None:
    """Nobody can look at it."""
    (result,) = check_decoding(study(1, 1, Printer(Image(Uid("2.25.1"), Path())).printed))
    assert (result.code, result.verdict, result.instances) == ("not-decodable", Verdict.REJECT, ("2.25.1",))


def test_the_prints_bits_are_imagehashs() -> None:
    """A median cut of the sixteen lowest frequencies each way: SciPy's transform gives the same bits."""
    from scipy.fftpack import dct

    film = thorax(3)
    small = np.asarray(Picture.fromarray(film.astype(np.float32)).resize((64, 64), Picture.Resampling.BOX))
    lowest = dct(dct(small.astype(np.float64), axis=0), axis=1)[:16, :16].ravel()
    assert form_of(film, inverted=False) == np.packbits(lowest > np.median(lowest[1:])).tobytes().hex()


def test_a_film_of_a_study_has_a_form(tmp_path: Path) -> None:
    """By its modality, from its file."""
    file = write_file(make_dx(), tmp_path / "film")
    assert print_of_file(file).form


def test_pixels_are_compared_over_all_that_is_open(tmp_path: Path) -> None:
    """A film that another patient's study holds is found when the second of them is checked, in another syntax."""
    first = open_datasets(tmp_path, [make_dx(study="a")], 1)
    second = open_datasets(tmp_path, [make_dx(study="b", PatientID="HX-0002")], 2, syntax=RLELossless)
    register = Register(tmp_path / "register.sqlite")
    results = list[set[str]]()
    for opened in ([first], [first, second]):
        register.follow(opened, ())
        assert check_opened(register, opened, load_criteria()) == 1
        with register.reading() as reading:
            results.append({each.code for each in results_of(reading, reading.cases()[-1])})
    register.close()
    assert results == [{"no-clinical-row"}, {"no-clinical-row", "same-pixels"}]
