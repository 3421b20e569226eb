"""Two nodes run with one identity, as when a backup is started beside its original."""

import shutil
import time
from contextlib import ExitStack, closing
from pathlib import Path

from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.intake import receive_source
from site_node.node.open import open_node
from site_node.node.passes import run_pass
from tests.factories import programs
from tests.factories.federation import running_federation
from tests.factories.films import deliver, film, prepare
from tests.peers import check_no_defect

LATEST = 60.0


def test_both_come_to_receipts_and_the_centre_names_what_is_twice(tmp_path: Path) -> None:
    """What both send is one submission, with a receipt at either; what each has alone has its own.

    Each counts sequence numbers for itself, so one comes twice; `submission gaps` says which.
    """
    with running_federation(tmp_path) as federation, ExitStack() as nodes:
        federation.curator()
        home, member = federation.site("Copied Hospital")
        prepare(home, ["shared-1", "shared-2", "original", "copy"], workers=1)
        with open_node(home) as node:
            for patient in ("shared-1", "shared-2"):
                receive_source(node, film(home, patient, rows=600, noise=True))
            run_pass(node, State.SEALED)
        copy = SiteHome(tmp_path / "copy")
        shutil.copytree(home.folder, copy.folder, symlinks=True)
        for folder, name in ((home, "original"), (copy, "copy")):
            deliver(folder, film(folder, name, noise=True))
        logs = [tmp_path / "original.log", tmp_path / "copy.log"]
        nodes.enter_context(programs.node(home, logs[0]))
        nodes.enter_context(programs.node(home, logs[1], copy=copy.folder))
        latest = time.monotonic() + LATEST
        while not all(is_sent(folder) for folder in (home, copy)):
            assert time.monotonic() < latest, "".join(log.read_text()[-2000:] for log in logs)
            time.sleep(0.1)
        nodes.close()
        for folder in (home, copy):
            for file in folder.receipts.iterdir():
                signed = Signed.model_validate_json(file.read_bytes())
                signed.verified(member.coordinator_key, Receipt, what="receipt")
        with federation.reading() as reading:
            rows = reading.submissions(member.site_id)
            faults = reading.sequence_faults(member.site_id, after=("000000", 0), limit=10)
    assert sorted(row.sequence for row in rows) == [1, 2, 3, 3]
    assert len({row.study for row in rows}) == 4
    assert [(fault.sequence, fault.times) for fault in faults] == [(3, 2)]
    check_no_defect("".join(log.read_text() for log in logs))


def is_sent(home: SiteHome) -> bool:
    """Whether all three studies of a node have their receipts."""
    with closing(Ledger(home.ledger)) as ledger:
        return ledger.state_counts() == {State.SUBMITTED: 3}
