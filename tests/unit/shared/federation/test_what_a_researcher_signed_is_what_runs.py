"""What a researcher signed is what runs: a site holds a plan to it, by the root that it knows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto import pki
from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid
from shared.errors.trust import CertificateExpired, CertificateForeign, SignatureInvalid
from shared.federation.plan import (
    TESTS,
    WAITING,
    EvaluationTask,
    Member,
    Plan,
    PlanRequest,
    Proposal,
    complete_plan,
    parse_request,
    sign_plan,
    verify_plan,
)
from shared.federation.proposal import check_asked, propose, verify_proposal
from shared.federation.task import StatisticsTask, TrainingTask
from shared.ids import RunId, Sha256, SiteId
from shared.manifest import canonical_json

KEY, TLS, COORDINATOR = SigningKey.generate(), ec.generate_private_key(ec.SECP256R1()), SigningKey.generate()
AUTHORITY = pki.make_ca("test-federation")
ROOT = AUTHORITY.root_pem
SITES = tuple(SiteId(str(200000 + n)) for n in range(4))
MEMBERS = tuple(Member(site_id=site, fingerprint=SigningKey.generate().fingerprint) for site in SITES)
DIGEST = Sha256("0" * 64)


def certificate(role: str = "researcher", name: str = "rita", key: ec.EllipticCurvePrivateKey = TLS) -> bytes:
    return pki.issue(AUTHORITY, pki.make_csr(key), f"spiffe://test-federation/{role}/{name}")


CERTIFICATE = certificate()


def asked(**changes: object) -> PlanRequest:
    fields = {"purpose": "statistics", "aim": "How many?", "researcher": "rita", "run": RunId.random(), "sites": ()}
    return PlanRequest.model_validate({**fields, "statistics": {"cohort": "ricord"}, **changes})


def proposed(request: PlanRequest | None = None, **changes: object) -> Proposal:
    made = propose(request or asked(), key=KEY, tls=TLS, certificate=CERTIFICATE)
    return made.model_copy(update=changes)


def plan_of(proposal: Proposal, **changes: object) -> Plan:
    request = parse_request(proposal.signed.document)
    members = tuple(each for each in MEMBERS if each.site_id in request.sites) or MEMBERS
    return complete_plan(request, members=members, protocol_digest=DIGEST, proposal=proposal).model_copy(update=changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    file = tmp_path / "root.pem"
    file.write_bytes(ROOT)
    return file


def test_a_site_verifies_what_travels(root: Path) -> None:
    """The plan that the coordinator signed carries the researcher's request, and both signatures hold."""
    for request in (asked(), asked(sites=SITES[1:]), asked(sites=SITES[3:0:-1])):
        plan = verify_plan(sign_plan(plan_of(proposed(request)), COORDINATOR), COORDINATOR.public)
        check_asked(plan, root)
        assert (plan.run, plan.aim, plan.researcher) == (request.run, "How many?", "rita")


@pytest.mark.parametrize(
    "changes",
    [
        {"aim": "Who?"},
        {"run": RunId("R-0123456789ab")},
        {"researcher": "carla"},
        {"statistics": StatisticsTask(cohort="ricord", policy="min-5")},
        {"purpose": "training", "statistics": None, "training": TrainingTask()},
        {"minimum_sites": 4},
        {"timeout_seconds": 5},
        {"sites": MEMBERS[:3]},
    ],
)
def test_no_other_plan_runs(root: Path, changes: dict[str, object]) -> None:
    """The coordinator can change nothing of what was signed, nor use a signature for another run."""
    with pytest.raises(PlanInvalid, match="not what its researcher signed"):
        check_asked(plan_of(proposed(asked(sites=SITES)), **changes), root)


