"""Tokens that were issued: what is shown of them, and how they end."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli import app
from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome, join, member_of
from shared.errors.inputs import NotFound
from shared.errors.trust import RoleNotAllowed, TokenExpired
from shared.member import member_channel
from shared.proto.ricord.v1 import agreement_pb2, site_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.terminal import run_app
from shared.token import Token, TokenKind, secret_digest
from tests.factories.federation import Federation, running_federation


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("tokens")) as running:
        running.curator()
        yield running


@pytest.fixture
def token_command(federation: Federation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `token …` prints with `--json`."""

    def call(*arguments: str) -> Any:
        home = str(federation.home.folder)
        monkeypatch.setattr(sys, "argv", ["program", "--home", home, "token", *arguments, "--json"])
        with pytest.raises(SystemExit):
            run_app(app, "program")
        captured = capsys.readouterr()
        return json.loads((captured.out or captured.err).splitlines()[-1])

    return call


def digest_of(text: str) -> str:
    return secret_digest(Token.parse(text, kind=TokenKind.JOIN).secret)


def test_a_list_says_whose_a_token_is_and_no_secret(federation: Federation, token_command: Any) -> None:
    """Kind, role, subject, end and whether it can be used; nothing by which anybody could join."""
    text = federation.join_token("researcher", "rita")
    rows = {row["digest"]: row for row in token_command("list")}
    row = rows[digest_of(text)]
    assert (row["kind"], row["role"], row["subject"], row["state"]) == ("join", "researcher", "rita", "open")
    assert {row["subject"]: row["state"] for row in rows.values()}["curator"] == "used"
    assert Token.parse(text, kind=TokenKind.JOIN).secret not in json.dumps(list(rows.values()))


def test_a_revoked_token_lets_nobody_in(federation: Federation, token_command: Any, tmp_path: Path) -> None:
    """By a beginning of its digest that one token goes, by a name all that could be used; each is an event."""
    texts = [federation.join_token("curator", "carl") for _ in range(3)]
    digest = digest_of(texts[0])
    assert [row["digest"] for row in token_command("revoke", digest[:12])] == [digest]
    assert len(token_command("revoke", "carl")) == 2
    assert {row["state"] for row in token_command("list") if row["subject"] == "carl"} == {"revoked"}
    for text in texts:
        with pytest.raises(TokenExpired):
            join(CuratorHome(tmp_path / "curator"), text, protocol="ricord")
    with federation.reading() as reading:
        events = [event.object for event in reading.events() if event.action == "token revoked"]
    assert len(events) == 3
    assert digest[:16] in events[0]


@pytest.mark.parametrize("reference", ["carl", "curator", "nobody", "", "zz"])
def test_revoking_nothing_is_an_error(federation: Federation, token_command: Any, reference: str) -> None:
    """A name that is unknown, or whose tokens were used or are over, is refused, and nothing is said to be done."""
    assert token_command("revoke", reference)["error"]["code"] == NotFound().code


def test_a_curator_learns_of_its_agreements_and_of_no_site(federation: Federation) -> None:
    """State, scope and licence of those that are sealed to it; no name of a hospital, nor another curator's."""
    names = [f"Sealing Hospital {number}" for number in range(3)]
    sites = [federation.site(name)[1] for name in names]
    federation.invite("Waiting Hospital")
    federation.suspend(names[1])
    listed = {}
    for name in ("curator", "other"):
        home = CuratorHome(federation.folder / "curator-curator") if name == "curator" else federation.curator(name)
        member, after = member_of(home, load_curator_keys(home.keys)), ""
        rows: list[agreement_pb2.ListSealedAgreementsResponse] = []
        with member_channel(member) as channel:
            while not rows or after:
                request = agreement_pb2.ListSealedAgreementsRequest(after=after, limit=1)
                page = AgreementServiceStub(channel).ListSealedAgreements(request)
                rows, after = [*rows, page], page.next
        with pytest.raises(RoleNotAllowed), member_channel(member) as channel:
            SiteServiceStub(channel).GetSite(site_pb2.GetSiteRequest(reference=names[0]))
        assert not any("Hospital" in str(page) for page in rows)
        listed[name] = [row for page in rows for row in page.agreements]
    assert not listed["other"]
    assert [row.site_id for row in listed["curator"]] == [site.site_id for site in sites]
    states = [agreement_pb2.AgreementState.Name(row.state) for row in listed["curator"]]
    assert [state.rpartition("_")[2] for state in states] == ["EXECUTED", "SUSPENDED", "EXECUTED"]
    assert {(row.scope, row.licence, *row.modalities) for row in listed["curator"]} == {
        ("Chest imaging of one hospital", "CC BY-NC 4.0", "CT", "CR", "DX")
    }
