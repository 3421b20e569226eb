"""What a site withdraws goes at the centre, whatever is killed on the way, and is not sent again."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from typing import Any
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

import coordinator.cli
import site_node.cli
from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import list_opened
from coordinator.curation.passes import run_pass
from shared.durable import write_whole
from shared.errors.agreements import SubmissionWithdrawn
from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import CoordinatorUnreachable
from shared.ids import StudyKey, Uid
from shared.receipt import Receipt
from shared.signed import Signed
from shared.withdrawal import Deletion, Purge
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.withdrawals import Withdrawals
from site_node.membership.record import Membership
from site_node.reasons import reason_for
from site_node.submit.client import submitting
from site_node.submit.states import StatesWatch
from tests.factories.federation import Federation, running_federation, sealed_bytes, sealed_study, submit_and_enter


class Killed(BaseException):
    """Nothing after it is done: no handler of errors sees it."""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation"), database=database) as running:
        running.curator()
        yield running


@pytest.fixture
def curator(federation: Federation) -> CuratorHome:
    return CuratorHome(federation.folder / "curator-curator")


@pytest.fixture
def member(federation: Federation, request: pytest.FixtureRequest) -> tuple[SiteHome, Membership]:
    return federation.site(request.node.name.replace("[", " ").replace("]", ""))


def withdraw(home: SiteHome, *arguments: str) -> Any:
    command = ["--home", str(home.folder), "withdraw", *arguments, "--as", "A. Miller", "--reason", "consent", "--json"]
    result = CliRunner().invoke(site_node.cli.app, command)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.output)


def states(federation: Federation, membership: Membership) -> dict[str, str]:
    with federation.reading() as reading:
        return {row.study: row.state.value for row in reading.submissions(membership.site_id)}


def test_each_level_takes_what_it_names(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """A study, a patient's, all; the receipts of deletion are kept, and the reason stays in the home's audit."""
    home, membership = member
    other = f"{membership.site_id}-000002"
    sealed = [
        sealed_bytes(home, membership, 9, sequence=n, **({"patient": other} if n in {3, 4} else {}))
        for n in range(1, 6)
    ]
    submit_and_enter(*member, *sealed)
    uids = [study.manifest.manifest.study for study in sealed]
    assert len(withdraw(home, sealed[0].key)["deleted"]) == 1
    assert states(federation, membership) == dict(zip(uids, ["withdrawn", *["received"] * 4], strict=True))
    assert len(withdraw(home, "--patient", other)["deleted"]) == 2
    assert states(federation, membership)[uids[1]] == "received"
    assert len(withdraw(home, "--site", "--yes")["deleted"]) == 2
    assert set(states(federation, membership).values()) == {"withdrawn"}
    kept = [Signed.model_validate_json(path.read_bytes()) for path in home.deletions.glob("*.json")]
    deletions = [each.verified(membership.coordinator_key, Deletion, what="x") for each in kept]
    assert {deletion.study for deletion in deletions} == set(uids)
    with closing(Ledger(home.ledger)) as ledger:
        details = [event.detail for event in ledger.events() if event.action == "withdraw"]
        assert details == ["study: consent", "patient: consent", "site: consent"]
        assert ledger.withdrawals.pending() == ()
    assert withdraw(home, "--site", "--yes")["deleted"] == []


def test_everything_is_withdrawn_only_where_a_person_says_so(member: tuple[SiteHome, Membership]) -> None:
    """Without a terminal to ask at, and without `--yes`, nothing is entered."""
    home, _ = member
    with pytest.raises(InvalidArgument, match="nothing is withdrawn"):
        withdraw(home, "--site")
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.withdrawals.pending() == ()


@pytest.mark.parametrize("step", range(10))
def test_a_killed_site_goes_on(
    federation: Federation, member: tuple[SiteHome, Membership], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is withdrawn, or the node ends it: every covered submission has its receipt of deletion here."""
    home, membership = member
    submit_and_enter(*member, *(sealed_bytes(home, membership, 9, sequence=n) for n in (1, 2)))
    left = [step]

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise Killed
            result = act(*args, **kwargs)
            left[0] -= 1
            if left[0] == -1:
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(Withdrawals, "enter", dying(Withdrawals.enter))
        patch.setattr(Withdrawals, "keep", dying(Withdrawals.keep))
        patch.setattr("site_node.submit.withdrawals.write_whole", dying(write_whole))
        withdraw(home, "--site", "--yes")
    with closing(Ledger(home.ledger)) as ledger:
        begun = bool(ledger.events())
        StatesWatch().ask_if_due(home, ledger, membership)
        assert ledger.withdrawals.pending() == ()
    assert set(states(federation, membership).values()) == ({"withdrawn"} if begun else {"received"})
    assert bool(list(home.deletions.glob("*.json"))) == begun


