"""A study's whole way in containers, made and run here: `make containers`.

A coordinator with PostgreSQL, the engine of federated runs, a curator, a hospital's node and its PACS, each in a
container of `compose/federation.yaml`, on its bridges, without rights, its root read-only.
"""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE

from compose.containers import images
from compose.containers.machine import ROOT, StepFailed, call, missing
from compose.demo.progress import Steps
from compose.sample_hospital import write_hospital
from site_node.study import Ending

PROJECT = "ricord-trial"  # no container or volume of another federation on this machine is touched
COMPOSE = (str(ROOT / ".venv-containers/bin/podman-compose"), "-p", PROJECT, "-f", "compose/federation.yaml")
SECRET = ROOT / "compose/secrets/database_password"
SERVICES = ("database", "coordinator", "superlink", "curator", "site-a", "pacs-a")
PROGRAMS = ("coordinator", "superlink", "curator", "site-a")
PACS_PORT = 4242
SHEET = "/data/clinical.xlsx"  # in the node's container
HEALTHY_SECONDS, DONE_SECONDS = 120, 600
PACS_SETTINGS = '\n[pacs]\nhost = "pacs-a"\nport = 4242\nae_title = "PACS"\ncalling = "SITENODE"\nmethod = "get"\n'


def main() -> int:
    """Build the images, walk, and remove what was made; the exit code."""
    if reason := missing():
        print(f"make containers: skipped: {reason}")
        return 0
    steps = Steps()
    try:
        images.build(steps)
        walk(steps)
    except StepFailed as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        call(*COMPOSE, "down", "--volumes", ok=range(256))  # what is not there is said to be missing
    return 0


def walk(steps: Steps) -> None:
    """From an empty machine to opened studies. Raises `StepFailed`."""
    with steps.step("The centre: PostgreSQL, coordinator, federated engine") as notes:
        if not SECRET.exists():
            SECRET.parent.mkdir(mode=0o700, exist_ok=True)
            SECRET.write_text(call("openssl", "rand", "-hex", "24"))
        call(*COMPOSE, "down", "--volumes", ok=range(256))  # what is not there is said to be missing
        start("database")
        once("coordinator-init", profile="init")
        start("coordinator", "superlink")
        notes.append("founded, healthy")
    with steps.step("The curator, with a key of its own"):
        once("curator", "init", "--token", coordinator("token", "curator", "--name", "curator")["token"])
        start("curator")
    with steps.step("A hospital: agreement read, signed, executed; its node enrolled, its PACS named") as notes:
        notes.append(f"SITEID {join()}")
        start("pacs-a", "site-a")
    with TemporaryDirectory() as folder:
        hospital = write_hospital(Path(folder), hospital=1, seed=20, radiographs=14)
        with steps.step("Its archive in Orthanc; its clinical sheet and a list of exams given to the node") as notes:
            exams = fill_pacs(hospital.archive)
            into("site-a", SHEET, hospital.sheet.read_bytes())
            site("clinical", "import", "--as", "the data manager", SHEET, ok=(0, 3))
            site("receive", "--accessions", "-", "--queue", text="\n".join(exams).encode())
            notes.append(f"{len(exams)} exams")
    expected = sum(study.ending is Ending.SUBMITTED for study in hospital.studies)
    with steps.step("The node fetches, screens, de-identifies, validates, seals, submits; the curator opens") as notes:
        status, opened = wait_for(expected)
        notes.append(f"{status['received']} received, {status['submitted']} submitted, {opened} opened")
    with steps.step("No program is root, can write its own files, or has a right more than others") as notes:
        for service in PROGRAMS:
            check_rights(service)
        notes.append("uid 10001, read-only, no capability, no new privileges")


def join() -> str:
    """From the invitation to the certificate; the SITEID."""
    name = "General Hospital"
    once("site-a", "init", "--name", name)
    invitation = coordinator("site", "invite", name)["token"]
    coordinator("agreement", "draft", name, "--curator", "curator", "--modes", "submit")
    once("site-a", "agreement", "read", "--token", invitation)
    once("site-a", "agreement", "sign", "--token", invitation, "--signatory", "Dr. A. Miller", "--yes")
    token = coordinator("agreement", "execute", name)["token"]
    member = json.loads(once("site-a", "enrol", "--token", token, "--json"))
    once("site-a", "-c", f"printf '{PACS_SETTINGS}' >> /data/site.toml", entrypoint="sh")
    return str(member["site_id"])


