"""Three hospitals, a coordinator, a curator and a researcher on this machine, with nothing but the three commands.

`python compose/local.py [--data DIR] [--folder DIR] [--json FILE] [--keep]`

Every step is a command that a person could type; nothing here reaches into the programs. The exit code is 0 only if
every step succeeds.
"""

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compose.demo import closing
from compose.demo.federation import SITE, Federation, Hospital, set_policies, together
from compose.demo.leaks import leaks
from compose.demo.programs import StepFailed
from compose.demo.progress import Steps
from compose.real_data import RealHospital, write_real_hospitals
from compose.sample.summary import HospitalSummary
from compose.sample_hospital import write_hospital

NAMES = ("General Hospital", "University Hospital", "Children and Adults Hospital")
PLAN = """\
purpose = "training"
aim = "Show that three hospitals can learn together and keep their images."

[training]
label = "pneumonia"
rounds = 3
"""
SMALL = """\
local_epochs = 12
batch_size = 4
learning_rate = 0.003
validation_share = 0.4
test_share = 0.1
minimum_cases = {cases}   # of each class among a site's validation images, before its own figures are sent
"""
CASES = 4  # the synthetic hospitals are small; otherwise a site's own policy asks for 11


def main() -> int:
    """Run the demonstration; its exit code."""
    options = parse(sys.argv[1:])
    steps = Steps()
    federation = Federation(options.folder, "cxr-demo" if options.data else "ricord")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    result: dict[str, Any] = {"ok": False, "problem": None, "sites": [], "cohort": None, "training": None, "places": {}}
    try:
        play(federation, steps, options, result)
        result["ok"] = True
    except StepFailed as error:
        result["problem"] = str(error)
        steps.console.print(f"[red]✗[/red] {error}", markup=True)
    except KeyboardInterrupt:
        result["problem"] = "interrupted"
    finally:
        if not (options.keep and result["ok"]):
            federation.services.stop()
    result["steps"], result["running"] = steps.done, federation.services.alive()
    closing.show(steps.console, result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if result["running"]:
        steps.console.print("Still running, end with kill:", result["running"])
    return 0 if result["ok"] else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; an existing folder of an earlier run is replaced, any other is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, help="real studies: a folder with dicom/ and cxr/, see compose/real_data.py"
    )
    parser.add_argument("--folder", type=Path, default=Path("federation-run"), help="where everything is made anew")
    parser.add_argument("--json", type=Path, help="also write the closing tables to this file")
    parser.add_argument("--keep", action="store_true", help="leave every program running")
    options = parser.parse_args(arguments)
    options.folder = options.folder.resolve()
    if options.folder.exists() and any(options.folder.iterdir()) and not (options.folder / ".demonstration").exists():
        parser.error(f"{options.folder} is not empty and not of an earlier run; name another --folder")
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    (options.folder / ".demonstration").touch()
    return options


