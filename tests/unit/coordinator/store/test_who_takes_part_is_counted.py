"""What the store keeps for the federation: changes of who takes part, ends of certificates, runs by their purpose."""

import contextlib
from collections.abc import Callable
from datetime import timedelta

from coordinator.store.interface import Work
from coordinator.store.records import Certificate, Node
from coordinator.store.sql import SqlStore
from shared.signed import Signed
from tests.factories.rows import NOW, SITE_ID, make_agreement, make_run, make_site


def test_what_changes_who_takes_part_is_counted(store: SqlStore) -> None:
    """Sites, agreements, certificates, their revocation and nodes; nothing else, nothing that is rolled back."""
    site, agreement = make_site(), make_agreement(Signed(document="{}", signature="c2ln"))
    certificate = Certificate(serial="1", role="site", name="a", ends_at=NOW)
    changes: tuple[Callable[[Work], object], ...] = (
        lambda work: work.put_site(site),
        lambda work: work.put_agreement(agreement),
        lambda work: work.add_certificate(certificate),
        lambda work: work.revoke("site", "a", NOW),
        lambda work: work.put_node(Node(site_id=SITE_ID, public_key="PEM", registered_at=NOW)),
        lambda work: work.delete_node(SITE_ID),
    )
    for change in changes:
        with store.read() as reading:
            before = reading.membership()
        with contextlib.suppress(KeyError), store.begin() as work:
            change(work)
            raise KeyError
        with store.begin() as work:
            assert work.membership() == before
            change(work)
        with store.begin() as work:
            assert work.membership() > before
            before = work.membership()
            work.put_run(make_run(1))
            assert work.membership() == before


def test_the_end_of_the_last_good_certificate_counts(store: SqlStore) -> None:
    """By name, of one role; whoever holds none but revoked ones is not there."""
    with store.begin() as work:
        for serial, (role, name, days) in enumerate(
            (("site", "a", 2), ("site", "a", 1), ("site", "b", 3), ("site", "c", 4), ("curator", "d", 5))
        ):
            ends = NOW + timedelta(days=days)
            work.add_certificate(Certificate(serial=str(serial), role=role, name=name, ends_at=ends))
        work.revoke("site", "b", NOW)
        assert work.certificates_end("site") == {"a": NOW + timedelta(days=2), "c": NOW + timedelta(days=4)}


def test_runs_are_listed_by_purpose(store: SqlStore) -> None:
    """The oldest pending ones of each, whatever waits of the other."""
    with store.begin() as work:
        for number in range(6):
            work.put_run(make_run(number))
        assert work.runs("pending", purpose="training", limit=2) == [make_run(0), make_run(2)]
        assert work.runs("pending", purpose="statistics", limit=1) == [make_run(1)]
