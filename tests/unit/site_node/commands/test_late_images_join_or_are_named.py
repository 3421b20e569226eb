"""A CT comes in two bursts: its few first positions are excluded, and the rest comes a pause later."""

import json
from pathlib import Path

import pytest

from tests.factories.dicom import make_ct, write_file
from tests.unit.site_node.commands.conftest import Run


@pytest.mark.parametrize(
    ("grow_minutes", "expected"),
    [("10.0", {"waiting": 8}), ("0.0", {"excluded": 2, "quarantined": 6})],
)
def test_late_images_join_or_are_named(run: Run, tmp_path: Path, grow_minutes: str, expected: dict[str, int]) -> None:
    """Within the time that `site.toml` sets they join their study; later each is quarantined, and counted as that."""
    home = tmp_path / "home"
    assert run("--home", home, "init", "--name", "General")[0] == 0
    settings = (home / "site.toml").read_text()
    assert "grow_minutes = 10.0" in settings
    (home / "site.toml").write_text(settings.replace("grow_minutes = 10.0", f"grow_minutes = {grow_minutes}"))
    for number, dataset in enumerate(make_ct(slices=8)):
        write_file(dataset, tmp_path / ("first" if number < 2 else "rest") / f"{number}.dcm")
    for burst in ("first", "rest"):
        run("--home", home, "receive", tmp_path / burst)
        if burst == "first":
            run("--home", home, "screen")
            assert json.loads(run("--home", home, "status", "--json")[1])["excluded"]["reasons"] == {"few-positions": 1}
    status = json.loads(run("--home", home, "status", "--json")[1])
    assert {place: count for place, count in status["instances"].items() if count} == expected
    originals = len(list((home / "spool").rglob("*.dcm")))
    assert originals == expected.get("waiting", 0)
    assert len(list((home / "quarantine").rglob("*.dcm"))) == expected.get("quarantined", 0)


def test_a_key_that_names_nothing_to_retry_is_one_sentence(run: Run, tmp_path: Path) -> None:
    """The command runs nothing then."""
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    code, _, text = run("--home", tmp_path / "home", "run", "--once", "--retry", "0" * 32)
    assert (code, "refused or defective study" in text) == (2, True)
