"""De-identification breaks no rule of the Standard that its source kept, by the word of dciodvfy.

That program, of D. Clunie's dicom3tools, checks an object against the definition of its kind (PS3.3). New errors count,
warnings do not: of an extended class there is one for each attribute.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest

from shared.protocol.loader import load_profile
from shared.protocol.profile import Profile
from site_node.deidentify.study import deidentify
from site_node.study import Deidentified, Received
from tests.factories.answer_key import KINDS, make_answer_key
from tests.factories.deidentified import PSEUDONYMS
from tests.factories.studies import make_included, make_received, received_from
from tests.peers import needs_peer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what real files hold
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom"
PROFILES = ("ricord", "tcia")  # `ricord-2020` keeps to its text, which empties sequences
NAMED = "pydicom-data/explicit_VR-UN.dcm"  # its patient is called PANCREAS_0001
_UID = re.compile(r"<[0-9.]{8,64}>")


@pytest.fixture(scope="module")
def program() -> str:
    return needs_peer("dciodvfy", "dicom3tools")


def errors(program: str, path: Path) -> Counter[str]:
    """The errors of one file, without the UIDs in them, which change."""
    done = subprocess.run([program, str(path)], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("latin-1").splitlines()
    return Counter(_UID.sub("<UID>", line) for line in lines if line.startswith("Error"))


def worse(program: str, studies: Mapping[str, Received], profile: Profile) -> dict[str, list[str]]:
    """The errors that only the output of a study has, by the study's name; pixels that are said to hold text go on."""
    more = {}
    for name, study in studies.items():
        with tempfile.TemporaryDirectory() as folder:
            included, out = make_included(study), Path(folder) / "out"
            result = deidentify(included, profile=profile, pseudonyms=PSEUDONYMS, out=out, searched=True)
            for new in result.instances if isinstance(result, Deidentified) else ():
                if new_errors := errors(program, new.path) - errors(program, study.instances[0].path):
                    more[name] = sorted(new_errors)
    return more


def real_files() -> Iterator[tuple[str, Received]]:
    """The developers' real files that name an instance."""
    for path in sorted(path for path in REAL.rglob("*") if path.is_file()):
        with suppress(AttributeError, pydicom.errors.InvalidDicomError, ValueError):
            yield str(path.relative_to(REAL)), received_from(path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the developers' shared data are not here")
@pytest.mark.parametrize("name", PROFILES)
def test_no_real_file_becomes_worse(program: str, name: str) -> None:
    """The new file of every real file has no error that the real one had not; NAMED bears its body part as a name."""
    more = worse(program, dict(real_files()), load_profile(name))
    assert more.keys() <= {NAMED}, more


@pytest.mark.parametrize("name", PROFILES)
def test_no_file_with_a_key_becomes_worse(program: str, name: str, tmp_path: Path) -> None:
    """The same of each kind of image that is judged by the answer key."""
    studies = {
        study.kind: make_received(tmp_path / study.kind, [study.images[-1].dataset], study.syntax)
        for study in make_answer_key(1, patients=2)
    }
    assert studies.keys() == set(KINDS)
    more = worse(program, studies, load_profile(name))
    assert not more, more


def test_a_lost_attribute_is_an_error(program: str, tmp_path: Path) -> None:
    """What a kind of image must have is missed: the judge sees."""
    image = make_answer_key(1, patients=1)[0].images[0].dataset
    before = make_received(tmp_path / "whole", [image]).instances[0].path
    del image.ImageType
    after = make_received(tmp_path / "without", [image]).instances[0].path
    assert errors(program, after) - errors(program, before)
