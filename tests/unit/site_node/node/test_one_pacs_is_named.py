"""The settings name one PACS, over DIMSE or the web, that can send where it is asked to."""

from pathlib import Path

import pytest

from shared.errors.settings import InvalidSetting
from site_node.home.folder import init_home
from site_node.node.acquisition import Acquisition
from site_node.pseudonyms.names import KeyedNames
from site_node.settings.dicomweb import DicomwebSettings
from site_node.settings.dimse import PacsSettings, ScpSettings


@pytest.fixture
def acquisition(tmp_path: Path) -> Acquisition:
    home = init_home(tmp_path / "home", name="General")
    return Acquisition(home, home.load(), KeyedNames(home.pseudonym_key.read_bytes()))


@pytest.mark.parametrize("web", [None, DicomwebSettings(url="https://pacs.example/web")], ids=["", "web"])
@pytest.mark.parametrize("scp", [None, ScpSettings(port=11112, callers=["PACS"])], ids=["", "scp"])
@pytest.mark.parametrize("method", ["", "get", "move"])
def test_sections_that_name_no_pacs_or_two_stop_the_start(
    acquisition: Acquisition, web: DicomwebSettings | None, scp: ScpSettings | None, method: str
) -> None:
    """One of `[pacs]` and `[dicomweb]`; to have images sent to us needs `[scp]`. The error names file and section."""
    pacs = (
        PacsSettings.model_validate({"host": "x", "port": 104, "ae_title": "P", "method": method}) if method else None
    )
    settings = acquisition.settings.model_copy(update={"pacs": pacs, "dicomweb": web, "scp": scp})
    asked = Acquisition(acquisition.home, settings, acquisition.names)
    wrong = "dicomweb" if web and pacs else "pacs" if not web and not pacs else ""
    wrong = wrong or ("pacs.method" if pacs and method == "move" and scp is None else "")
    if not wrong:
        assert asked.pacs_settings() == (web or pacs)
        return
    with pytest.raises(InvalidSetting) as refused:
        asked.pacs()
    assert refused.value.fields["key"] == wrong
    assert refused.value.fields["file"] == str(acquisition.home.settings_file)
