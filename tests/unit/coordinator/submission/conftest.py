"""A federation with one site, and its submissions over blobs of each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.home.init import open_home_store
from coordinator.store.blobs import Blobs
from coordinator.store.sql import SqlStore
from coordinator.submission.service import SubmissionService
from shared.signed import Signed, of_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from tests.factories.federation import Federation, running_federation, sealed_bytes


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def member(federation: Federation) -> tuple[SiteHome, Membership]:
    return federation.site("Submitting Hospital")


@pytest.fixture(scope="module")
def signed(member: tuple[SiteHome, Membership]) -> Signed:
    """One manifest as it travels."""
    return of_manifest(sealed_bytes(*member, 9).manifest)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture(scope="module")
def store(federation: Federation) -> Iterator[SqlStore]:
    opened = open_home_store(federation.home, federation.settings)
    yield opened
    opened.close()


@pytest.fixture
def service(federation: Federation, store: SqlStore, blobs: Blobs) -> SubmissionService:
    return SubmissionService(store, blobs, federation.identity)
