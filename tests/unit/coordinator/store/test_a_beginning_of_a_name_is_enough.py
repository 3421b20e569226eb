"""What a person names by a beginning is looked up likewise in both databases, whatever is in the names."""

import random
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from coordinator.store.records import Agreement, Site, TokenRow
from coordinator.store.references import Kind, resolve
from coordinator.store.sql import SqlStore
from shared.agreement import State
from shared.errors.inputs import AmbiguousReference, NotFound
from shared.ids import AgreementId, Sha256, SiteId
from shared.references import MOST, named
from shared.token import TokenKind
from tests.factories.rows import NOW, make_cohort, make_run, make_submission

SITES = {
    "General": SiteId("100001"),
    "General Hospital": SiteId("100002"),
    "général hospital": SiteId("100013"),
    "Klinik_50%": SiteId("200001"),
    "Klinik-50": SiteId("200002"),
    "100001 Hospital": None,
}
AGREEMENTS = {name: AgreementId(f"A-{0xABC000000000 + 17 * number:012x}") for number, name in enumerate(SITES)}


@pytest.fixture
def rows(store: SqlStore) -> dict[Kind, dict[str, tuple[str, ...]]]:
    """By kind, the names of each row by its key."""
    draw = random.Random(1)
    digests = [Sha256(f"{draw.getrandbits(256):064x}") for _ in range(40)]
    runs, cohorts = [make_run(number) for number in range(20)], [make_cohort(number) for number in range(5)]
    with store.begin() as work:
        for name, site_id in SITES.items():
            work.put_site(Site(name=name, agreement=AGREEMENTS[name], site_id=site_id, recorded_at=NOW))
            work.put_agreement(Agreement(id=AGREEMENTS[name], site_name=name, state=State.INVITED, changed_at=NOW))
        for number, digest in enumerate(digests):
            changes = {"id": digest, "contents_sha256": digest, "curator": f"curator-{number % 2}"}
            work.add_submission(make_submission(number + 1).model_copy(update=changes))
            work.add_token(TokenRow(digest=digest, kind=TokenKind.JOIN, role="site", subject="General", expires_at=NOW))
        for run in runs:
            work.put_run(run)
        for cohort in cohorts:
            work.add_cohort(cohort)
    ids = {site: (str(site_id),) if site_id else () for site, site_id in SITES.items()}
    return {
        "site": {site: (site, *ids[site]) for site in SITES},
        "agreement": {AGREEMENTS[site]: (AGREEMENTS[site], site, *ids[site]) for site in SITES},
        "submission": {digest: (digest,) for digest in digests},
        "token": {digest: (digest,) for digest in digests},
        "run": {run.id: (run.id,) for run in runs},
        "cohort": {cohort.id: (cohort.id,) for cohort in cohorts},
    }


def beginnings(names: tuple[str, ...]) -> Iterator[str]:
    """Every one, and what only looks like one."""
    for name in names:
        yield from (name[:size] for size in range(len(name) + 1))
        yield from (f"{name}x", f"{name[:3]}%", f"{name[:3]}_", name[:4].swapcase(), f"{name[:2]}\x00")


def outcome(look_up: Callable[[], str | None]) -> str | dict[str, str] | None:
    """The key, `None`, or what is said of several."""
    try:
        return look_up()
    except NotFound:
        return None
    except AmbiguousReference as refused:
        return refused.fields


def test_each_beginning_means_in_the_store_what_it_means_in_a_list(
    store: SqlStore, rows: dict[Kind, dict[str, tuple[str, ...]]]
) -> None:
    """Of every kind: the same row, none, or refused with the same count."""
    with store.read() as reading:
        for kind, names in rows.items():
            for reference in {text for row in names.values() for text in beginnings(row)}:
                listed = outcome(partial(named, names, reference, names.__getitem__, kind=kind))
                assert outcome(partial(resolve, reading, kind, reference)) == listed


def test_a_curator_names_among_its_own(store: SqlStore, rows: dict[Kind, dict[str, tuple[str, ...]]]) -> None:
    """What is sealed to another neither is there nor makes a beginning ambiguous."""
    digests = list(rows["submission"])
    with store.read() as reading:
        mine, others = digests[0::2], digests[1::2]
        for digit in "0123456789abcdef":
            own = [digest for digest in mine if digest.startswith(digit)]
            if len(own) == 1:
                assert resolve(reading, "submission", digit, curator="curator-0") == own[0]
        with pytest.raises(NotFound):
            resolve(reading, "submission", others[0], curator="curator-0")


def test_a_beginning_of_very_many_is_not_counted_to_the_end(store: SqlStore) -> None:
    """More than a hundred is enough to say."""
    with store.begin() as work:
        for number in range(MOST + 5):
            work.add_submission(make_submission(number + 1))
    with store.read() as reading, pytest.raises(AmbiguousReference, match="More than 100 submissions begin"):
        resolve(reading, "submission", "00")
