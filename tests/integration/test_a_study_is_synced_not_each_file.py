"""What becomes durable does so by study: neither syncs to the disk nor commits of the ledger grow with the files."""

import os
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from shared.durable import sync_filesystem
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.node.intake import receive_source
from site_node.node.open import Node, open_node
from site_node.node.passes import run_pass
from tests.factories.dicom import make_ct, write_file
from tests.factories.federation import running_federation
from tests.factories.films import prepare

FEW, MANY = 5, 50
STAGES = (State.INCLUDED, State.DEIDENTIFIED, State.VALIDATED, State.SEALED)


@contextmanager
def counted(node: Node) -> Iterator[Counter[str]]:
    """Count what the real calls make durable: files and folders, file systems, and changes of the ledger."""
    counts = Counter[str]()

    def note_call(frame: FrameType, event: str, argument: object) -> None:
        counts["file"] += event == "c_call" and argument is os.fsync
        counts["file system"] += event == "call" and frame.f_code is sync_filesystem.__code__

    def note_statement(statement: str) -> None:
        is_change = statement.split(maxsplit=1)[0].lower() in {"insert", "update", "delete", "replace"}
        counts["commit"] += statement.lower() == "commit" or (is_change and not database.in_transaction)

    database: sqlite3.Connection = node.ledger._db
    database.set_trace_callback(note_statement)
    threading.setprofile(note_call)
    sys.setprofile(note_call)
    try:
        yield counts
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        database.set_trace_callback(None)


def from_folder_to_sealed(home: SiteHome, source: Path, slices: int) -> list[Counter[str]]:
    """The counts of each stage for one CT study."""
    source.mkdir()
    for number, dataset in enumerate(make_ct(slices=slices, PatientID="P1")):
        write_file(dataset, source / f"{number}.dcm")
    prepare(home, ["P1"], workers=1)
    counts = []
    with open_node(home) as node:
        with counted(node) as received:
            assert receive_source(node, source).instances == slices
        counts.append(received)
        for state in STAGES:
            with counted(node) as moved:
                run_pass(node, state)
            assert [entry.state for entry in node.ledger.studies()] == [state]
            counts.append(moved)
    return counts


@pytest.mark.slow
def test_a_study_of_many_files_is_synced_and_committed_as_often_as_one_of_few(tmp_path: Path) -> None:
    """At each stage; receiving and de-identifying, which write the files, sync their file system once."""
    with running_federation(tmp_path) as federation:
        federation.curator()
        few, many = (
            from_folder_to_sealed(federation.site(f"Hospital {slices}")[0], tmp_path / f"source{slices}", slices)
            for slices in (FEW, MANY)
        )
    assert few == many
    assert [counts["file system"] for counts in few] == [1, 0, 1, 0, 0]
    assert all(counts["file"] and counts["commit"] for counts in few)
