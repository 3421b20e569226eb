"""A site's home and settings are made whole, once, and read strictly."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeBusy, HomeExists, InvalidSetting, SettingsMissing, UnknownSetting
from site_node.home.folder import SiteHome, init_home
from site_node.settings.site import SiteSettings, new_settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> SiteHome:
    return init_home(tmp_path_factory.mktemp("site") / "home", name='St. "Ünïversity" Hospital')


def test_a_new_home_loads_and_belongs_to_its_owner_only(home: SiteHome) -> None:
    assert home.load() == SiteSettings(name='St. "Ünïversity" Hospital')
    for path in (home.folder, *home.folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path.name
    assert {path.name for path in home.keys.iterdir()} == {"signing.pem", "tls.pem", "pseudonym.key", "flower.pem"}
    assert len(home.pseudonym_key.read_bytes()) == 32


def test_the_template_names_every_setting(home: SiteHome) -> None:
    """A person who opens the file sees every setting."""
    text = home.settings_file.read_text()
    switched_off = {name for name in SiteSettings.model_fields if f"# [{name}]" in text}
    assert set(tomllib.loads(text)) | switched_off == set(SiteSettings.model_fields)


def test_the_sections_that_are_off_can_be_switched_on_unchanged(home: SiteHome) -> None:
    """Without their comment signs the DICOM sections give settings that load."""
    before, sign, after = home.settings_file.read_text().partition("# [scp]")
    uncommented = re.sub(r"^# ", "", sign + after, flags=re.MULTILINE)
    home.settings_file.write_text(before + uncommented)
    settings = home.load()
    assert settings.scp is not None
    assert settings.pacs is not None
    assert settings.pacs.tls is not None
    assert settings.dicomweb is not None


def test_a_home_is_never_made_twice_but_completed(home: SiteHome, tmp_path: Path) -> None:
    """A second `init` is refused; one that was stopped before its last step is completed with the same keys."""
    with pytest.raises(HomeExists):
        init_home(home.folder, name="x")
    other = init_home(tmp_path / "other", name="x")
    secret = other.pseudonym_key.read_bytes()
    other.settings_file.unlink()
    assert init_home(other.folder, name="y").pseudonym_key.read_bytes() == secret
    with pytest.raises(InvalidArgument):
        init_home(tmp_path / "third", name="")
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("line", "error", "key"),
    [("nmae = 'x'", UnknownSetting, "nmae"), ("poll_seconds = 'soon'", InvalidSetting, "poll_seconds")],
)
def test_a_wrong_setting_stops_the_start(tmp_path: Path, line: str, error: type[Exception], key: str) -> None:
    file = SiteHome(tmp_path).settings_file
    file.write_text(f"name = 'x'\n{line}\n")
    with pytest.raises(error) as raised:
        SiteHome(tmp_path).load()
    assert "line 2" in str(raised.value)
    assert key in str(raised.value)


def test_a_missing_home_names_init(tmp_path: Path) -> None:
    with pytest.raises(SettingsMissing, match="ricord-site init"):
        SiteHome(tmp_path / "nowhere").load()


def test_one_process_at_a_time_moves_studies(home: SiteHome) -> None:
    with home.writing(), pytest.raises(HomeBusy), home.writing():
        pass
    with home.writing():
        pass


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=200).filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text)))
def test_any_name_survives_its_quoting(name: str) -> None:
    assert tomllib.loads(new_settings(name=name, protocol="ricord"))["name"] == name
