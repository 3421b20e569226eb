"""A curator asks for what came after the last study that it opened, and for each that failed again."""

import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.curation.fetching import Fetcher, fetching
from coordinator.curation.passes import Pass, run_pass
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.protocol.loader import load_protocol
from site_node.submit.client import submitting
from tests.factories.federation import running_federation, sealed_study

pytestmark = pytest.mark.slow


def test_every_study_is_opened_once_and_a_failed_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over lists of two a page: the position stays before the first study that failed, and goes on once it opens."""
    monkeypatch.setattr("coordinator.submission.lists.PAGE", 2)
    asked, submissions = list[int](), Fetcher.submissions

    def ask(fetcher: Fetcher, after: int = 0) -> tuple[pb.Submission, ...]:
        asked.append(after)
        return submissions(fetcher, after)

    monkeypatch.setattr(Fetcher, "submissions", ask)
    with running_federation(tmp_path) as federation:
        curator = federation.curator()
        home, member = federation.site("Paged Hospital")
        with submitting(home, member) as submit:
            for sequence in range(1, 6):
                submit(sealed_study(home, member, sequence=sequence, study=f"study-{sequence}"))
        with federation.reading() as reading:
            numbers = [row.number for row in reading.submissions()]
        files = sorted(
            (federation.home.blobs(federation.settings) / "sealed").rglob("*.age"),
            key=lambda path: path.stat().st_mtime,
        )
        third = files[2].read_bytes()
        files[2].write_bytes(third[:-1])
        first = run_pass(curator, None)
        assert (first.whole, first.last) == (False, numbers[1])
        files[2].write_bytes(third)
        second = run_pass(curator, None, after=first.last)
        assert (second.whole, second.last) == (True, numbers[4])
        third_pass = run_pass(curator, None, after=second.last)
        assert (third_pass.whole, third_pass.last) == (True, numbers[4])
        assert asked == [0, numbers[1], numbers[4]]
        assert len(list(curator.opened.glob("*/*"))) == 5
        with federation.operator() as channel:
            stub = SubmissionServiceStub(channel)
            page = stub.ListSubmissions(pb.ListSubmissionsRequest(after=numbers[0], limit=3))
            assert [row.number for row in page.submissions] == numbers[1:3]
            assert page.next == numbers[2]
            beyond = stub.ListSubmissions(pb.ListSubmissionsRequest(after=2**64 - 1, limit=2**32 - 1))
            assert (len(beyond.submissions), beyond.next) == (0, 0)
        command = ["--home", str(federation.home.folder), "submission", "list", "--json"]
        listed = json.loads(CliRunner().invoke(app, command).output)
        assert [row["number"] for row in listed["submissions"]] == numbers
        listed = json.loads(CliRunner().invoke(app, [*command, "--limit", "1", "--after", str(numbers[2])]).output)
        assert [row["number"] for row in listed["submissions"]] == [listed["next"]] == [numbers[3]]


def test_a_second_pass_waits_for_the_first(tmp_path: Path) -> None:
    """Both would append to one ciphertext; the second then finds open what the first opened."""
    with running_federation(tmp_path) as federation:
        curator = federation.curator()
        home, member = federation.site("Waited For Hospital")
        with submitting(home, member) as submit:
            submit(sealed_study(home, member))
        passes = list[Pass]()
        second = threading.Thread(target=lambda: passes.append(run_pass(curator, None)))
        with fetching(curator, curator.load_keys(), load_protocol()) as first:
            second.start()
            second.join(0.5)
            assert second.is_alive()
            first.open(first.submissions()[0].id)
        second.join()
        assert [each.whole for each in passes] == [True]
        assert len(list(curator.opened.glob("*/*"))) == 1
