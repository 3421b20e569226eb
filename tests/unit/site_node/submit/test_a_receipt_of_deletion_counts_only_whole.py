"""A receipt of deletion counts only if it covers what was withdrawn: else the coordinator is asked again."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.crypto.signing import SigningKey
from shared.errors.trust import ReceiptInvalid, SignatureInvalid
from shared.ids import Sha256, SiteId, Uid
from shared.signed import Signed
from shared.withdrawal import Deletion
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.home.withdrawals import ToWithdraw
from site_node.submit.withdrawals import _keep

KEY = SigningKey.generate()
MEMBER: Any = SimpleNamespace(coordinator_key=KEY.public, site_id=SiteId("100001"))
DELETION = Deletion(
    submission=Sha256("a" * 64), site_id=MEMBER.site_id, study=Uid("2.25.7"), withdrawn_at=datetime.now(UTC),
    deleted_at=datetime.now(UTC), audit_number=12, audit_head=Sha256("b" * 64),
)  # fmt: skip
OTHERS = {"submission": Sha256("c" * 64), "site_id": SiteId("100002"), "study": Uid("2.25.8")}
INSTANCES = st.frozensets(st.sampled_from([Uid("2.25.1"), Uid("2.25.2"), Uid("2.25.3")])).map(sorted).map(tuple)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[SiteHome, Ledger]]:
    home = init_home(tmp_path / "home", name="Hospital")
    with closing(Ledger(home.ledger)) as ledger:
        yield home, ledger


def keep(site: tuple[SiteHome, Ledger], *receipts: Signed, instances: tuple[Uid, ...] = ()) -> Deletion:
    return _keep(*site, MEMBER, ToWithdraw(DELETION.submission, DELETION.study, instances), receipts)


@given(withdrawn=INSTANCES, deleted=INSTANCES)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_less_is_deleted_than_was_withdrawn(
    site: tuple[SiteHome, Ledger], withdrawn: tuple[Uid, ...], deleted: tuple[Uid, ...]
) -> None:
    """None stands for the whole study: a part is never enough for it, and it is enough for any part."""
    receipt = Signed.by(KEY, DELETION.model_copy(update={"instances": deleted}))
    if not deleted or (withdrawn and set(withdrawn) <= set(deleted)):
        assert keep(site, receipt, instances=withdrawn).instances == deleted
    else:
        with pytest.raises(ReceiptInvalid, match="less"):
            keep(site, receipt, instances=withdrawn)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_one_over_another_submission_is_refused(site: tuple[SiteHome, Ledger], name: str) -> None:
    """Whichever of its names differs; nothing is kept of it."""
    with pytest.raises(ReceiptInvalid, match="another submission"):
        keep(site, Signed.by(KEY, DELETION.model_copy(update={name: OTHERS[name]})))
    assert not site[0].deletions.exists()


def test_there_is_just_the_coordinators_own(site: tuple[SiteHome, Ledger]) -> None:
    """Not none, not two, and not another's."""
    receipt = Signed.by(KEY, DELETION)
    for receipts in ((), (receipt, receipt)):
        with pytest.raises(ReceiptInvalid, match="no receipt"):
            keep(site, *receipts)
    with pytest.raises(SignatureInvalid):
        keep(site, Signed.by(SigningKey.generate(), DELETION))


def test_it_is_kept_for_nobody_else_to_read(site: tuple[SiteHome, Ledger]) -> None:
    """As the coordinator signed it, beside those before it."""
    home, _ = site
    receipts = [Signed.by(KEY, DELETION.model_copy(update={"audit_number": number})) for number in (12, 13)]
    for receipt in receipts:
        keep(site, receipt)
    kept = [Signed.model_validate_json(path.read_bytes()) for path in sorted(home.deletions.iterdir())]
    assert kept == receipts
    assert home.deletions.stat().st_mode & 0o777 == 0o700
