"""What an operator typed wrong is named by its option, and what was meant is offered."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.operator.drafts import end_of
from shared.errors.base import RicordError
from shared.proto.ricord.v1 import agreement_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from tests.factories.federation import Federation, running_federation

Command = Callable[..., Any]
ANSWERS = """name,country,modalities,studies,modes,clinical_data,ethics
Answering Hospital,DE,CT;CR,1200,submit,yes,approved
"""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("options")) as running:
        running.curator()
        yield running


@pytest.fixture
def command(federation: Federation) -> Command:
    """What a command prints; raises the error that it met."""

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["--home", str(federation.home.folder), *arguments])
        if isinstance(result.exception, RicordError):
            raise result.exception
        return result.output

    return call


def test_a_text_and_a_file_of_it_are_not_both_given(federation: Federation, command: Command, tmp_path: Path) -> None:
    """Neither is left out silently; the file alone is the scope, and without both the usual words are."""
    federation.invite("Described")
    file = tmp_path / "exhibit.txt"
    file.write_text("Chest CT at length", encoding="utf-8")
    draft = ("agreement", "draft", "Described", "--curator", "curator", "--json")
    with pytest.raises(RicordError, match="--scope-file"):
        command(*draft, "--scope", "Chest CT", "--scope-file", str(file))
    by_file, usual = command(*draft, "--scope-file", str(file)), command(*draft)
    assert json.loads(by_file)["terms"]["scope"]["description"] == "Chest CT at length"
    assert "COVID-19" in json.loads(usual)["terms"]["scope"]["description"]


def test_an_earlier_site_id_that_is_none_is_named(federation: Federation, command: Command) -> None:
    """The sentence says which of the many options is meant."""
    federation.invite("Earlier")
    with pytest.raises(RicordError, match=r"earlier_site_ids .* six digits"):
        command("agreement", "draft", "Earlier", "--curator", "curator", "--earlier-site-ids", "abc")


def test_a_name_in_another_case_is_offered_as_it_is_written(federation: Federation, command: Command) -> None:
    """For whatever names a hospital; another name is offered nothing."""
    federation.invite("Großes Hospital")
    for verb in (("agreement", "show"), ("agreement", "suspend"), ("site", "show"), ("site", "revoke")):
        with pytest.raises(RicordError, match="there is `Großes Hospital`"):
            command(*verb, "grosses HOSPITAL")
    with pytest.raises(RicordError, match=r"There is no site Kleines\.$"):
        command("site", "show", "Kleines")


def test_a_reinstated_agreement_keeps_its_last_day(federation: Federation, command: Command) -> None:
    """Unless another is given, or, with nothing between the quotes, none; a day that is over must be replaced."""
    name, last_day = "Ending", f"{datetime.now(UTC) + timedelta(days=400):%Y-%m-%d}"
    federation.site(name)
    command("agreement", "renew", name, "--expires", last_day)
    with federation.operator() as channel:
        request = agreement_pb2.TerminateAgreementRequest(reference=name)
        AgreementServiceStub(channel).TerminateAgreement(request)

    def offered(*options: str) -> Any:
        answer = json.loads(command("agreement", "reinstate", name, *options, "--json"))
        return answer["agreement"]["amendment_terms"]["expires_at"]

    assert offered() is None
    assert f"Its last day is {last_day}" in command("agreement", "reinstate", name, "--expires", last_day)
    assert str(offered("--expires", last_day)).startswith(f"{end_of(last_day):%Y-%m-%d}")
    assert str(offered()).startswith(f"{end_of(last_day):%Y-%m-%d}")
    assert offered("--expires", "") is None
    soon = datetime.now(UTC) + timedelta(seconds=5)  # so long that the command, on a busy machine, comes before
    offered("--expires", soon.isoformat())
    time.sleep((soon - datetime.now(UTC)).total_seconds() + 0.01)
    with pytest.raises(RicordError, match="--expires"):
        offered()


def test_a_persons_pages_fit_eighty_columns(
    federation: Federation, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer to the open call is a table of words, and the audit log breaks neither a name nor a day."""
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / "answers.csv"
    file.write_text(ANSWERS, encoding="utf-8")
    command("site", "survey", "import", str(file))
    shown = command("site", "show", "Answering Hospital")
    assert all(word in shown for word in ("CT, CR", "1200", "clinical data", "yes", "approved"))
    assert "{" not in shown
    log = command("audit", "list")
    assert "spiffe" not in log
    assert all(f" {word} " in log for word in ("operator", "curator", f"{datetime.now(UTC):%Y-%m-%d}"))