@pytest.mark.parametrize(
    ("proposal", "error"),
    [
        (lambda: proposed(verify_key=COORDINATOR.public.text), SignatureInvalid),
        (lambda: proposed(verify_key="no key"), SignatureInvalid),
        (lambda: proposed(endorsement=pki.endorse(TLS, b"another document")), SignatureInvalid),
        (lambda: proposed(endorsement="no signature"), SignatureInvalid),
        (lambda: proposed(certificate=certificate(name="carla").decode()), SignatureInvalid),
        (lambda: proposed(certificate=certificate(role="curator").decode()), SignatureInvalid),
        (
            lambda: proposed(certificate=certificate(key=ec.generate_private_key(ec.SECP256R1())).decode()),
            SignatureInvalid,
        ),
        (lambda: proposed(certificate="no certificate"), CertificateForeign),
        (lambda: proposed(asked(aim=" ")), PlanInvalid),
        (lambda: proposed(asked(run=None)), PlanInvalid),
        (lambda: proposed(asked(statistics=None)), PlanInvalid),
        (lambda: proposed(asked(sites=SITES[:2])), PlanInvalid),
        (lambda: proposed(asked(sites=SITES[:1] * 3)), PlanInvalid),
    ],
)
def test_whoever_did_not_sign_it_asked_for_nothing(proposal: Callable[[], Proposal], error: type[RicordError]) -> None:
    """Both keys and the certificate's name must be the researcher's, and the request a whole one."""
    with pytest.raises(error):
        verify_proposal(proposal(), ROOT, datetime.now(UTC))


def test_a_certificate_counts_while_it_lasts(root: Path) -> None:
    """It must have been good when the plan was made; a run outlasts it."""
    later = datetime.now(UTC) + timedelta(days=pki.LEAF_DAYS, minutes=1)
    plan = plan_of(proposed())
    with pytest.raises(CertificateExpired):
        check_asked(plan.model_copy(update={"created_at": later, "expires_at": later + WAITING}), root)
    with pytest.raises(CertificateForeign):
        verify_proposal(proposed(), pki.make_ca("test-federation").root_pem, datetime.now(UTC))


def test_a_researcher_stands_with_their_proposal_only() -> None:
    """The operator cannot start a run in a researcher's name."""
    with pytest.raises(PlanInvalid, match="proposal"):
        complete_plan(asked(), members=MEMBERS, protocol_digest=DIGEST)


def test_plans_of_earlier_releases_keep_their_bytes() -> None:
    """A plan that nobody but the operator asked for has no field that an earlier release does not know."""
    plan = complete_plan(asked(aim="", researcher="", run=None), members=MEMBERS, protocol_digest=DIGEST)
    known = {*Plan.model_fields} - {"aim", "researcher", "proposal", "evaluated"}
    assert {*plan.model_dump(mode="json")} == known
    assert Plan.model_validate_json(canonical_json(plan)) == plan


@settings(max_examples=100)
@given(rounds=st.integers(1, 500), seconds=st.integers(1, 86400))
def test_a_plan_lives_as_long_as_its_rounds_may_last(rounds: int, seconds: int) -> None:
    """Each round is one of training and one of evaluation, then come the tests; each may last as long."""
    task = TrainingTask(rounds=rounds)
    request = PlanRequest(purpose="training", training=task, timeout_seconds=seconds)
    plan = complete_plan(request, members=MEMBERS, protocol_digest=DIGEST)
    assert plan.expires_at - plan.created_at == WAITING + timedelta(seconds=(2 * rounds + len(TESTS) + 1) * seconds)


def test_the_model_that_was_asked_about_is_the_one_that_is_sent(root: Path) -> None:
    """Of that run and of no other; a plan that was asked to count sends none."""
    run = RunId("R-0123456789ab")
    asked_about = proposed(asked(purpose="evaluation", statistics=None, evaluation={"run": run}))
    request = parse_request(asked_about.signed.document)
    model = EvaluationTask(run=run, round=1, sha256=DIGEST, state_sha256=DIGEST, training=TrainingTask())
    plan = complete_plan(request, members=MEMBERS, protocol_digest=DIGEST, proposal=asked_about, evaluated=model)
    check_asked(plan, root)
    other = model.model_copy(update={"run": RunId("R-0123456789ac")})
    for evaluated in (other, None):
        with pytest.raises(PlanInvalid, match="not what its researcher signed"):
            check_asked(plan.model_copy(update={"evaluated": evaluated}), root)
