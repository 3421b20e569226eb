"""What a curator decides on a study, the site that sent it sees with the reasons, if the curator signed it."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from typer.testing import CliRunner

import coordinator.cli
import site_node.cli
from coordinator.curation.deciding import Decider
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import list_opened
from coordinator.curation.passes import run_pass
from coordinator.home.init import open_home_store
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import StoreUnreachable
from shared.ids import Sha256
from shared.signed import Signed
from shared.submission_state import SubmissionState
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.membership.record import Membership
from site_node.submit.client import submitting
from site_node.submit.comparison import own_rows
from site_node.submit.states import UNSIGNED, StatesWatch
from tests.factories.federation import Federation, running_federation, sealed_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture
def curator(federation: Federation) -> CuratorHome:
    return CuratorHome(federation.folder / "curator-curator")


@pytest.fixture
def submitted(federation: Federation, request: pytest.FixtureRequest) -> tuple[SiteHome, Membership, list[Sha256]]:
    """A site that submitted three studies, and their ids."""
    home, member = federation.site(request.node.name)
    studies = [sealed_study(home, member, sequence=n, slices=4, study=f"{request.node.name}-{n}") for n in (1, 2, 3)]
    with submitting(home, member) as submit:
        for study in studies:
            submit(study)
    return home, member, [study.manifest.manifest.submission for study in studies]


def curate(curator: CuratorHome, *arguments: str) -> Any:
    result = CliRunner().invoke(coordinator.cli.app, ["--home", str(curator.folder), "curate", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


BY = ("--as", "A. Miller")


def seen(home: SiteHome) -> dict[str, tuple[str, str]]:
    """State and reasons of each submission, as the site's command prints them."""
    result = CliRunner().invoke(site_node.cli.app, ["--home", str(home.folder), "submission", "list", "--json"])
    return {row["submission"]: (row["state"], row["reasons"]) for row in json.loads(result.output)}


def test_a_study_goes_from_received_to_decided(
    curator: CuratorHome, submitted: tuple[SiteHome, Membership, list[Sha256]]
) -> None:
    """Each step is seen by the next list, and `status` counts states and reasons without asking."""
    home, _, (first, second, third) = submitted
    assert seen(home) == dict.fromkeys((first, second, third), ("received", ""))
    curate(curator, "open", first, second)
    assert seen(home) == {first: ("quarantined", ""), second: ("quarantined", ""), third: ("received", "")}
    assert all(study.arrival.scope and study.arrival.scope.modalities for study in list_opened(curator.opened))
    curate(curator, "review", "mark", first[:20], "good", *BY)
    curate(curator, "review", "confirm", first[:20], *BY)
    curate(curator, "review", "reject", second, *BY, "--reason", "wrong laterality", "--reason", "see mail")
    curate(curator, "reject", third, "--reason", "wrong laterality", "--reason", "see mail")
    why = "wrong laterality; see mail"
    assert seen(home) == {first: ("accepted", ""), second: ("rejected", why), third: ("rejected", why)}
    result = CliRunner().invoke(site_node.cli.app, ["--home", str(home.folder), "status", "--json"])
    assert json.loads(result.output)["at_centre"] == {
        "accepted": {"total": 1, "reasons": {}},
        "rejected": {"total": 2, "reasons": {"wrong laterality": 2, "see mail": 2}},
    }


def test_what_is_not_open_is_not_accepted(
    curator: CuratorHome, submitted: tuple[SiteHome, Membership, list[Sha256]]
) -> None:
    """A curator accepts what it has looked at; a reason that does not fit is said before anything is sent."""
    home, _, (first, *_) = submitted
    command = ["--home", str(curator.folder), "curate"]
    for arguments, error in (
        (["review", "mark", first, "good", *BY], NotFound),
        (["review", "confirm", first, *BY], NotFound),
        (["reject", first, "--reason", "x" * 101], InvalidArgument),
    ):
        assert isinstance(CliRunner().invoke(coordinator.cli.app, [*command, *arguments]).exception, error)
    assert seen(home)[first] == ("received", "")