def test_what_was_sent_meanwhile_is_withdrawn_too(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """A study of a withdrawn patient that was on its way; the site's ledger names it, and the node withdraws it."""
    home, membership = member
    patient = f"{membership.site_id}-000001"
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.patients.number(b"token") == 1
    assert withdraw(home, "--patient", patient)["deleted"] == []
    sealed = sealed_bytes(home, membership, 9)
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.withdrawals.covers(*sealed.named)
    submit_and_enter(*member, sealed)
    with closing(Ledger(home.ledger)) as ledger:
        StatesWatch().ask_if_due(home, ledger, membership)
    assert set(states(federation, membership).values()) == {"withdrawn"}


@pytest.mark.parametrize("submitted", [False, True])
def test_a_centre_that_is_away_delays_it_only(
    federation: Federation, member: tuple[SiteHome, Membership], monkeypatch: pytest.MonkeyPatch, *, submitted: bool
) -> None:
    """It is entered, with its event, before anything is asked; the node withdraws the rest at the centre later."""
    home, membership = member
    sealed = sealed_bytes(home, membership, 9)
    if submitted:
        submit_and_enter(*member, sealed)
    kept = home.library / sealed.manifest.manifest.study
    kept.mkdir()
    away = Mock(side_effect=CoordinatorUnreachable(address="127.0.0.1:1"))
    with monkeypatch.context() as patch, pytest.raises(CoordinatorUnreachable) if submitted else nullcontext():
        patch.setattr("site_node.commands.withdraw.fetch_states", away)
        patch.setattr("site_node.submit.withdrawals.member_channel", away)
        withdraw(home, "--site", "--yes")
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.withdrawals.covers(*sealed.named)
        assert [event.action for event in ledger.events()] == ["withdraw", "library-clear"]
        assert ledger.events()[0].detail == "site: consent"
        assert not kept.exists()
        StatesWatch().ask_if_due(home, ledger, membership)
        assert ledger.withdrawals.pending() == ()
    assert set(states(federation, membership).values()) == ({"withdrawn"} if submitted else set())


def test_what_was_never_sent_may_come_again_too(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """A study that was withdrawn before it was sent has no images here once that is allowed, so it can come anew.

    Likewise one that waited, validated, and left the library.
    """
    home, keys = member[0], {StudyKey("a" * 32): "withdrawn", StudyKey("b" * 32): "rejected-in-review"}
    waits = [StudyKey("c" * 32), StudyKey("d" * 32)]
    with closing(Ledger(home.ledger)) as ledger:
        for number, key in enumerate(waits):
            ledger.add_study(key, ["waits"], state=State.DEIDENTIFIED)
            ledger.advance(key, State.VALIDATED, study=Uid(f"1.2.{number}"))
        for key, why in keys.items():
            ledger.add_study(key, [why], state=State.EXCLUDED, reasons=(reason_for(why),))
    withdraw(home, "--site", "--yes")
    (home.library / "1.2.1").mkdir()
    assert withdraw(home, "--site", "--allow") == {"allowed": []}
    with closing(Ledger(home.ledger)) as ledger:
        assert [ledger.names(key) for key in waits] == [set(), {"waits"}]
        assert [ledger.names(key) for key in keys] == [set(), {"rejected-in-review"}]


def test_what_nobody_knows_is_an_error(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """At either side, and nothing is entered; the sentence says which name is meant and where it is shown."""
    home, membership = member
    unknown = f"{membership.site_id}-000009"
    with pytest.raises(NotFound, match=f"no patient with the pseudonym {unknown}") as caught:
        withdraw(home, "--patient", unknown)
    assert caught.value.exit_code is ExitCode.USAGE
    for study, error in (("2.25.99", NotFound), ("MRN-1", InvalidArgument)):
        with pytest.raises(error, match="new UID as `ricord-site submission list` shows it"):
            withdraw(home, study)
    with closing(Ledger(home.ledger)) as ledger:
        assert ledger.events() == ()
    operator = ["--home", str(federation.home.folder), "submission", "withdraw"]
    for option, name in (("--patient", unknown), ("--study", "2.25.99"), ("--site-id", membership.site_id)):
        result = CliRunner().invoke(coordinator.cli.app, [*operator, option, name])
        assert isinstance(result.exception, NotFound)


def test_it_is_sent_again_once_allowed(federation: Federation, member: tuple[SiteHome, Membership]) -> None:
    """The same contents are refused until then; after it the study has no images here, so that they can come anew."""
    home, membership = member
    sealed = sealed_bytes(home, membership, 9)
    data = sealed.ciphertext.read_bytes()
    submit_and_enter(*member, sealed)
    withdraw(home, sealed.key)
    receipt = home.receipts / f"{sealed.manifest.manifest.contents_sha256}.json"
    sealed.ciphertext.write_bytes(data)
    old = receipt.read_bytes()
    receipt.unlink()
    with pytest.raises(SubmissionWithdrawn), submitting(home, membership) as submit:
        submit(sealed)
    receipt.write_bytes(old)
    assert withdraw(home, sealed.key, "--allow") == {"allowed": [sealed.manifest.manifest.submission]}
    with closing(Ledger(home.ledger)) as ledger:
        entry = ledger.study(StudyKey(sealed.key))
        assert (entry.state, entry.lead, ledger.names(entry.key)) == (State.EXCLUDED, "withdrawn", frozenset())
        assert not ledger.withdrawals.covers(*sealed.named)
    assert (home.deletions / receipt.name).read_bytes() == old
    with submitting(home, membership) as submit:
        submit(sealed)
    assert set(states(federation, membership).values()) == {"received"}
    again = Receipt.model_validate_json(Signed.model_validate_json(receipt.read_bytes()).document)
    assert again.audit_number > Receipt.model_validate_json(Signed.model_validate_json(old).document).audit_number


@pytest.mark.parametrize("killed", [False, True])
def test_a_curator_purges_and_says_so(
    federation: Federation,
    curator: CuratorHome,
    member: tuple[SiteHome, Membership],
    monkeypatch: pytest.MonkeyPatch,
    *,
    killed: bool,
) -> None:
    """Whole studies and single images; also where it was killed before it could say so; the rest stays open."""
    home, membership = member
    names = [f"{killed}-{n}" for n in (1, 2)]
    whole, part = (sealed_study(home, membership, sequence=n, study=name) for n, name in enumerate(names, 1))
    submit_and_enter(*member, whole, part)
    run_pass(curator, None)
    folder = curator.opened / membership.site_id
    image = next(
        iter(study for study in list_opened(curator.opened) if study.submission == part.manifest.manifest.submission)
    )
    uid = image.instances[0].stem
    withdraw(home, whole.key)
    withdraw(home, part.key, "--instance", uid)
    if killed:
        with monkeypatch.context() as patch, suppress(Killed):

            def dies(*_: object, **__: object) -> None:
                raise Killed

            patch.setattr("coordinator.curation.purging.shutil.rmtree", dies)
            run_pass(curator, None)
    run_pass(curator, None)
    assert not (folder / whole.manifest.manifest.study).exists()
    (rest,) = [study for study in list_opened(curator.opened) if study.folder.parent == folder]
    assert (len(rest.instances), (folder / rest.folder / f"{uid}.dcm").exists()) == (2, False)
    assert all(path.exists() for path in rest.instances)
    with federation.reading() as reading:
        rows = reading.withdrawals(site_id=membership.site_id)
    for row in rows:
        assert row.purge is not None
        assert Purge.model_validate_json(row.purge.document).submission == row.submission
    again = sealed_study(home, membership, sequence=3, study=names[1], slices=4)
    with submitting(home, membership) as submit:
        submit(again)
    command = ["--home", str(curator.folder), "curate", "open", again.manifest.manifest.submission, "--json"]
    result = CliRunner().invoke(coordinator.cli.app, command)
    assert json.loads(result.output)["failed"][0]["code"] == "submission-withdrawn"
