"""A federation with one site, over both kinds of database, and its submissions over ciphertexts of both kinds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.home.init import open_home_store
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.sql import SqlStore
from coordinator.submission.service import SubmissionService
from shared.signed import Signed, of_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from tests.factories.ciphertexts import CHUNK, bucket_client, open_ciphertexts, s3_server
from tests.factories.federation import Federation, running_federation, sealed_bytes


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation"), database=database) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def member(federation: Federation) -> tuple[SiteHome, Membership]:
    return federation.site("Submitting Hospital")


@pytest.fixture(scope="module")
def signed(member: tuple[SiteHome, Membership]) -> Signed:
    """One manifest as it travels."""
    return of_manifest(sealed_bytes(*member, 9).manifest)


@pytest.fixture(scope="package")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with s3_server(least_part=CHUNK) as endpoint:
        yield bucket_client(endpoint, tmp_path_factory.mktemp("credentials"))


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def ciphertexts(request: pytest.FixtureRequest, tmp_path: Path) -> CiphertextStore:
    client = request.getfixturevalue("client") if request.param == "bucket" else None
    return open_ciphertexts(request.param, tmp_path, client)


@pytest.fixture(scope="module")
def store(federation: Federation) -> Iterator[SqlStore]:
    opened = open_home_store(federation.home, federation.settings)
    yield opened
    opened.close()


@pytest.fixture
def service(federation: Federation, store: SqlStore, ciphertexts: CiphertextStore) -> SubmissionService:
    return SubmissionService(store, ciphertexts, federation.identity)