def play(federation: Federation, steps: Steps, options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Every step in order; their results go into `result`."""
    with steps.step("Three hospitals' archives") as notes:
        hospitals, planted = archives(options, notes)
    with steps.step("Coordinator: certificates, store, two gRPC ports, SuperLink"):
        federation.start_coordinator()
    with steps.step("Curator: keys of its own, enrolled") as notes:
        notes.append(f"signing key {federation.appoint_curator()}")
    with steps.step("Researcher: keys of their own, enrolled") as notes:
        notes.append(f"signing key {federation.appoint_researcher()}")
    with steps.step("Hospitals: invited, agreement read and signed, executed, enrolled") as notes:
        site_ids = together(federation.enrol, hospitals)
        set_policies(hospitals, site_ids, None if options.data else CASES)
        notes.append("SITEIDs " + ", ".join(site_ids) + "; each pinned the others' keys")
    submit_studies(steps, hospitals, result)
    open_sealed(federation, steps, result)
    federated(federation, steps, hospitals, options, result)
    check(federation, steps, planted, result)


def archives(options: argparse.Namespace, notes: list[str]) -> tuple[list[Hospital], tuple[str, ...]]:
    """The hospitals with their archives and sheets, and every identifier planted in them."""
    folders = [options.folder / f"hospital-{number}" for number in (1, 2, 3)]
    samples: Sequence[RealHospital | HospitalSummary]
    if options.data:
        samples = write_real_hospitals(options.data, options.folder)
    else:
        samples = tuple(
            write_hospital(folder, hospital=n, seed=20 + n, radiographs=72) for n, folder in enumerate(folders, start=1)
        )
    hospitals = [
        Hospital(name=name, archive=sample.archive, sheet=sample.sheet, home=folder / "node")
        for name, sample, folder in zip(NAMES, samples, folders, strict=True)
    ]
    counts = [sum(path.is_file() for path in hospital.archive.rglob("*")) for hospital in hospitals]
    notes.append(", ".join(map(str, counts)) + " files")
    return hospitals, tuple(text for sample in samples for text in sample.planted)


def submit_studies(steps: Steps, hospitals: Sequence[Hospital], result: dict[str, Any]) -> None:
    """From a folder to receipts at every hospital. Exit code 3, some files were not accepted, is expected here."""
    with steps.step("Hospitals: clinical sheet imported, folder received") as notes:
        imported = ("clinical", "import", "--as", "the data manager")
        together(lambda hospital: hospital.call(*imported, str(hospital.sheet), ok=(0, 3)), hospitals)
        together(lambda hospital: hospital.call("receive", str(hospital.archive), ok=(0, 3)), hospitals)
        notes.append("originals stay there")
    with steps.step("Hospitals: screen, de-identify, check pixels, validate, seal, submit") as notes:
        together(lambda hospital: hospital.call("run", "--once"), hospitals)
        sites = result["sites"] = [hospital.json("status") for hospital in hospitals]
        notes.append(", ".join(f"{site['submitted']} of {site['received']} submitted" for site in sites))
        if any(site["waiting"]["total"] for site in sites):
            raise StepFailed("studies are still waiting; see the table")


def open_sealed(federation: Federation, steps: Steps, result: dict[str, Any]) -> None:
    """The curator opens what arrived; the numbers must agree."""
    submitted = sum(site["submitted"] for site in result["sites"])
    if not submitted:
        steps.skipped("Curator: open every sealed study", "no study was submitted")
        return
    with steps.step("Curator: open every sealed study; signatures, hashes, protocol digest") as notes:
        curation = federation.open_all()
        notes.append(f"{len(curation['opened'])} opened, {len(curation['failed'])} refused")
        if curation["failed"] or len(curation["opened"]) != submitted:
            raise StepFailed(f"{submitted} studies were submitted, {len(curation['opened'])} could be opened")
        result["opened"] = len(curation["opened"])


def federated(
    federation: Federation,
    steps: Steps,
    hospitals: Sequence[Hospital],
    options: argparse.Namespace,
    result: dict[str, Any],
) -> None:
    """The nodes as services, one cohort summary, one training run; nothing to pool where a hospital has no study."""
    if not all(site["submitted"] for site in result["sites"]):
        for title in ("Cohort summary", "Federated training"):
            steps.skipped(title, "not every hospital has a validated study")
        return
    with steps.step("Hospitals: nodes running, connected to the fleet port") as notes:
        for number, hospital in enumerate(hospitals, start=1):
            federation.services.start(f"site-{number}", SITE, "--home", str(hospital.home), "run", ready="ready")
        notes.append(", ".join(f"{name} pid {pid}" for name, pid in federation.services.alive().items()))
    with steps.step("Cohort summary: secure sum over three sites, small cells suppressed after pooling") as notes:
        cohort = federation.json("cohort", "compute", "--policy", "cms-11")
        result["cohort"] = cohort["table"]
        hidden = sum(cell["suppressed"] for cell in cohort["table"]["cells"])
        notes.append(f"{cohort['site_count']} sites, {len(cohort['table']['cells'])} cells, {hidden} hidden")
    with steps.step(
        "Federated training: the researcher proposes a plan, the operator releases it, three rounds"
    ) as notes:
        plan = federation.folder / "plan.toml"
        plan.write_text(PLAN + ("" if options.data else SMALL.format(cases=CASES)), encoding="utf-8")
        result["training"] = federation.ask(plan, federation.folder / "results", timeout=900)
        notes.append("AUC " + " -> ".join(closing.figure(entry["auc"]) for entry in result["training"]["rounds"]))


def check(federation: Federation, steps: Steps, planted: tuple[str, ...], result: dict[str, Any]) -> None:
    """The audit chain, the planted identifiers, and where everything lies."""
    with steps.step("Audit chain recomputed") as notes:
        federation.json("audit", "verify")
        notes.append("whole")
    with steps.step("Planted identifiers searched in everything that left the hospitals") as notes:
        leaking = leaks(federation.folder, planted)
        notes.append(f"{len(planted)} identifiers, found in {len(leaking)} files")
        if leaking:
            raise StepFailed(f"identifiers left the hospitals in {', '.join(leaking[:5])}")
    home, results = federation.coordinator, federation.folder / "results"
    trained = "" if result["training"] else "no training took place"
    result["places"] = {
        "model": trained or str(results / "model.safetensors"),
        "model card": trained or str(results / "card.md"),
        "plots": trained or str(results / "*.png"),
        "receipts": str(federation.folder / "hospital-*" / "node" / "receipts"),
        "opened studies": str(federation.curator / "opened"),
        "sealed studies": str(home / "blobs"),
        "audit log": f"ricord-coordinator --home {home} audit list (in {home / 'coordinator.sqlite'})",
        "logs": str(federation.services.logs),
    }


if __name__ == "__main__":
    sys.exit(main())
