"""SIGTERM ends the coordinator within 15 seconds, whatever its callers do: for every method of the table of roles."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import member_of
from coordinator.home.settings import Home
from coordinator.trust.interceptor import ROLES
from shared.crypto.pki import Role
from shared.proto.ricord.v1 import site_pb2, submission_pb2
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import of_manifest
from shared.wire import Credentials, connected, to_signed
from site_node.submit.client import submitting
from tests.factories.federation import Federation, Time, make_federation, sealed_bytes
from tests.factories.raw_calls import call, dial, opening

SECONDS = 15
METHODS = sorted(ROLES)


@contextmanager
def serve(home: Path) -> Iterator[subprocess.Popen[str]]:
    """`serve --no-federation`, from its ready line on; killed at the end if it still runs."""
    command = [sys.executable, "-m", "coordinator.cli", "--home", str(home), "serve", "--no-federation"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready: ")
            yield process
        finally:
            process.kill()


def operator(home: Home) -> Credentials:
    return Credentials(home.root.read_bytes(), home.operator_key, home.operator_certificate)


@pytest.mark.slow
@pytest.mark.parametrize("locked", [False, True], ids=["free", "locked"])
def test_any_caller_of_any_method_may_be_silent_or_away(tmp_path: Path, locked: bool) -> None:
    """Of every method: a request that never comes, an answer that is never read, a caller that hangs up.

    Also while another process holds the database's lock, for which each change waits 30 seconds.
    """
    home = make_federation(tmp_path).home
    with serve(home.folder) as process, ExitStack() as open_until_the_end:
        federation = Federation(home, home.settings(), Time(), tmp_path)
        home_of_curator = federation.curator()
        curator = member_of(home_of_curator, load_curator_keys(home_of_curator.keys))
        site, member = federation.site("Silent Hospital")
        researcher = federation.researcher().connecting()
        sealed = sealed_bytes(site, member, 8 << 20)
        with submitting(site, member) as submit:
            submit(sealed)
        with connected(member.addresses.main, curator.credentials) as channel:
            listed = SubmissionServiceStub(channel).ListSubmissions(submission_pb2.ListSubmissionsRequest())
        unsent = sealed_bytes(site, member, 1 << 20, sequence=2)
        header = submission_pb2.UploadHeader(manifest=to_signed(of_manifest(unsent.manifest)))
        requests = {
            "/ricord.v1.SubmissionService/Fetch": submission_pb2.FetchRequest(id=listed.submissions[0].id),
            "/ricord.v1.SubmissionService/Upload": submission_pb2.UploadRequest(header=header),
            "/ricord.v1.SiteService/InviteSite": site_pb2.InviteSiteRequest(site_name="Another Hospital"),
        }
        if locked:
            other = open_until_the_end.enter_context(sqlite3.connect(home.folder / "coordinator.sqlite"))
            other.execute("BEGIN IMMEDIATE")
        credentials = {
            Role.COORDINATOR: operator(home),
            Role.CURATOR: curator.credentials,
            Role.SITE: member.credentials,
            Role.RESEARCHER: researcher.credentials,
        }
        for method in METHODS:
            caller = next(credentials[role] for role in credentials if role in ROLES[method])
            whole = requests[method].SerializeToString() if method in requests else b""
            for message, window, stays in ((None, 65535, True), (whole, 0, True), (whole, 65535, False)):
                line = dial(federation.identity.addresses.main, caller)
                line.sendall(opening(window=window) + call(method, 1, message=message, ends="Upload" not in method))
                if stays:
                    open_until_the_end.enter_context(line)
                else:
                    line.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
