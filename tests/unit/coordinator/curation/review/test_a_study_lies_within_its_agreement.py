"""A modality that no agreement names rejects a study, and one more than was agreed waits for a person."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.scope import check_scope
from shared.agreement import Scope
from tests.factories.opened import write_opened


def agreed(study: OpenedStudy, *modalities: str, most: int | None = None) -> OpenedStudy:
    scope = Scope(description="Chest images.", modalities=modalities, studies=most)
    return study.model_copy(update={"arrival": study.arrival.model_copy(update={"scope": scope})})


@given(count=st.integers(1, 6), most=st.none() | st.integers(1, 6), covered=st.booleans())
def test_what_came_after_the_last_that_was_agreed_waits(count: int, most: int | None, covered: bool) -> None:
    """By the order of arrival, whatever the order in which they are checked."""
    with TemporaryDirectory() as folder:
        modalities = ("DX", "CT") if covered else ("CT",)
        studies = [agreed(write_opened(Path(folder), number), *modalities, most=most) for number in range(count)]
        codes = [{result.code for result in check_scope(study, reversed(studies))} for study in studies]
    beyond = [most is not None and number >= most for number in range(count)]
    other = set() if covered else {"other-modality-than-agreed"}
    assert codes == [other | ({"more-than-agreed"} if is_beyond else set()) for is_beyond in beyond]


def test_another_agreements_studies_do_not_count(tmp_path: Path) -> None:
    """Each agreement has its own number; what an earlier release opened is not compared."""
    first, second = write_opened(tmp_path, 1), write_opened(tmp_path, 2)
    assert not list(check_scope(second, [first, second]))
    elsewhere = first.model_copy(update={"contents": first.contents.model_copy(update={"agreement": "A-" + "1" * 12})})
    assert not list(check_scope(agreed(second, "DX", most=1), [elsewhere, second]))
    assert list(check_scope(agreed(second, "DX", most=1), [first, second]))