def fill_pacs(archive: Path) -> list[str]:
    """Send every image that Orthanc stores to it, and give their accession numbers."""
    exams, entity = dict[str, None](), AE(ae_title="STORESCU")
    datasets = list[Dataset]()
    for path in sorted(path for path in archive.rglob("*") if path.is_file()):
        with suppress(InvalidDicomError, AttributeError, EOFError):  # it holds files that no PACS would
            dataset = dcmread(path)
            entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
            datasets.append(dataset)
    association = entity.associate(address_of("pacs-a"), PACS_PORT, ae_title="PACS")
    if not association.is_established:
        raise StepFailed("Orthanc does not answer")
    for dataset in datasets:
        if association.send_c_store(dataset).get("Status") == 0 and dataset.get("AccessionNumber"):
            exams[dataset.AccessionNumber] = None
    association.release()
    return list(exams)


def wait_for(expected: int) -> tuple[dict[str, Any], int]:
    """The node's status and the number of opened studies, once as many were submitted and opened as should be."""
    until = time.monotonic() + DONE_SECONDS
    while True:
        status = site("status")
        opened = len(inside("curator", "ricord-coordinator", "curate", "list"))
        if status["submitted"] == opened == expected:
            return status, opened
        if time.monotonic() > until:
            raise StepFailed(f"{expected} expected: {status['submitted']} submitted, {opened} opened: {status}")
        time.sleep(2)


def check_rights(service: str) -> None:
    """Raise `StepFailed` where the program of a service could do more than it needs."""
    about = Path("/proc", call("podman", "inspect", "--format", "{{.State.Pid}}", container(service)).strip())
    child = about / "task" / about.name / "children"  # of the init process: the program
    fields = dict(
        line.split(":\t", 1) for line in Path("/proc", child.read_text().split()[0], "status").read_text().splitlines()
    )
    rights = fields["Uid"].split()[0], int(fields["CapEff"], 16), int(fields["CapBnd"], 16), fields["NoNewPrivs"]
    written = call("podman", "exec", container(service), "sh", "-c", "! touch /opt/ricord/x 2>/dev/null && echo no")
    if rights != ("10001", 0, 0, "1") or written.strip() != "no":
        raise StepFailed(f"{service} has rights that it does not need: {rights}")


def start(*services: str) -> None:
    """Start services in the order given, each after the health check of the one before it holds."""
    for service in services:
        call(*COMPOSE, "up", "--detach", "--no-deps", service)
        until = time.monotonic() + HEALTHY_SECONDS
        while call("podman", "healthcheck", "run", container(service), ok=range(256)).strip():
            if time.monotonic() > until:
                raise StepFailed(f"{service} is not healthy: {call('podman', 'logs', container(service))[-2000:]}")
            time.sleep(1)


def once(service: str, *arguments: str, profile: str | None = None, entrypoint: str | None = None) -> str:
    """A command in a container of its own, with the service's volumes."""
    profiles = ("--profile", profile) if profile else ()
    program = ("--entrypoint", entrypoint) if entrypoint else ()
    return call(*COMPOSE, *profiles, "run", "--rm", "-T", "--no-deps", *program, service, *arguments)


def coordinator(*arguments: str) -> Any:
    """A command of the coordinator, its answer parsed."""
    return inside("coordinator", "ricord-coordinator", *arguments)


def site(*arguments: str, ok: Sequence[int] = (0,), text: bytes | None = None) -> Any:
    """A command beside the running node, its answer parsed."""
    return inside("site-a", "ricord-site", *arguments, ok=ok, text=text)


def inside(service: str, *words: str, ok: Sequence[int] = (0,), text: bytes | None = None) -> Any:
    """A command in a running container, its answer parsed."""
    said = call("podman", "exec", "--interactive", container(service), *words, "--json", ok=ok, text=text)
    return json.loads(said) if said.strip() else None


def into(service: str, path: str, content: bytes) -> None:
    """Write a file in a running container."""
    call("podman", "exec", "--interactive", container(service), "sh", "-c", f"cat > {path}", text=content)


def address_of(service: str) -> str:
    """Its address on its bridge, which this machine reaches."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return call("podman", "inspect", "--format", form, container(service)).split()[0]


def container(service: str) -> str:
    """The name that podman-compose gives a service's container."""
    return f"{PROJECT}_{service}_1"


if __name__ == "__main__":
    sys.exit(main())
