"""`[store]` in coordinator.toml says where sealed studies are kept, and what cannot be is refused with its line."""

from pathlib import Path

import pytest

from coordinator.home.init import open_ciphertexts
from coordinator.home.settings import Home, StoreSettings
from coordinator.store.bucket import CiphertextBucket
from coordinator.store.locks import FileLocks
from shared.errors.settings import ExtraMissing, InvalidSetting
from tests.factories.ciphertexts import BUCKET, bucket_client, final_names, s3_server
from tests.factories.federation import make_settings, settings_text


@pytest.mark.parametrize(
    ("sealed", "place"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://my.bucket/a/b", ("my.bucket", "a/b/")),
        ("s3://my.bucket/a/b/", ("my.bucket", "a/b/")),
        ("/mnt/sealed", None),
        ("", None),
    ],
)
def test_a_place_is_a_folder_or_a_bucket_with_a_prefix(sealed: str, place: tuple[str, str] | None) -> None:
    assert StoreSettings(sealed=sealed).bucket == place


@pytest.mark.parametrize("sealed", ["s3://", "s3:///prefix", "s3://Bucket", "s3://bucket//x", "https://bucket/x"])
def test_another_url_stops_the_start(tmp_path: Path, sealed: str) -> None:
    """With the key and its line."""
    (tmp_path / "coordinator.toml").write_text(f'federation = "f"\n[store]\nsealed = "{sealed}"\n')
    with pytest.raises(InvalidSetting, match=r"line 3: setting `store\.sealed`"):
        Home(tmp_path).settings()


def test_a_folder_is_the_homes_own_or_another(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.blobs(make_settings()) == tmp_path / "blobs"
    assert home.blobs(make_settings(store=StoreSettings(sealed="/mnt/sealed"))) == Path("/mnt/sealed")


def test_a_bucket_is_opened_as_the_settings_say(tmp_path: Path) -> None:
    """Endpoint, credentials' file, bucket and prefix; without the extra `s3` the start names it."""
    with s3_server() as endpoint:
        bucket_client(endpoint, tmp_path)
        store = StoreSettings(
            sealed=f"s3://{BUCKET}/here", endpoint=endpoint, credentials_file=tmp_path / "credentials"
        )
        home, settings = Home(tmp_path), make_settings(store=store)
        home.settings_file.write_text(settings_text(settings))
        assert home.settings() == settings
        opened = open_ciphertexts(home, settings, FileLocks(tmp_path / "locks"))
        assert isinstance(opened, CiphertextBucket)
        assert opened._prefix == "here/"
        assert final_names(opened) == []


def test_without_its_package_a_bucket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.extras.find_spec", lambda name: None)
    settings = make_settings(store=StoreSettings(sealed="s3://bucket"))
    with pytest.raises(ExtraMissing, match="s3"):
        open_ciphertexts(Home(tmp_path), settings, FileLocks(tmp_path / "locks"))