def test_a_decision_that_could_not_be_sent_is_sent_by_the_next_pass(
    curator: CuratorHome, submitted: tuple[SiteHome, Membership, list[Sha256]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person decided stands in the register before it is sent, and reaches the site after a failure."""
    home, _, (first, *_) = submitted
    curate(curator, "open", first)
    curate(curator, "review", "mark", first, "good", *BY)

    def fails(*_: object) -> None:
        raise StoreUnreachable(kind="database", setting="store")

    with monkeypatch.context() as patch:
        patch.setattr(Decider, "decide", fails)
        command = ["--home", str(curator.folder), "curate", "review", "confirm", first, *BY]
        assert isinstance(CliRunner().invoke(coordinator.cli.app, command).exception, StoreUnreachable)
    assert seen(home)[first] == ("quarantined", "")
    curate(curator, "open", "--all")
    assert seen(home)[first] == ("accepted", "")
    curate(curator, "review", "quarantine", first, *BY, "--reason", "a second look")
    assert seen(home)[first] == ("quarantined", "a second look")


def test_a_decision_on_what_was_withdrawn_is_dropped(
    federation: Federation,
    curator: CuratorHome,
    submitted: tuple[SiteHome, Membership, list[Sha256]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A decision that the coordinator refuses for good is noted in the log, and asked no second time."""
    _, _, (first, *_) = submitted
    curate(curator, "open", first)
    curate(curator, "review", "mark", first, "good", *BY)
    with monkeypatch.context() as patch:
        patch.setattr("coordinator.commands.curate_review.send_decisions", lambda *_: 0)
        curate(curator, "review", "confirm", first, *BY)
    command = ["--home", str(federation.home.folder), "submission", "withdraw", first]
    assert CliRunner().invoke(coordinator.cli.app, command).exit_code == 0
    curate(curator, "open", "--all")
    log = json.loads(curate(curator, "review", "log", "--json"))
    sent = [(each["action"], each["result"]) for each in log["events"] if each["object"] == first]
    assert ("send accepted", "refused: submission-transition-invalid") in sent
    assert log["intact"]
    curate(curator, "open", "--all")
    assert len(json.loads(curate(curator, "review", "log", "--json"))["events"]) == len(log["events"])


def test_a_pass_says_what_an_earlier_one_could_not(
    curator: CuratorHome, submitted: tuple[SiteHome, Membership, list[Sha256]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that lies open is said to be, also where the coordinator failed after it was opened."""
    home, _, (first, *_) = submitted

    def fails(*_: object) -> None:
        raise StoreUnreachable(kind="database", setting="store")

    with monkeypatch.context() as patch:
        patch.setattr(Decider, "note_open", fails)
        assert not run_pass(curator, [first]).whole
    assert seen(home)[first] == ("received", "")
    assert run_pass(curator, None).whole
    assert set(seen(home).values()) == {("quarantined", "")}


def test_a_state_that_the_curator_did_not_sign_says_so(
    federation: Federation, curator: CuratorHome, submitted: tuple[SiteHome, Membership, list[Sha256]]
) -> None:
    """A coordinator cannot accept or reject in the curator's name: not with a forged, another's or no decision."""
    home, member, (first, second, third) = submitted
    curate(curator, "reject", second, "--reason", "blurred")
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        rejected = work.submission(second)
        assert rejected is not None
        assert rejected.decision is not None
        forged = Signed(document=rejected.decision.document.replace("blurred", "perfect"), signature="AAAA")
        for row, state, decision in (
            (first, SubmissionState.REJECTED, rejected.decision),
            (second, SubmissionState.REJECTED, forged),
            (third, SubmissionState.ACCEPTED, None),
        ):
            stored = work.submission(row)
            assert stored is not None
            changed = work.append_event(at=federation.time(), actor="a", action="b", about=row).number
            changes = {"state": state, "decision": decision, "changed": changed}
            work.put_submission(stored.model_copy(update=changes))
    store.close()
    with closing(Ledger(home.ledger)) as ledger:
        StatesWatch().ask_if_due(home, ledger, member)
        assert {each.submission: each.reasons for each in ledger.submissions.all()} == dict.fromkeys(
            (first, second, third), UNSIGNED
        )


def test_a_watch_asks_for_what_changed_and_not_at_every_pass(
    curator: CuratorHome,
    submitted: tuple[SiteHome, Membership, list[Sha256]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node asks once in ten minutes, after the last change that it knows; what fails, it asks again."""
    home, member, (first, *_) = submitted
    asked = list[int]()

    def noting(membership: Membership, *, after: int, by_change: bool) -> Any:
        asked.append(after)
        return own_rows(membership, after=after, by_change=by_change)

    monkeypatch.setattr("site_node.submit.states.own_rows", noting)
    with closing(Ledger(home.ledger)) as ledger:
        watch = StatesWatch()
        for _ in range(2):
            watch.ask_if_due(home, ledger, member)
        known = ledger.submissions.last_change()
        curate(curator, "reject", first, "--reason", "blurred")
        StatesWatch().ask_if_due(home, ledger, member)
        assert asked == [0, known]
        assert ledger.submissions.all()[-1].reasons == ("blurred",)
