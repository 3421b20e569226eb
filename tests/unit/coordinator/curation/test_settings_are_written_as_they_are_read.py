"""A curator's settings that enrolment writes are those that are read again, sections and all."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from coordinator.curation.membership import CuratorHome, CuratorSettings, ReadingSettings
from coordinator.home.person import settings_text
from shared.crypto.pki import Role

names = st.lists(st.from_regex(r"[a-z]{1,8}\.example", fullmatch=True), max_size=2).map(tuple)
readings = st.builds(
    ReadingSettings,
    port=st.integers(1, 65_535),
    names=names,
    certificate=st.just(Path("reading.pem")),
    key=st.just(Path("é.pem")),
)
settings = st.builds(
    CuratorSettings,
    protocol=st.sampled_from(("ricord", "cxr-demo")),
    key_passphrase_file=st.none() | st.just(Path('/etc/"x" \\ y')),
    reading=st.just(ReadingSettings()) | readings,
)


@given(settings)
def test_settings_are_written_as_they_are_read(given: CuratorSettings) -> None:
    """Whatever a person set stays when the file is written anew, as with another certificate."""
    with TemporaryDirectory() as folder:
        home = CuratorHome(Path(folder))
        home.settings_file.write_text(settings_text(given, Role.CURATOR), encoding="utf-8")
        assert home.settings() == given
