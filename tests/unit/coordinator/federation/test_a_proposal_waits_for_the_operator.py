"""What a researcher proposes waits until an operator decides; nobody else sees it, and it ends with the researcher."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.federation.proposals import ProposalService
from coordinator.federation.registry import StoredNodes
from coordinator.federation.service import FederationService
from coordinator.store.records import Run, RunState
from shared.crypto.pki import Role, make_csr
from shared.crypto.signing import SigningKey
from shared.errors.agreements import AgreementModeNotAllowed
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid, RunFailed, RunNotProposed
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.trust import CertificateExpired, CertificateForeign, SignatureInvalid
from shared.federation.plan import PlanRequest, Proposal, verify_plan
from shared.federation.proposal import check_asked, propose
from shared.ids import RunId, SiteId
from tests.factories.parties import ACTOR, Coordinator, enrolment, founded
from tests.factories.registered import add_site

SITES = [SiteId(str(200000 + n)) for n in range(4)]


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """With four sites that may count, three of which may train."""
    with founded(tmp_path_factory.mktemp("coordinator")) as made:
        for site in SITES:
            add_site(made.store, made.identity.signing_key, site, SigningKey.generate())
        yield made


class Researcher:
    """One who is enrolled, and what they sign."""

    def __init__(self, coordinator: Coordinator, name: str) -> None:
        self.name, self.key, self.tls = name, SigningKey.generate(), ec.generate_private_key(ec.SECP256R1())
        self._coordinator = coordinator
        self.enrol()

    def enrol(self) -> None:
        """A new certificate."""
        issued = self._coordinator.members.join_token(Role.RESEARCHER, self.name, actor=ACTOR)
        secret, csr = issued.token.secret, make_csr(self.tls)
        signed = enrolment(self.key, secret, csr=csr)
        member = self._coordinator.enrolment.enrol(secret, csr, signed, self.key.public.text)
        self.certificate = member.certificate

    def asks(self, **changes: object) -> Proposal:
        """A signed request."""
        fields: dict[str, object] = {"purpose": "statistics", "aim": "How many?", "statistics": {"cohort": "ricord"}}
        named = {"researcher": self.name, "run": RunId.random()}
        request = PlanRequest.model_validate({**fields, **named, **changes})
        return propose(request, key=self.key, tls=self.tls, certificate=self.certificate)


@pytest.fixture(scope="module")
def rita(coordinator: Coordinator) -> Researcher:
    return Researcher(coordinator, "rita")


@pytest.fixture(scope="module")
def carl(coordinator: Coordinator) -> Researcher:
    return Researcher(coordinator, "carl")


@pytest.fixture
def proposals(coordinator: Coordinator) -> ProposalService:
    return ProposalService(coordinator.store, coordinator.identity, StoredNodes(coordinator.store), coordinator.time)


@pytest.fixture
def runs(coordinator: Coordinator) -> FederationService:
    nodes = StoredNodes(coordinator.store)
    return FederationService(coordinator.store, coordinator.identity, fleet_address="127.0.0.1:3", nodes=nodes)


def last_events(coordinator: Coordinator, count: int = 1) -> list[tuple[str, str, str, str]]:
    with coordinator.store.read() as reading:
        events = reading.events(reading.log_size() - count)
    return [(event.actor, event.action, event.object, event.result) for event in events]


def test_it_is_kept_and_starts_nothing(coordinator: Coordinator, proposals: ProposalService, rita: Researcher) -> None:
    """Nothing is signed, no site is asked; the same proposal again is the same run, and one event."""
    proposal = rita.asks()
    run = proposals.propose(proposal, researcher="rita")
    assert (run.state, run.signed, run.actor) == ("proposed", "", "researcher/rita")
    assert last_events(coordinator) == [("researcher/rita", "run statistics proposed", run.id, "done")]
    assert proposals.propose(proposal, researcher="rita") == run
    with coordinator.store.read() as reading:
        assert [each.id for each in reading.runs("proposed", actor="researcher/rita")].count(run.id) == 1
        assert run not in reading.runs("pending")


def test_once_approved_the_plan_is_what_was_signed(
    coordinator: Coordinator, proposals: ProposalService, rita: Researcher, tmp_path: Path
) -> None:
    """Over the sites that may take part now; each of them can check who asked for what."""
    (tmp_path / "root.pem").write_bytes(coordinator.identity.root)
    chosen = rita.asks(sites=SITES[2:0:-1] + SITES[3:])
    for proposal, roster in ((rita.asks(), SITES), (chosen, SITES[1:])):
        run = proposals.propose(proposal, researcher="rita")
        approved = proposals.approve(run.id[:8], actor=ACTOR)
        assert (approved.state, approved.actor) == ("pending", "researcher/rita")
        plan = verify_plan(approved.signed, coordinator.identity.signing_key.public)
        check_asked(plan, tmp_path / "root.pem")
        assert (plan, list(plan.roster)) == (approved.plan, roster)
        assert last_events(coordinator) == [(ACTOR, "run approved", run.id, "done")]


def test_declined_it_ends_for_a_reason(coordinator: Coordinator, proposals: ProposalService, rita: Researcher) -> None:
    """The researcher reads why, and the audit log keeps it; then nothing more is decided."""
    run = proposals.propose(rita.asks(), researcher="rita")
    declined = proposals.decline(run.id, "  Ask the\nethics committee ", actor=ACTOR)
    assert (declined.state, declined.problem) == ("declined", "Ask the ethics committee")
    assert last_events(coordinator) == [(ACTOR, "run declined", run.id, "Ask the ethics committee")]
    with pytest.raises(RunNotProposed, match="is declined"):
        proposals.approve(run.id, actor=ACTOR)
    with pytest.raises(RunNotProposed, match="is declined"):
        proposals.decline(run.id, "Twice", actor=ACTOR)


@pytest.mark.parametrize("reason", ["", " \n", "x" * 301, "a\x00b"])
def test_a_reason_is_a_sentence(proposals: ProposalService, rita: Researcher, reason: str) -> None:
    """An empty one, a very long one and one that no terminal shows are none."""
    run = proposals.propose(rita.asks(), researcher="rita")
    with pytest.raises(InvalidArgument):
        proposals.decline(run.id, reason, actor=ACTOR)


@pytest.mark.parametrize(
    ("asked", "error", "named"),
    [
        ({"statistics": {"cohort": "another"}}, PlanInvalid, "cohort is `ricord`"),
        ({"statistics": {"cohort": "ricord", "policy": "none"}}, InvalidArgument, "policy"),
        (
            {"purpose": "training", "statistics": None, "training": {"label": "age"}},
            PlanInvalid,
            "`age` is not a yes/no field",
        ),
        ({"purpose": "training", "statistics": None, "training": {"model": "huge"}}, PlanInvalid, "no model"),
        ({"minimum_sites": 5}, PlanInvalid, "fewer than the minimum of 5"),
        ({"sites": [*SITES[:3], "999999"]}, AgreementModeNotAllowed, "statistics"),
        ({"aim": ""}, PlanInvalid, "aim"),
        ({"researcher": "carl"}, SignatureInvalid, "request"),
    ],
)
def test_what_cannot_run_is_refused_at_once(
    proposals: ProposalService, rita: Researcher, asked: dict[str, object], error: type[RicordError], named: str
) -> None:
    """No operator sees it; the sentence names what is wrong."""
    with pytest.raises(error, match=named):
        proposals.propose(rita.asks(**asked), researcher="rita")


def test_a_proposal_is_its_researchers_own(proposals: ProposalService, rita: Researcher, carl: Researcher) -> None:
    """Nobody proposes for another, under a key that was not registered, or in the place of a run that is there."""
    for proposal, name in (
        (rita.asks(), "carl"),
        (propose_with(rita, SigningKey.generate()), "rita"),
    ):
        with pytest.raises(SignatureInvalid):
            proposals.propose(proposal, researcher=name)
    run = proposals.propose(rita.asks(), researcher="rita")
    for asked, name in ((carl.asks(run=run.id), "carl"), (rita.asks(run=run.id, aim="Else?"), "rita")):
        with pytest.raises(PlanInvalid, match="a run of that name"):
            proposals.propose(asked, researcher=name)


def propose_with(researcher: Researcher, key: SigningKey) -> Proposal:
    request = PlanRequest.model_validate_json(researcher.asks().signed.document)
    return propose(request, key=key, tls=researcher.tls, certificate=researcher.certificate)


def test_only_the_researcher_and_the_operator_see_a_run(
    proposals: ProposalService, runs: FederationService, rita: Researcher, carl: Researcher
) -> None:
    """For anybody else it does not exist, by its id, a beginning, in a list, or as what a list goes on after."""
    hers, his = proposals.propose(rita.asks(), researcher="rita"), proposals.propose(carl.asks(), researcher="carl")
    assert runs.run(hers.id, asker="researcher/rita") == runs.run(hers.id) == hers
    assert [run.id for run in runs.runs(asker="researcher/carl")[0]][-1:] == [his.id]
    assert {run.actor for run in runs.runs(asker="researcher/rita")[0]} == {"researcher/rita"}
    assert {hers.id, his.id} <= {run.id for run in runs.runs()[0]}
    lookups: list[Callable[[], Any]] = [
        lambda: runs.run(hers.id, asker="researcher/carl"),
        lambda: runs.run(hers.id[:13], asker="researcher/carl"),
        lambda: runs.runs(after=hers.id, asker="researcher/carl"),
        lambda: list(runs.watch(hers.id, asker="researcher/carl", wanted=lambda: True)),
        lambda: runs.run(hers.id, asker="curator/carla"),
    ]
    for lookup in lookups:
        with pytest.raises(NotFound):
            lookup()


@pytest.mark.parametrize("operators", [{"researcher": "rita"}, {"run": "R-0123456789ab"}])
def test_the_operator_asks_in_nobodys_name(runs: FederationService, operators: dict[str, str]) -> None:
    """Without a researcher's signature there is no researcher; a run's name is always drawn."""
    request = PlanRequest.model_validate({"purpose": "statistics", "statistics": {"cohort": "ricord"}, **operators})
    if "researcher" in operators:
        with pytest.raises(PlanInvalid, match="proposal"):
            runs.start_run(request.model_dump_json().encode(), actor=ACTOR)
    else:
        assert runs.start_run(request.model_dump_json().encode(), actor=ACTOR).id != operators["run"]


def test_a_watch_sees_each_change_until_the_end(
    coordinator: Coordinator, proposals: ProposalService, runs: FederationService, rita: Researcher
) -> None:
    """At once, and no more once nobody wants it."""
    run = proposals.propose(rita.asks(), researcher="rita")
    watch = runs.watch(run.id, asker="researcher/rita", wanted=lambda: True)
    assert next(watch).state == "proposed"
    proposals.approve(run.id, actor=ACTOR)
    assert next(watch).state == "pending"
    runs.stop_run(run.id, actor=ACTOR)
    assert [each.problem for each in watch] == ["it was stopped"]
    again = proposals.propose(rita.asks(), researcher="rita")
    assert len(list(runs.watch(again.id, wanted=lambda: False))) == 1


STATES: list[tuple[RunState, RunState]] = [
    ("proposed", "declined"),
    ("pending", "failed"),
    ("running", "stopping"),
    ("done", "done"),
]


def test_with_a_revoked_certificate_everything_ends_by_name(
    coordinator: Coordinator, proposals: ProposalService, runs: FederationService, carl: Researcher
) -> None:
    """What was proposed is declined, what waits or runs is stopped, and each says why; what is done stays."""
    wilma = Researcher(coordinator, "wilma")
    kept = proposals.propose(carl.asks(), researcher="carl")
    made = dict[RunState, Run]()
    for state, _ in STATES:
        made[state] = proposals.propose(wilma.asks(), researcher="wilma").model_copy(update={"state": state})
        with coordinator.store.begin() as work:
            work.put_run(made[state])
    waiting = wilma.asks()
    coordinator.members.revoke(Role.RESEARCHER, "wilma", actor=ACTOR)
    why = "the certificate of researcher wilma was revoked"
    for before, after in STATES:
        run = runs.run(made[before].id)
        assert (run.state, run.problem) == (after, "" if after == "done" else why)
    assert {event[3] for event in last_events(coordinator, 4)} == {why, "done"}
    assert runs.run(kept.id).state == "proposed"
    with pytest.raises(CertificateForeign):
        proposals.propose(waiting, researcher="wilma")


def test_a_training_goes_on_for_a_member_only(
    coordinator: Coordinator, proposals: ProposalService, runs: FederationService
) -> None:
    """The operator may resume what failed, until the researcher's certificate is revoked."""
    ida = Researcher(coordinator, "ida")
    asked = ida.asks(purpose="training", statistics=None, training={"label": "pneumonia"})
    failed = proposals.propose(asked, researcher="ida").model_copy(update={"state": "failed"})
    with coordinator.store.begin() as work:
        work.put_run(failed)
    assert runs.resume_run(failed.id, actor=ACTOR).state == "pending"
    coordinator.members.revoke(Role.RESEARCHER, "ida", actor=ACTOR)
    with pytest.raises(RunFailed, match="ida, who asked for it, is no longer a member"):
        runs.resume_run(failed.id, actor=ACTOR)


def test_what_outlived_its_certificate_is_not_approved(
    coordinator: Coordinator, proposals: ProposalService, rita: Researcher
) -> None:
    """A proposal waits no longer than the certificate by which sites judge it."""
    run = proposals.propose(rita.asks(), researcher="rita")
    coordinator.time.ahead = timedelta(days=31)
    try:
        with pytest.raises(CertificateExpired):
            proposals.approve(run.id, actor=ACTOR)
    finally:
        coordinator.time.ahead = timedelta()
