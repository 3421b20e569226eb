"""The README for hospitals names commands that exist."""

import re
from pathlib import Path

import click
import pytest
import typer

from site_node.cli import app
from site_node.home.folder import SiteHome
from site_node.settings.site import SiteSettings

README = Path(__file__).resolve().parents[4] / "site_node" / "README.md"


def readme_commands() -> list[list[str]]:
    return [line.split("#")[0].split() for line in re.findall(r"^ricord-site (.+)$", README.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("words", readme_commands(), ids=" ".join)
def test_every_command_of_the_readme_exists_with_its_options(words: list[str]) -> None:
    command: click.Command = typer.main.get_command(app)
    while words and isinstance(command, click.Group):  # a group may do something without a verb
        verb = command.get_command(click.Context(command), words.pop(0))
        assert verb is not None
        command = verb
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_folder_of_the_home_is_explained(tmp_path: Path) -> None:
    text = README.read_text()
    home = SiteHome(tmp_path)
    for path in (home.spool, home.library, home.outbox, home.receipts, home.reports, home.quarantine, home.clinical):
        assert f"`{path.name}/`" in text
    assert "`delete_originals`" in text
    assert "delete_originals" in SiteSettings.model_fields
