"""A word that the site accepted leaves with its study's list of such words, and neither look lets pass any other."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from coordinator.curation.opening import open_sealed
from coordinator.curation.second_look import look_again
from shared.crypto.contents import Contents
from shared.errors.studies import SealedFileInvalid
from shared.manifest import canonical_json
from shared.protocol.accepted import MOST_ACCEPTED, NONE_ACCEPTED, AcceptedList
from site_node.deidentify.study import deidentify
from site_node.study import Deidentified, Included, Refused, StudyTexts, Validated
from site_node.validate.report import Report
from site_node.validate.validation import validate
from tests.factories.deidentified import PROFILE, PSEUDONYMS
from tests.factories.studies import make_included, make_study
from tests.factories.validated import PROTOCOL, SealedStudy, digest_of, make_sealed

WORD = "spaetvenoes"
SURNAME = "kowalczyk"
ACCEPTED = AcceptedList(version=3, words=frozenset({WORD, "hilusblick"}))
unlisted = (
    st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=8, max_size=14)
    .map(lambda word: f"xq{word}")
    .filter(lambda word: word not in PROFILE.vocabulary.surnames)
)


def included(folder: Path, description: str) -> Included:
    return make_included(make_study(folder / "spool", "ct", slices=1, SeriesDescription=description))


def rewritten(
    study: Included,
    folder: Path,
    accepted: AcceptedList = NONE_ACCEPTED,
    keep: Callable[[StudyTexts], None] | None = None,
) -> Deidentified:
    output = deidentify(study, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out", accepted=accepted, keep=keep)
    assert isinstance(output, Deidentified)
    return output


def description_of(output: Deidentified) -> str:
    return str(pydicom.dcmread(output.instances[0].path).get("SeriesDescription", ""))


def checked(
    study: Included, output: Deidentified, folder: Path, accepted: AcceptedList = NONE_ACCEPTED
) -> Validated | Refused:
    return validate(
        study, output, profile=PROFILE, pseudonyms=PSEUDONYMS, report=folder / "report.json", accepted=accepted
    )


def opened(study: SealedStudy, folder: Path) -> Contents:
    """What the curator opens, after the second look."""
    return open_sealed(
        study.sealed.ciphertext,
        study.sealed.manifest,
        identity=study.identity,
        site_key=study.signing.public,
        protocol_digest=PROTOCOL,
        out=folder / "opened",
        look=lambda unpacked, contents: look_again(unpacked, contents, PROFILE),
    ).contents


def sealed(folder: Path, validated: Validated, accepted: tuple[str, ...]) -> SealedStudy:
    """The study as a site seals it that is enrolled under the SITEID of the factories."""
    study = validated.study.model_copy(update={"accepted": accepted})
    return make_sealed(folder, validated.model_copy(update={"study": study}), site_id=PSEUDONYMS.site_id)


@settings(max_examples=20)
@given(unlisted)
def test_a_word_is_dropped_and_counted_until_it_is_accepted_and_then_travels(word: str) -> None:
    """The home is told what was dropped; once accepted, the word stays, and the curator opens the study."""
    with TemporaryDirectory() as name:
        folder, kept = Path(name), list[StudyTexts]()
        study = included(folder, f"CT {word.title()} Thorax")
        output = rewritten(study, folder / "before", keep=kept.append)
        assert description_of(output) == "CT Thorax"
        assert word in {each.word for each in kept[0].dropped}
        accepted = AcceptedList(version=7, words=frozenset({word, WORD}))
        output = rewritten(study, folder, accepted, kept.append)
        assert description_of(output) == f"CT {word.title()} Thorax"
        assert (output.accepted, output.accepted_version) == ((word,), 7)
        assert word not in {each.word for each in kept[1].dropped}
        validated = checked(study, output, folder, accepted)
        assert isinstance(validated, Validated)
        assert opened(sealed(folder, validated, output.accepted), folder).accepted == (word,)


@pytest.fixture
def study(tmp_path: Path) -> Included:
    return included(tmp_path, f"CT {WORD}")


def test_validation_knows_only_words_that_are_on_the_list_and_listed_by_the_study(
    study: Included, tmp_path: Path
) -> None:
    """A word that de-identification let pass and no person accepted, or that would not travel, is a finding."""
    output = rewritten(study, tmp_path, ACCEPTED)
    for accepted, listed in ((NONE_ACCEPTED, (WORD,)), (ACCEPTED, ()), (ACCEPTED, ("hilusblick",))):
        refused = checked(study, output.model_copy(update={"accepted": listed}), tmp_path, accepted)
        assert isinstance(refused, Refused)
        assert {(why.code, why.attribute) for why in refused.reasons} == {
            ("validate-word-not-public", "SeriesDescription")
        }


def test_the_report_names_the_list(study: Included, tmp_path: Path) -> None:
    """Its version and digest, and how many of its words the study has; never a word."""
    assert isinstance(checked(study, rewritten(study, tmp_path, ACCEPTED), tmp_path, ACCEPTED), Validated)
    text = (tmp_path / "report.json").read_text()
    report = Report.model_validate_json(text)
    assert (report.accepted_version, report.accepted_digest, report.accepted_words) == (3, ACCEPTED.digest, 1)
    assert WORD not in text


def test_a_word_that_does_not_travel_is_a_finding_at_the_curator(study: Included, tmp_path: Path) -> None:
    validated = checked(study, rewritten(study, tmp_path, ACCEPTED), tmp_path, ACCEPTED)
    assert isinstance(validated, Validated)
    with pytest.raises(SealedFileInvalid, match=r"word-not-public \(SeriesDescription\)") as caught:
        opened(sealed(tmp_path, validated, ()), tmp_path)
    assert WORD not in str(caught.value)
    assert not (tmp_path / "opened").exists()


def test_a_common_surname_does_not_count_though_it_is_accepted(tmp_path: Path) -> None:
    """Neither at the site nor at the curator: another site may have erred, or lie."""
    assert SURNAME in PROFILE.vocabulary.surnames
    study, accepted = included(tmp_path, f"CT {SURNAME}"), AcceptedList(version=1, words=frozenset({SURNAME}))
    output = rewritten(study, tmp_path, accepted)
    assert (description_of(output), output.accepted) == ("CT", ())
    validated = checked(study, output, tmp_path, accepted)
    assert isinstance(validated, Validated)
    file = output.instances[0].path
    dataset = pydicom.dcmread(file)
    dataset.SeriesDescription = f"CT {SURNAME}"
    dataset.save_as(file)
    digests = dict.fromkeys(validated.digests, digest_of(file))
    instances = (output.instances[0].model_copy(update={"size": file.stat().st_size}),)
    changed = output.model_copy(update={"instances": instances})
    lying = validated.model_copy(update={"study": changed, "digests": digests})
    with pytest.raises(SealedFileInvalid, match="word-not-public"):
        opened(sealed(tmp_path, lying, (SURNAME,)), tmp_path)


def test_a_name_in_the_headers_is_dropped_though_it_is_accepted(tmp_path: Path) -> None:
    """And it is among the names that the home keeps, so that it is on the list no longer."""
    kept: list[StudyTexts] = []
    study = make_included(
        make_study(
            tmp_path / "spool", "ct", slices=1, SeriesDescription=f"CT {WORD}", InstitutionName=f"{WORD.title()} House"
        )
    )
    output = rewritten(study, tmp_path, ACCEPTED, kept.append)
    assert (description_of(output), output.accepted) == ("CT", ())
    assert WORD in kept[0].names
    assert WORD not in {each.word for each in kept[0].dropped}


def test_a_study_without_such_words_has_the_contents_that_it_had(study: Included, tmp_path: Path) -> None:
    """One sealed before this release is the same submission still."""
    validated = checked(study, rewritten(study, tmp_path), tmp_path)
    assert isinstance(validated, Validated)
    assert b"accepted" not in canonical_json(opened(sealed(tmp_path, validated, ()), tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        ["b12"], ["ab"], ["Hilus"], ["hilus wort"], ["spätvenös"], ["wort", "hilus"], ["hilus", "hilus"],
        ["x" * 41], [f"x{letters}" for letters in map("".join, product("abcdefghij", repeat=4))][: MOST_ACCEPTED + 1],
    ],
)  # fmt: skip
def test_what_travels_is_bounded(words: list[str], study: Included, tmp_path: Path) -> None:
    """Words of letters only, in order, each once, and no more of them than a site's list holds."""
    validated = checked(study, rewritten(study, tmp_path), tmp_path)
    assert isinstance(validated, Validated)
    contents = opened(sealed(tmp_path, validated, ()), tmp_path).model_dump(mode="json")
    with pytest.raises(ValidationError):
        Contents.model_validate_json(canonical_json({**contents, "accepted": words}))
