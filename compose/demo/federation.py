"""The members of the demonstration: a coordinator, a curator, a researcher, three hospitals, each with its home."""

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from compose.demo.programs import Services, call, call_json, free_ports

COORDINATOR, SITE, RESEARCH = "ricord-coordinator", "ricord-site", "ricord-research"
MODES = "cohort,submit,statistics,training"
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Hospital:
    """One hospital: its images, its clinical sheet and its node's home."""

    name: str
    archive: Path
    sheet: Path
    home: Path

    def call(self, *arguments: str, ok: Sequence[int] = (0,)) -> str:
        """A command of this hospital's node."""
        return call(SITE, "--home", str(self.home), *arguments, ok=ok)

    def json(self, *arguments: str, ok: Sequence[int] = (0,)) -> Any:
        """A command of this hospital's node, its answer parsed."""
        return call_json(SITE, "--home", str(self.home), *arguments, ok=ok)


class Federation:
    """Every step of the demonstration as a person would type it."""

    def __init__(self, folder: Path, protocol: str) -> None:
        self.folder = folder
        self.protocol = protocol
        self.services = Services(folder / "logs")
        self.coordinator = folder / "coordinator"
        self.curator = folder / "curator"
        self.researcher = folder / "researcher"

    def call(self, *arguments: str) -> str:
        """A command of the coordinator."""
        return call(COORDINATOR, "--home", str(self.coordinator), *arguments)

    def json(self, *arguments: str) -> Any:
        """A command of the coordinator, its answer parsed."""
        return call_json(COORDINATOR, "--home", str(self.coordinator), *arguments)

    def start_coordinator(self, *options: str) -> None:
        """Make the coordinator's home and start it, with these options of `serve`."""
        enrolment, main, fleet = free_ports(3)
        ports = ("--enrolment-port", str(enrolment), "--main-port", str(main), "--fleet-port", str(fleet))
        self.call("init", "--federation", "demo-federation", "--protocol", self.protocol, *ports)
        self.services.start(
            "coordinator", COORDINATOR, "--home", str(self.coordinator), "serve", *options, ready="ready"
        )

    def appoint_curator(self) -> str:
        """Make the curator's keys, enrol it, and give its signing key's fingerprint."""
        token = self.json("token", "curator", "--name", "curator")["token"]
        arguments = ("--home", str(self.curator), "curate", "init", "--token", token, "--protocol", self.protocol)
        curator: dict[str, str] = call_json(COORDINATOR, *arguments)
        return curator["fingerprint"]

    def appoint_researcher(self) -> str:
        """Enrol the researcher with keys of their own, and give their signing key's fingerprint."""
        token = self.json("token", "researcher", "--name", "researcher")["token"]
        return str(call_json(RESEARCH, "--home", str(self.researcher), "enrol", "--token", token)["fingerprint"])

    def enrol(self, hospital: Hospital) -> str:
        """From invitation to certificate; gives the SITEID."""
        hospital.call("init", "--name", hospital.name, "--protocol", self.protocol)
        invitation = self.json("site", "invite", hospital.name)["token"]
        self.json("agreement", "draft", hospital.name, "--curator", "curator", "--modes", MODES)
        hospital.json("agreement", "read", "--token", invitation)
        signatory = "Dr. A. Miller, Research Director"
        hospital.json("agreement", "sign", "--token", invitation, "--signatory", signatory, "--yes")
        join = self.json("agreement", "execute", hospital.name)["token"]
        membership: dict[str, str] = hospital.json("enrol", "--token", join)
        return membership["site_id"]

    def open_all(self) -> Any:
        """The curator opens and checks every sealed study that has arrived."""
        return call_json(COORDINATOR, "--home", str(self.curator), "curate", "open", "--all")

    def ask(self, plan: Path, results: Path, timeout: float) -> Any:
        """Propose a plan as the researcher, release it as the operator, wait for its end, and keep what it showed."""
        research = ("--home", str(self.researcher))
        run = call_json(RESEARCH, *research, "submit", str(plan))["id"]
        self.json("run", "approve", run)
        call(RESEARCH, *research, "watch", run, timeout=timeout)
        call(RESEARCH, *research, "results", run, "--to", str(results))
        return json.loads((results / "metrics.json").read_bytes())


def set_policies(hospitals: Sequence[Hospital], site_ids: Sequence[str], minimum_cases: int | None) -> None:
    """What each hospital's people set: the others' fingerprints, read out on the telephone, and the minimum cases."""
    fingerprints = [hospital.json("key", "fingerprint")["fingerprint"] for hospital in hospitals]
    peers = [f'"{site}" = "{text}"' for site, text in zip(site_ids, fingerprints, strict=True)]
    for own, hospital in zip(peers, hospitals, strict=True):
        policy = hospital.home / "federation-policy.toml"
        text = policy.read_text(encoding="utf-8")
        if minimum_cases is not None:
            text = re.sub(r"(?m)^minimum_cases = \d+", f"minimum_cases = {minimum_cases}", text)
        pins = "\n".join(peer for peer in peers if peer != own)
        policy.write_text(f"{text.rstrip()}\n{pins}\n", encoding="utf-8")


def together(work: Callable[[Hospital], Answer], hospitals: Sequence[Hospital]) -> list[Answer]:
    """Do the same at every hospital, two at a time: this machine has two cores."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(work, hospitals))
