"""Many at once from one address: all enrol and all submit, with retries only, and none meets a defect."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors.transport import CoordinatorBusy
from site_node.home.folder import SiteHome
from site_node.membership.enrolment import enrol
from site_node.membership.record import Membership
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_bytes

FEW, CROWDS = 40, (120, 200)
UPLOADS = 50


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with running_federation(tmp_path) as running:
        running.curator()
        yield running


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[CoordinatorBusy]:
    """Who was told to come again; the pauses are a tenth of what was named."""
    errors: list[CoordinatorBusy] = []
    seconds = CoordinatorBusy.seconds

    def shorter(busy: CoordinatorBusy) -> float:
        errors.append(busy)
        return float(seconds.__get__(busy)) / 10

    monkeypatch.setattr(CoordinatorBusy, "seconds", property(shorter))
    return errors


def at_once(work: Callable[[int], object], count: int) -> list[object]:
    """What `count` threads return that begin together."""
    together = threading.Barrier(count)

    def begin(number: int) -> object:
        together.wait(60)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def enrol_all(federation: Federation, count: int) -> Sequence[tuple[SiteHome, Membership]]:
    """That many sites, which all enrol at once."""
    names = [f"Hospital no. {number}" for number in range(count)]
    homes = [federation.signed_site(name) for name in names]
    tokens = [federation.execute(name) for name in names]
    members = at_once(lambda n: enrol(homes[n], tokens[n]), count)
    assert len({member.site_id for member in members if isinstance(member, Membership)}) == count
    return [(home, member) for home, member in zip(homes, members, strict=True) if isinstance(member, Membership)]


def upload_all(sites: Sequence[tuple[SiteHome, Membership]], size: int) -> None:
    """A study of each site, all at once."""
    studies = [sealed_bytes(home, member, size) for home, member in sites]

    def upload(number: int) -> bool:
        home, member = sites[number]
        with submitting(home, member) as submit:
            return submit(studies[number]).receipt.exists()

    assert all(at_once(upload, len(sites)))


@pytest.mark.slow
@pytest.mark.usefixtures("refused")
def test_a_crowd_enrols_and_submits(federation: Federation) -> None:
    """More than an address may have calls at once."""
    sites = enrol_all(federation, FEW)
    upload_all(sites, 1 << 20)


@pytest.mark.soak
@pytest.mark.parametrize("count", CROWDS)
def test_a_large_crowd_enrols_and_fifty_submit(
    federation: Federation, refused: list[CoordinatorBusy], count: int
) -> None:
    """So many as met a defect before, and some of them a limit; then fifty uploads of 8 MiB at once."""
    sites = enrol_all(federation, count)
    assert refused
    upload_all(sites[:UPLOADS], 8 << 20)
