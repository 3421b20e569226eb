"""A signatory reads text, terms and fingerprints at a page, and signs exactly these by typing their name, once."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from shared.errors.transport import CoordinatorUnreachable
from shared.proto.ricord.v1.agreement_pb2 import SuspendAgreementRequest
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.web.store import Store
from site_node.console.roles import Role
from site_node.home.folder import init_home
from site_node.home.ledger import Ledger
from site_node.membership.agreement import signed_before
from site_node.membership.enrolment import enrol
from site_node.membership.record import IdentityFiles
from tests.factories.consoles import Browser
from tests.factories.federation import running_federation
from tests.factories.site_consoles import Site

NAME = "Dr. A. Miller"


def hidden(page: str, name: str) -> str:
    match = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert match is not None
    return match[1]


def sign(signatory: Browser, page: str, **changes: str) -> int:
    """Send the page's form."""
    fields = {"seen": hidden(page, "seen"), "token": hidden(page, "token"), "name": NAME, "function": "Director"}
    return signatory.send("/agreement/sign", **{**fields, **changes})


def test_an_agreement_is_signed_by_a_typed_name(tmp_path: Path) -> None:
    """Another's name, an empty function and other terms than those shown sign nothing; nor does a second form."""
    home = init_home(tmp_path / "home", name="General")
    with (
        running_federation(tmp_path) as federation,
        closing(Ledger(home.ledger)) as ledger,
        closing(Store(home.console)) as store,
    ):
        federation.curator()
        token = federation.invite("General")
        federation.draft("General")
        site = Site(home, ledger, store)
        viewer, signatory = site.person(Role.VIEWER), site.person(Role.SIGNATORY, NAME)
        assert "not read here" in viewer.open("/agreement")
        assert viewer.send("/agreement/read", token=token) == 403
        signatory.open("/agreement")
        assert signatory.send("/agreement/read", token="RICORD1-x") == 401
        assert signatory.send("/agreement/read", token=token) == 200
        page = signatory.said.text
        terms = IdentityFiles(home).draft.read_text()
        assert all(each in page for each in ("Chest imaging of one hospital", "by telephone"))
        for changes, status in (({"name": "Dr. B"}, 400), ({"function": " "}, 400), ({"seen": "0" * 64}, 409)):
            assert sign(signatory, page, **changes) == status
            assert not IdentityFiles(home).consent.exists()
        assert [sign(signatory, page) for _ in range(2)] == [303, 303]
        assert signed_before(home).signatory == f"{NAME}, Director"
        assert signed_before(home).terms.id in terms
        page = viewer.open("/agreement")
        assert f"{NAME}, Director signed it on" in page
        assert "Chest imaging of one hospital" in page
        (event,) = ledger.events()
        assert (event.actor, event.action) == (f"{NAME}, Director", "agreement-sign")
        assert event.detail == f"{signed_before(home).terms.id}, version 1"
        enrol(home, federation.execute("General"))
        assert "In force" in viewer.open("/agreement")
        assert "it is <strong>executed</strong>, version 1" in viewer.open("/agreement")
        with federation.operator() as channel:
            AgreementServiceStub(channel).SuspendAgreement(SuspendAgreementRequest(reference="General"))
        assert "it is <strong>suspended</strong>, version 1" in viewer.open("/agreement")
        assert "Chest imaging of one hospital" in viewer.open("/agreement")


def test_a_coordinator_that_is_away_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in force here is shown, and that only the coordinator knows whether it still is."""
    with running_federation(tmp_path) as federation, closing(Store(None)) as store:
        federation.curator()
        home, _ = federation.site("General")
        with closing(Ledger(home.ledger)) as ledger:
            viewer = Site(home, ledger, store).person(Role.VIEWER)

            def away(*_: object) -> None:
                raise CoordinatorUnreachable(address="centre:7444")

            monkeypatch.setattr("site_node.console.agreement.standing", away)
            page = viewer.open("/agreement")
            assert "it did not say: No coordinator answers" in page
            assert "In force" in page
